"""Prepare the stack's MongoDB: the application's user, the indexes, and what Omniboard shows.

`prepare_store.py SECRETS`, at every start; what is there already stays. The user has the rights to one database and
gets the password of the secrets, also where it had another one before.
"""

import sys
from pathlib import Path
from typing import Any

import pymongo
from pymongo.errors import OperationFailure

from pipeline.dashboard.board import prepare_dashboard
from pipeline.tracking.store import StoreAddress, connect

AUTHENTICATION_FAILED = 18
SERVER = "mongo:27017"
DATABASE = "odenet"
USER = "odenet"


def main(passwords: Path) -> None:
    password = (passwords / "odenet_password").read_text()
    try:
        ensure_user((passwords / "root_password").read_text(), password)
    except OperationFailure as error:
        if error.code != AUTHENTICATION_FAILED:
            raise
        sys.exit(
            "the store knows another password than the volume `secrets`, as where one of the volumes `mongo` and "
            "`secrets` is of another installation: bring back the `secrets` that belong to it"
        )
    database = connect(StoreAddress(f"mongodb://{USER}:{password}@{SERVER}/{DATABASE}", DATABASE, embedded=False))
    prepare_dashboard(database)


def ensure_user(root_password: str, password: str) -> None:
    """The application's user, who may read and write its own database and nothing else."""
    roles = [{"role": "readWrite", "db": DATABASE}]
    with pymongo.MongoClient[dict[str, Any]](SERVER, username="root", password=root_password) as client:
        database = client[DATABASE]
        known = database.command("usersInfo", USER)["users"]
        database.command("updateUser" if known else "createUser", USER, pwd=password, roles=roles)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
