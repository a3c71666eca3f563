"""Runs with the same configuration, and of the same parts."""

from pipeline.config import Config
from pipeline.plugins.loading import loaded_sources
from pipeline.runs.query import Runs, StoredRun
from pipeline.tracking.gridfs import content_id
from pipeline.tracking.run_document import CALLBACKS
from pipeline.util.nested import flatten


def find_alike(runs: Runs, task: str, config: Config) -> list[StoredRun]:
    """The trainings with exactly this configuration, its seed included, newest first."""
    wanted, defaults = flatten(config.to_dict()), type(config).complete({})
    # Keys are added with time: an older run may lack one, and then it has the default.
    certain = {f"config.{key}": value for key, value in wanted.items() if key not in defaults or value != defaults[key]}
    return [run for run in runs.find({**certain, "experiment.name": task}) if run.whole_config == wanted]


def has_same_plugins(run: StoredRun) -> bool:
    """Whether the run's plug-ins are those that are loaded now, by the names and contents of their files.

    Of one that was given callbacks as objects nobody knows what these did.
    """
    if run.info.get(CALLBACKS):
        return False
    stored = {plugin["file_id"] for plugin in run.document["experiment"].get("plugins", [])}
    return stored == {content_id(source.name, source.content) for source in loaded_sources()}
