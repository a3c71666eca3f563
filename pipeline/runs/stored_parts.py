"""The sources and plug-ins of a stored run as the store holds them; plug-ins found where they were."""

from collections.abc import Mapping, Sequence
from typing import Any

from bson import ObjectId

from pipeline.config import Config
from pipeline.plugins import registry
from pipeline.plugins.loading import PluginSource, load_sources, loaded_sources, named_sources, read_file, read_module
from pipeline.plugins.registry import PluginError
from pipeline.runs.query import ArtifactError, StoredRun
from pipeline.tasks.lookup import config_class
from pipeline.tracking.gridfs import content_id, get_texts
from pipeline.tracking.run_document import refuse_reevaluation, refuse_sweep, refuse_tracked
from pipeline.util.errors import InvalidInput


def stored_source(run: StoredRun, kind: str, name: str, file_id: Any) -> bytes:
    """A source file of the run as the store has it, verified by its id, which its content decides.

    Args:
        kind: `source` or `plug-in`, for error messages.

    Raises:
        ArtifactError: it is missing from the store or has been changed there.
    """
    return _verified(run, kind, name, file_id, get_texts(run.database, [file_id]))


def stored_sources(run: StoredRun) -> dict[str, bytes]:
    """Path -> content of every source file of the run.

    Raises:
        ArtifactError: a file is missing from the store or has been changed there.
    """
    sources = run.document["experiment"]["sources"]
    contents = get_texts(run.database, [file_id for _, file_id in sources])
    return {name: _verified(run, "source", name, file_id, contents) for name, file_id in sources}


def _verified(run: StoredRun, kind: str, name: str, file_id: Any, contents: Mapping[ObjectId, bytes]) -> bytes:
    if file_id not in contents:
        raise ArtifactError(f"the {kind} {name} of run {run.run_id} is not whole in the store")
    if content_id(name, contents[file_id]) != file_id:
        raise ArtifactError(f"the {kind} {name} of run {run.run_id} has been changed in the store: do not run it")
    return contents[file_id]


def stored_plugins(run: StoredRun) -> tuple[PluginSource, ...]:
    """The source files of the run's plug-ins as the store has them.

    Raises:
        ArtifactError: one is missing from the store or has been changed there.
    """
    plugins = run.document["experiment"].get("plugins", [])
    return tuple(
        PluginSource(p["spec"], p["name"], stored_source(run, "plug-in", p["name"], p["file_id"])) for p in plugins
    )


def current_source(stored: PluginSource) -> bytes | None:
    """What stands now where a stored source was found; a plug-in of this file name that is loaded goes before."""
    for loaded in loaded_sources():
        if loaded.name == stored.name:
            return loaded.content
    if stored.is_file:
        return read_file(stored.spec)
    return next((source.content for source in read_module(stored.spec) if source.name == stored.name), None)


def load_plugins_of(run: StoredRun) -> None:
    """Load the plug-ins of the run from where they were, if they are what they were.

    A plug-in of the same file name that somebody has named is taken for it, changed or not. Nothing that the store
    holds is executed.

    Raises:
        PluginError: one is gone, has changed, or fails.
        InvalidInput: the run is of an experiment that is no task.
    """
    named = {source.name for source in named_sources()}
    missing = [source for source in stored_plugins(run) if source.name not in named]
    for source in missing:
        _refuse_unless_same(run, source)
    load_sources(missing)
    refuse_other_experiment(run)


def config_of(run: StoredRun) -> Config:
    """The configuration of a training, parsed, with its plug-ins loaded.

    Raises:
        InvalidInput: the run is no training.
        PluginError: one is gone, has changed, or fails.
        ConfigError: the stored configuration is not one of this version's.
    """
    refuse_sweep(run.document)
    refuse_reevaluation(run.document)
    load_plugins_of(run)
    return config_class(run.task).from_dict(run.config)


def refuse_other_experiment(run: StoredRun) -> None:
    """For what can be done with runs of tasks alone.

    Raises:
        InvalidInput: it is a script's, or of a Sacred experiment of somebody's own, or its task has no plug-in there.
    """
    refuse_tracked(run.document)
    if run.task not in registry.names("task"):
        raise InvalidInput(
            f"run {run.run_id} is of the experiment {run.task}, which is no task: only the program that recorded it "
            "can run it"
        )


def refuse_object(run: StoredRun, source: PluginSource) -> None:
    """For what can be done with plug-ins alone.

    Raises:
        PluginError: it is the class of an object that was given to `odenet.train`.
    """
    if source.spec.startswith("<"):
        raise PluginError(
            f"run {run.run_id} was trained with {source.spec.strip('<>')}, an object that cannot be built again from "
            "the store: make its class a plug-in, and train that"
        )


def _refuse_unless_same(run: StoredRun, source: PluginSource) -> None:
    refuse_object(run, source)
    now = current_source(source)
    if now == source.content:
        return
    what = f"is not at {source.spec} any more" if now is None else f"has changed at {source.spec} since"
    remedy = f"name it with --plugin, or do the run again with `odenet rerun {run.run_id} --use-stored-source`"
    raise PluginError(f"the plug-in {source.name} of run {run.run_id} {what}: {remedy}")


def describe_plugins(sources: Sequence[PluginSource]) -> list[str]:
    """A line a plug-in: its file, where it was found, and its fingerprint."""
    return [f"{source.name} ({source.spec}, sha256 {source.sha256[:12]}…)" for source in sources]
