"""A home whose store has runs that were really trained, put back as it was before each test that changes it."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo.database import Database

from pipeline.tracking.environment import put_environment
from tests.helpers.commands import QUICK, database_of, start_command

SOURCES = 5
"""How many of a run's hundreds of sources are left, as each test would write them all anew."""


@dataclass
class TrainedHome:
    """Two runs in a store of their own: 1, a ResNet, and 2, an ODE-Net."""

    home: Path
    database: Database[dict[str, Any]]
    saved: dict[str, list[dict[str, Any]]]

    @classmethod
    def train(cls, home: Path) -> "TrainedHome":
        for names in (("model.body=resnet",), ()):
            command = start_command(home, "run", *QUICK, *names, "training.max_epochs=2")
            assert command.wait() == 0, command.stderr
        database = database_of(home)
        leave_few_sources(database)
        saved = {name: list(database[name].find()) for name in database.list_collection_names()}
        shutil.copytree(home / "runs", home / "saved")
        return cls(home, database, saved)

    def put_back(self) -> None:
        """Everything as it was after the training."""
        for name in self.database.list_collection_names():
            self.database[name].delete_many({})
        for name, documents in self.saved.items():
            if documents:
                self.database[name].insert_many([dict(document) for document in documents])
        shutil.rmtree(self.home / "runs")
        shutil.copytree(self.home / "saved", self.home / "runs")

    def run_folder(self, run_id: int) -> Path:
        (folder,) = (self.home / "runs").glob(f"{run_id}-*")
        return folder

    def everything(self) -> dict[str, list[dict[str, Any]]]:
        """All documents of the store, to compare."""
        return {
            name: sorted(self.database[name].find(), key=lambda document: str(document["_id"])) for name in self.saved
        }


def leave_few_sources(database: Database[dict[str, Any]]) -> None:
    """As if the runs had been of fewer modules."""
    (environment,) = database.environments.find()
    left, removed = environment["sources"][:SOURCES], environment["sources"][SOURCES:]
    listed = put_environment(database, dict(left), environment["dependencies"])
    database.runs.update_many({}, {"$set": {"experiment.environment": listed}})
    database.environments.delete_one({"_id": environment["_id"]})
    of_files = {"$in": [file_id for _, file_id in removed]}
    database.fs.files.delete_many({"_id": of_files})
    database.fs.chunks.delete_many({"files_id": of_files})
