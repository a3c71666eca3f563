"""What a person sees of a run on a terminal."""

import io

import pytest
from rich.console import Console

from pipeline.reporting import console as console_module
from pipeline.reporting.console import EpochConsole
from pipeline.tasks.classification.metric_specs import metric_specs

METRICS = {
    "training.loss": 0.5,
    "training.accuracy": 0.75,
    "validation.loss": 0.625,
    "validation.accuracy": 0.5,
    "time.epoch_seconds": 2.0,
}


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What a terminal is sent."""
    sent = io.StringIO()
    monkeypatch.setattr(console_module, "_terminal", lambda: Console(file=sent, force_terminal=True, width=100))
    return sent


@pytest.mark.parametrize(("seconds", "said"), [(12.34, "compiled in 12.3 s\n"), (None, "")])
def test_that_it_is_compiling_is_seen_until_it_ends_however_it_does(
    terminal: io.StringIO, capsys: pytest.CaptureFixture[str], seconds: float | None, said: str
) -> None:
    console = EpochConsole(metric_specs(), "test.accuracy")
    console.training_started(batches_per_epoch=4, max_epochs=2)
    console.compiling()
    assert "compiling, the first time for up to a minute" in terminal.getvalue()
    console.compiled(seconds)
    before = len(terminal.getvalue())
    console.batch_done(1, 1, lambda: 0.5)
    console.epoch_done(1, [METRICS])
    after = terminal.getvalue()[before:]
    assert "epoch 1/2" in after
    assert "compiling" not in after
    assert capsys.readouterr().err == said + "epoch 1/2 | training 0.5000 75.0% | validation 0.6250 50.0% | 2.0 s\n"
