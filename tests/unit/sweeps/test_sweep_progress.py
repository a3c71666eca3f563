"""What a person sees of a sweep while it goes on."""

import io
import time

import pytest

from pipeline.sweeps import progress
from pipeline.sweeps.parse import parse_space
from pipeline.sweeps.progress import SweepProgress, time_left
from pipeline.sweeps.state import SweepState, Trial
from tests.helpers.sweep_samples import SPACE, sample_ledger

SWEEP_SPACE = parse_space(SPACE, "the test")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """One of 80 columns and 24 lines."""
    for name, value in {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}.items():
        monkeypatch.setenv(name, value)
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    return Terminal()


def told(*ledgers: SweepState) -> list[str]:
    """The lines in a file."""
    stream = io.StringIO()
    shown = SweepProgress(SWEEP_SPACE, 50, 2, stream)
    for state in ledgers:
        shown.update(state)
    return stream.getvalue().splitlines()


def trial(number: int, outcome: str, seconds: float, is_reused: bool = False) -> Trial:
    return Trial(number, {"training.lr": 0.01}, 100 + number, outcome, 0.5, seconds=seconds, is_reused=is_reused)


def ledger_of(*trials: Trial) -> SweepState:
    events = [("over", trial.number) for trial in trials if trial.is_over]
    return SweepState({trial.number: trial for trial in trials}, events)  # type: ignore[arg-type]


def test_nothing_is_told_before_anything_has_happened() -> None:
    assert told(SweepState(), SweepState()) == []


def test_a_file_gets_one_line_for_each_trial_that_ends() -> None:
    lines = told(SweepState(), *(sample_ledger(over, running=2) for over in range(10)))

    endings = [line for line in lines if line.startswith("trial ")]
    assert [line.split(" | ")[0] for line in endings] == [f"trial {number}" for number in range(1, 10)]
    completed = sample_ledger(10).trials[2]
    assert endings[1].startswith(f"trial 2 | run 102 | completed | validation loss {completed.value:.4f} | epochs 20 |")
    assert f"training.lr={completed.suggestion['training.lr']:.3g}" in endings[1]
    assert "trial 1 | run 101 | failed: the solve ended by step size underflow at t = 0.312" in endings[0]


def test_how_it_stands_is_told_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    ledgers = [sample_ledger(over, running=2) for over in (0, 3, 4, 5, 5, 5)]
    standing = [line for line in told(SweepState(), *ledgers) if "trials over" in line]
    assert standing == ["0 of 50 trials over, 2 running, 0 failed, 0 pruned; none has completed yet"]

    monkeypatch.setattr(progress, "LINE_SECONDS", 0.0)
    standing = [line for line in told(SweepState(), *ledgers) if "trials over" in line]
    assert len(standing) == 4, "each state once"
    best = sample_ledger(5).best("min")
    assert best is not None
    assert standing[-1].startswith("5 of 50 trials over, 2 running, 1 failed, 1 pruned, about ")
    assert f"best validation loss {best.value:.4f} (trial {best.number}, run {best.run_id}: " in standing[-1]


def test_what_was_over_before_a_resumption_is_not_news() -> None:
    lines = told(sample_ledger(12), sample_ledger(13))

    assert lines[0] == "12 of 50 trials are over already"
    assert [line.split(" | ")[0] for line in lines if line.startswith("trial ")] == ["trial 13"]


def test_the_last_line_in_a_file_is_how_it_ended() -> None:
    stream = io.StringIO()
    shown = SweepProgress(SWEEP_SPACE, 10, 2, stream)
    shown.update(sample_ledger(9, running=1))
    shown.close(sample_ledger(10))

    assert "trial 10 | run 110" in stream.getvalue()
    assert stream.getvalue().splitlines()[-1].startswith("10 of 10 trials over, 0 running, ")


def test_a_reused_result_says_so() -> None:
    lines = told(SweepState(), ledger_of(trial(1, "completed", 5, is_reused=True)))
    assert any("completed (reused)" in line for line in lines)


def test_a_terminal_shows_the_running_trials_and_the_best(terminal: Terminal) -> None:
    shown = SweepProgress(SWEEP_SPACE, 50, 2, terminal)
    state = sample_ledger(12, running=2)
    shown.update(state)

    text = terminal.getvalue()
    assert "12 of 50 trials over, 2 running, 3 failed, 4 pruned, about " in text
    for running in (state.trials[13], state.trials[14]):
        assert f" {running.number}  {running.run_id}      {running.epochs} " in text
    assert "lr=0.0836" in text
    assert "(trial 2, run 102: training.lr=0.00135" in text
    shown.close(sample_ledger(14))
    assert "14 of 50 trials over, 0 running" in terminal.getvalue()
    assert terminal.getvalue().rindex("\x1b[?25h") > terminal.getvalue().rindex("\x1b[?25l"), "the cursor is back"


def test_a_terminal_is_not_redrawn_more_often_than_one_can_read(terminal: Terminal) -> None:
    shown = SweepProgress(SWEEP_SPACE, 50, 2, terminal)
    began = time.monotonic()
    while time.monotonic() - began < 0.7:
        shown.update(sample_ledger(3, running=2))
    shown.close(sample_ledger(3, running=2))

    assert terminal.getvalue().count("3 of 50 trials over") <= 2 + 2  # one or two on the way, two at the end


def test_more_running_trials_than_lines_are_counted(terminal: Terminal) -> None:
    shown = SweepProgress(SWEEP_SPACE, 500, 64, terminal)
    shown.update(sample_ledger(100, running=64))

    assert "and 49 more" in terminal.getvalue()
    assert terminal.getvalue().count("\n") < 24


def test_the_time_left_follows_from_what_trials_took() -> None:
    assert time_left(ledger_of(trial(1, "running", 3)), 10, 2) is None
    ended = [trial(1, "completed", 20), trial(2, "pruned", 10), trial(3, "completed", 0.1, is_reused=True)]
    assert time_left(ledger_of(*ended), 3, 2) == 0
    # The mean is 15 s: one trial has 11 s to go, one is late, three are to come.
    running = [trial(4, "running", 4), trial(5, "running", 40)]
    assert time_left(ledger_of(*ended, *running), 8, 2) == pytest.approx((11 + 3 * 15) / 2)
    # With workers enough the last one decides.
    assert time_left(ledger_of(*ended, *running), 5, 8) == pytest.approx(11)


def test_the_time_left_ends_with_the_trials_that_may_still_begin() -> None:
    ended, running = [trial(1, "completed", 20), trial(2, "pruned", 10)], [trial(3, "running", 4)]
    assert time_left(ledger_of(*ended, *running), 40, 2, begins=30) == pytest.approx(30 + 15)
    assert time_left(ledger_of(*ended, *running), 40, 2, begins=-1) == pytest.approx(11)
    assert time_left(ledger_of(*ended), 40, 2, begins=-1) == 0
    assert time_left(ledger_of(*ended), 3, 2, begins=1000) == pytest.approx(15 / 2)
