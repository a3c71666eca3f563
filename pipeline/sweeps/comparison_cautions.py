"""Why a comparison of sweeps is not to be taken at its face."""

from collections.abc import Callable, Iterator
from typing import Any

from pipeline.reporting.words import counted
from pipeline.sweeps.comparison import ComparedSweep, SweepComparison
from pipeline.sweeps.text import constraints_text
from pipeline.tracking.run_document import RunStatus

DATA_KEYS = ("data.name", "data.path", "data.subset", "data.validation_fraction")


def find_cautions(comparison: SweepComparison) -> list[str]:
    """A sentence for each reason."""
    return [
        *_unfinished(comparison),
        *_data(comparison),
        *_differing(comparison, "The constraints differ", lambda one: constraints_text(one.sweep.space) or "none"),
        *_numbers(comparison),
        *_differing(comparison, "The seeds differ, and with them splits and first weights", _seed),
        *_differing(comparison, "The pruning differs", lambda one: "on" if one.sweep.config["prunes"] else "off"),
        *_other_keys(comparison),
        *_repetitions(comparison),
        *_differing(comparison, "The machines differ, so do not compare times", lambda one: one.sweep.machine),
        *_differing(comparison, "The workers differ, so compare no time on the clock", _workers),
    ]


def _unfinished(comparison: SweepComparison) -> Iterator[str]:
    for one in comparison.sweeps:
        sweep = one.sweep
        if not sweep.is_whole or sweep.status is not RunStatus.COMPLETED:
            over = f"{len(sweep.state.over())} of {counted(sweep.trials, 'trial')} are over"
            yield f"Sweep {sweep.sweep_id} is not whole ({sweep.status}): {over}."


def _data(comparison: SweepComparison) -> Iterator[str]:
    yield from _differing(comparison, "The data differ", lambda one: one.data_sha256 and one.data_sha256[:10])
    for key, values in comparison.fixed_differences.items():
        if key in DATA_KEYS:
            of_letter = dict(zip((one.letter for one in comparison.sweeps), map(str, values), strict=True))
            yield from _differing(comparison, f"{key} differs", lambda one, found=of_letter: found[one.letter])  # type: ignore[misc]
    unknown = [one.letter for one in comparison.sweeps if not one.fixed]
    if unknown:
        yield f"No run of a trial of {', '.join(unknown)} is there, so its data and its other settings are not known."


def _numbers(comparison: SweepComparison) -> Iterator[str]:
    over = {one.letter: len(one.sweep.state.over()) for one in comparison.sweeps}
    if len(set(over.values())) > 1:
        shown = ", ".join(f"{letter} {number}" for letter, number in over.items())
        yield (
            f"The numbers of trials differ ({shown}), and the best of more is better by chance alone: look at what "
            f"they came to with {comparison.shared_number} each."
        )


def _seed(one: ComparedSweep) -> str:
    return str(one.sweep.config["seed"])


def _workers(one: ComparedSweep) -> str:
    return f"{one.sweep.config['parallel']} at a time"


def _other_keys(comparison: SweepComparison) -> Iterator[str]:
    keys = [key for key in comparison.fixed_differences if key not in DATA_KEYS]
    if keys:
        yield f"They differ in what none of them searches: {', '.join(keys)}."


def _repetitions(comparison: SweepComparison) -> Iterator[str]:
    alike = [(one.sweep.space.text, one.sweep.overrides, one.sweep.space.goal) for one in comparison.sweeps]
    if len(set(alike)) == len(alike):
        yield (
            "There is one sweep of each kind: how much the result of a sweep varies with its seed is not known, and a "
            "difference may be chance."
        )


def _differing(comparison: SweepComparison, sentence: str, value_of: Callable[[ComparedSweep], Any]) -> Iterator[str]:
    """The sentence with what each has, where that is not the same; nothing of a sweep of which it is not known."""
    found: dict[Any, list[str]] = {}
    for one in comparison.sweeps:
        value = value_of(one)
        if value is not None:
            found.setdefault(value, []).append(one.letter)
    if len(found) > 1:
        shown = [f"{value} ({', '.join(letters)})" for value, letters in found.items()]
        yield f"{sentence}: {', '.join(shown)}."
