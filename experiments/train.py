"""Tracked experiments from Python: in a notebook, with module objects of one's own.

import odenet
run = odenet.train("odenet_simple", "digits", config={"training.max_epochs": 3})
run.metrics()["validation.loss"].plot()
"""

import inspect
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from torch import nn

from experiments.prepare import prepare
from experiments.presets import resolve
from experiments.tracked import run_tracked
from pipeline.plugins import load_plugins
from pipeline.plugins.loading import PluginSource, parts_without_source, recording_source
from pipeline.plugins.registry import Kind, forget, register
from pipeline.runs.annotations import annotations
from pipeline.runs.query import Runs, StoredRun
from pipeline.tracking.run_document import CALLBACKS, RunStatus
from pipeline.training import Callback
from pipeline.util.errors import InvalidInput, OdenetError, brief
from pipeline.util.nested import merge, nest_keys
from pipeline.util.user_warnings import OdenetWarning


class UnstoredSourceWarning(OdenetWarning):
    """Parts of the process itself, as of a notebook's cell, may have a share in a run that does not record them."""


class RunFailed(OdenetError):
    """A run that was entered in the store and failed; `odenet show` tells more of it."""


def train(
    *names: str | os.PathLike[str],
    config: Mapping[str, Any] | None = None,
    model: nn.Module | None = None,
    field: nn.Module | None = None,
    plugins: Sequence[str | os.PathLike[str]] = (),
    callbacks: Sequence[Callback] = (),
    name: str | None = None,
    tags: Sequence[str] = (),
    note: str | None = None,
) -> StoredRun:
    """Train and evaluate, tracked, as `odenet run with NAMES …` does, in this process.

    Args:
        names: named configurations, YAML files and data among them.
        config: values over theirs, nested or with dotted keys: `{"training.lr": 1e-3}`.
        model: a module from inputs to scores, trained in place; it takes the place of the configured architecture.
        field: a module (t, z) -> dz/dt, trained in place, in the ODE block between the usual stem and head.
        plugins: files or modules, as `--plugin` takes them.
        callbacks: told of the training; one may end it by raising.
        name, tags, note: of the run, in lists and in Omniboard.

    Returns:
        The run, as the store has it. An object's class is stored with it as source, where Python can tell it, but the
        run can be repeated from the store only if the class comes as a plug-in.

    Raises:
        OdenetError: the run could not begin.
        RunFailed: it failed. Exceptions of callbacks and modules go on as they are.
    """
    if isinstance(plugins, str):
        raise InvalidInput(f"plugins is the text {plugins!r}: give a list of files or modules, as [{plugins!r}]")
    if not isinstance(callbacks, Sequence) or not all(isinstance(one, Callback) for one in callbacks):
        raise InvalidInput(f"callbacks is {brief(callbacks)}: give a list of objects of odenet.Callback, as [Mine()]")
    if not isinstance(config, Mapping | None):
        raise InvalidInput(f"config is {brief(config)}: give a dictionary, as {{'training.max_epochs': 3}}")
    load_plugins([_as_text("plugins", one) for one in plugins])
    if model is not None and field is not None:
        raise InvalidInput("give train() a model or a field, not both: a field becomes part of a model")
    if not all(isinstance(key, str) for key in config or {}):
        raise InvalidInput(f"config is {brief(config)}: its keys are texts, as in {{'training.max_epochs': 3}}")
    if isinstance(tags, str):
        raise InvalidInput(f"tags is the text {tags!r}: give a list, as [{tags!r}]")
    if parts := parts_without_source():
        warnings.warn(
            f"the source of {', '.join(parts)} is not stored with the run, which other processes cannot rerun or load: "
            "put it into a file, and name that, as in plugins=['my_parts.py']",
            UnstoredSourceWarning,
            stacklevel=2,
        )
    updates, called = nest_keys(config or {}), [_as_text("names", one) for one in names]
    with _as_part("model", model) as of_model, _as_part("field", field) as of_field:
        resolved = resolve(called, merge(updates, of_model | of_field))
        if field is not None and (blocks := getattr(resolved.config.model, "blocks", 1)) > 1:
            raise InvalidInput(
                f"the field given to train() is that of one block, and model.blocks is {blocks}: leave that at 1, or "
                "register the field's class with plugins.field, of which each block has its own"
            )
        marks = annotations(name, tags, note)
        prepared = prepare(resolved.task, resolved.config)
        info = {CALLBACKS: [type(callback).__name__ for callback in callbacks]} if callbacks else None
        outcome = run_tracked(prepared, called, info, callbacks, updates, marks)
    if outcome.status == RunStatus.FAILED:
        raise RunFailed(f"run {outcome.run_id} failed: {outcome.error}")
    return Runs().get(outcome.run_id)


def _as_text(argument: str, value: Any) -> str:
    """A name or a path, as a command line has it."""
    if isinstance(value, str | os.PathLike):
        return str(os.fspath(value))
    hint = "values are given as config={…}" if isinstance(value, Mapping) else "give texts or paths"
    raise InvalidInput(f"{argument} of train() has {brief(value)}: {hint}")


@contextmanager
def _as_part(kind: Kind, module: nn.Module | None) -> Iterator[dict[str, Any]]:
    """Within it `module` is registered as a part; what selects it in a configuration."""
    if module is None:
        yield {}
        return
    written = getattr(module, "_orig_mod", module)  # and not what torch.compile has around it
    name = type(written).__name__
    where = f"the {name} given to train()"

    def build(*_: object) -> nn.Module:
        return module

    register(kind, name, build, place=(where, "__main__"), task=None)
    try:
        with recording_source(PluginSource(f"<{where}>", f"{name}.py", _source_of(written))):
            yield {"model": {"architecture": name}}
    finally:
        forget(where)


def _source_of(module: nn.Module) -> bytes:
    """Of its class, which Python finds by its module's file; by its functions where there is none, as in a notebook."""
    written = type(module)
    with suppress(OSError, TypeError):
        return inspect.getsource(written).encode()
    for function in filter(inspect.isfunction, vars(written).values()):
        with suppress(OSError, ValueError):  # its cell is not known, or has no such class
            lines, line = inspect.findsource(function)
            begins = re.compile(rf"\s*class {written.__name__}\b").match
            start = max(number for number in range(line + 1) if begins(lines[number]))
            return "".join(inspect.getblock(lines[start:])).encode()
    return f"# The source of {written.__qualname__} is not known.\n".encode()  # as it was typed in
