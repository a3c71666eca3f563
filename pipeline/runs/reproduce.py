"""Doing a run again: what differs from its world, and whether it came out the same."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.runs.query import StoredRun
from pipeline.runs.stored_parts import current_source, stored_plugins, stored_source
from pipeline.tracking import provenance
from pipeline.tracking.conditions import machine_now, software_now
from pipeline.tracking.environment import ENVIRONMENT_BEFORE, environment_of
from pipeline.tracking.gridfs import content_id
from pipeline.tracking.run_document import CALLBACKS, MACHINE, PLUGINS_BEFORE, STEPS, plugins_of
from pipeline.util.errors import OdenetError

Kind = Literal["source", "plug-in", "commit", "package", "data", "machine"]

NOT_REPEATABLE = ("time.", "memory.", MACHINE)
"""Beginnings of the names of metrics that differ between any two runs."""


@dataclass(frozen=True)
class Difference:
    """Something of the original's world that is not so here."""

    kind: Kind
    name: str
    then: str
    now: str
    diff: str = ""
    """For a source file, its changes as a unified diff."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}: {self.then} → {self.now}"


WEIGHTS = "weights"
"""Of which the content alone is compared."""


@dataclass(frozen=True)
class Deviation:
    """A metric that did not come out the same."""

    metric: str
    largest: float
    """Largest absolute difference over the epochs that both have; NaN where one has a value and the other none."""
    first_epoch: int
    """Where the two part; of a metric of single steps, the step."""

    @property
    def where(self) -> str:
        """The same in words."""
        return f"{'step' if self.metric.startswith(STEPS) else 'epoch'} {self.first_epoch}"

    def __str__(self) -> str:
        if self.metric == WEIGHTS:
            return f"{self.metric}: not the same after {self.where}"
        if np.isnan(self.largest):
            return f"{self.metric}: a number in one of the two runs and none in the other, from {self.where} on"
        return f"{self.metric}: largest deviation {self.largest:.3g}, from {self.where} on"


def differences(run: StoredRun, fingerprint: str | None, problem: str = "") -> Iterator[Difference]:
    """What differs here from the world in which `run` was made: sources, plug-ins, data, commit, packages, machine.

    Args:
        fingerprint: of the data that are here; None where they could not be loaded, and `problem` says why.
    """
    then = dict(run.document["experiment"]["sources"])
    now = {str(path.relative_to(provenance.ROOT)): path.read_bytes() for path in provenance.source_files()}
    for name in sorted(then.keys() | now.keys()):
        if name in then and name in now and content_id(name, now[name]) == then[name]:
            continue  # as it was: of hundreds, most need not be read
        content = stored_source(run, "source", name, then[name]) if name in then else None
        yield from _content_difference("source", run.run_id, name, content, now.get(name))
    for source in stored_plugins(run):
        yield from _content_difference("plug-in", run.run_id, source.name, source.content, current_source(source))
    for name in run.info.get(CALLBACKS) or ():
        yield Difference("plug-in", name, "a callback given to train()", "absent")
    sha256 = run.facts.data_sha256
    if sha256 and sha256 != fingerprint:
        found = f"sha256 {fingerprint[:12]}…" if fingerprint else f"not compared, as they cannot be loaded ({problem})"
        yield Difference("data", str(run.config["data"]["name"]), f"sha256 {sha256[:12]}…", found)
    experiment = run.document["experiment"]
    facts: tuple[tuple[Kind, Mapping[str, Any], Mapping[str, Any]], ...] = (
        ("commit", _commit(experiment["repositories"]), _commit(provenance.repositories())),
        ("package", _versions(experiment["dependencies"]), _versions(provenance.installed_packages())),
        ("machine", machine_facts(run.document["host"]), machine_facts(provenance.host())),
    )
    for kind, before, here in facts:
        for name in sorted(before.keys() | here.keys()):
            if before.get(name) != here.get(name):
                yield Difference(kind, name, str(before.get(name, "absent")), str(here.get(name, "absent")))
    yield from dict.fromkeys(_differences_before_a_resume(run.document))


def _differences_before_a_resume(document: Mapping[str, Any]) -> Iterator[Difference]:
    """What was otherwise in earlier sessions of a run than in its last one, with which alone all else is compared."""
    last = {ENVIRONMENT_BEFORE: environment_of(document), PLUGINS_BEFORE: document["experiment"].get("plugins", [])}
    last |= {"machine_before": machine_now(document), "software_before": software_now(document)}
    for session in document.get("resumed") or ():
        earlier = last | {key: session[key] for key in last if session.get(key) is not None}  # of what it has noted
        for (kind, then), (_, now) in zip(_words_of(earlier), _words_of(last), strict=True):
            if then.partition(" (")[2] != now.partition(" (")[2] if kind == "machine" else then != now:  # but its name
                yield Difference(kind, "before it was resumed", then, now)


def _words_of(session: Mapping[str, Any]) -> Iterator[tuple[Kind, str]]:
    yield "machine", session["machine_before"]
    yield "commit", session["software_before"]
    yield "source", f"sources and packages {str(session[ENVIRONMENT_BEFORE])[:12]}"
    yield "plug-in", ", ".join(plugins_of({"experiment": {"plugins": session[PLUGINS_BEFORE]}})) or "none"


def write_sources(sources: Mapping[str, bytes], folder: Path) -> None:
    """Lay stored sources out below `folder`.

    Raises:
        OdenetError: a path leads out of the folder.
    """
    for name, content in sources.items():
        path = (folder / name).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise OdenetError(f"the stored source {name} would be written outside its folder: do not run it")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def deviations(original: StoredRun, repeated: StoredRun) -> list[Deviation]:
    """The metrics that are not the same to the bit, clocks and memory aside; none for an identical run."""
    then, now = original.points(), repeated.points()
    found = []
    for name in sorted(then.keys() | now.keys()):
        if name.startswith(NOT_REPEATABLE):
            continue
        first, second = _by_epoch(then.get(name)), _by_epoch(now.get(name))
        # Of which steps a point was kept depends on how many there were to be.
        epochs = first.keys() & second.keys() if name.startswith(STEPS) else first.keys() | second.keys()
        parted = [epoch for epoch in sorted(epochs) if not _same(first, second, epoch)]
        if parted:
            gaps = [abs(first.get(epoch, np.nan) - second.get(epoch, np.nan)) for epoch in parted]
            found.append(Deviation(name, float(np.nanmax(gaps)) if np.isfinite(gaps).any() else np.nan, parted[0]))
    return found + _result_deviations(original, repeated)


def _by_epoch(points: Mapping[str, list[Any]] | None) -> dict[int, float]:
    return dict(zip(points["steps"], map(_number, points["values"]), strict=True)) if points else {}


def _number(value: Any) -> Any:
    """NaN for none, as where a metric is not defined; a result that another program has written may be anything."""
    return np.nan if value is None else value


def _same(first: Mapping[int, float], second: Mapping[int, float], epoch: int) -> bool:
    if epoch not in first or epoch not in second:
        return False
    return _are_alike(first[epoch], second[epoch])


def _are_alike(first: Any, second: Any) -> bool:
    return bool(first == second or (first != first and second != second))


def _result_deviations(original: StoredRun, repeated: StoredRun) -> list[Deviation]:
    """Result and weights, which have no epoch: that of the last one is named."""
    epoch = repeated.facts.epochs or 0
    found = []
    then, now = _number(original.result), _number(repeated.result)
    if not _are_alike(then, now):
        gap = abs(then - now) if isinstance(then, int | float) and isinstance(now, int | float) else np.nan
        found.append(Deviation("result", float(gap), epoch))
    if original.facts.weights_sha256 != repeated.facts.weights_sha256:
        found.append(Deviation(WEIGHTS, np.nan, epoch))
    return found


def _content_difference(
    kind: Kind, run_id: int, name: str, then: bytes | None, now: bytes | None
) -> Iterator[Difference]:
    if then != now:
        diff = "".join(difflib.unified_diff(_lines(then), _lines(now), f"run {run_id}/{name}", f"here/{name}"))
        words = ["absent" if content is None else f"{len(content)} bytes" for content in (then, now)]
        yield Difference(kind, name, words[0], words[1], diff)


def _lines(content: bytes | None) -> list[str]:
    return [] if content is None else content.decode(errors="replace").splitlines(keepends=True)


def _commit(repositories: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    words = "no repository"
    if repositories:
        first = repositories[0]
        words = f"{first['commit'][:12]}{' with uncommitted changes' if first['dirty'] else ''}"
    return {"of the working tree": words}


def _versions(packages: Sequence[str]) -> dict[str, str]:
    return {name: version for name, _, version in (package.partition("==") for package in packages)}


def machine_facts(host: Mapping[str, Any]) -> dict[str, Any]:
    """What of a host decides a run's numbers, as far as is known."""
    machine = host.get("machine", {})
    names = ("architecture", "instructions", "torch_threads", "cuda", "cudnn", "driver", "compiler")
    gpu = next(iter(machine.get("gpu_names", [])), None)  # a trial of a sweep sees one of several
    first = {"cpu": host.get("cpu"), "gpu": gpu, "python": host.get("python_version")}
    workers = {"workers": len(host["workers"])} if host.get("workers") else {}
    return first | workers | {name: machine.get(name) for name in names}
