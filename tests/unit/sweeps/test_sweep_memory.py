"""A trial whose workers the system kills for their memory is tried once more, and then given up."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pipeline.device.host_memory import kills_for_memory
from pipeline.sweeps import tune_callback
from pipeline.sweeps.stop_signals import StopSignals
from pipeline.sweeps.trial_spec import TrialSpec
from pipeline.sweeps.tune_callback import TrialsCallback


class Told(TrialsCallback):
    """Notes what it is told and what it gives."""

    def __init__(self) -> None:
        self.lost: list[int] = []
        self.given: list[tuple[str, str]] = []
        give = SimpleNamespace(give=lambda key, stop_signal: self.given.append((key, stop_signal)))
        super().__init__(cast("StopSignals", give))

    def worker_lost(self, spec: TrialSpec) -> None:
        self.lost.append(spec.number)

    def loses(self, number: int) -> None:
        spec = TrialSpec(number, "search", "classification", {})
        trial: Any = SimpleNamespace(config={"trial": spec.to_json()})
        self.on_trial_recover(1, [], trial)


@pytest.fixture
def kills(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many processes the system has killed by now."""
    count = [3]
    monkeypatch.setattr(tune_callback, "kills_for_memory", lambda: count[0])
    return count


def test_the_first_kill_is_not_the_trials_fault_and_the_second_is(kills: list[int]) -> None:
    callback = Told()
    kills[0] += 1
    callback.loses(7)
    assert (callback.lost, callback.given) == ([7], [])
    kills[0] += 1
    callback.loses(8)
    kills[0] += 1
    callback.loses(7)
    assert (callback.lost, callback.given) == ([7, 8], [("search 7", "out_of_memory")])


def test_workers_that_are_lost_without_it_are_replaced_however_often(kills: list[int]) -> None:
    callback = Told()
    for _ in range(3):
        callback.loses(7)
    assert (callback.lost, callback.given, kills) == ([7, 7, 7], [], [3])


def test_the_system_tells_how_many_it_has_killed(tmp_path: Path) -> None:
    statistics = tmp_path / "vmstat"
    assert kills_for_memory(statistics) == 0, "another system"
    statistics.write_text("nr_free_pages 4711\noom_kill 12\nnuma_hit 3\n")
    assert kills_for_memory(statistics) == 12
