"""What is called before a run begins, to see whether it fits, is as it was."""

import threading
from collections.abc import Sequence

import pytest
import torch
from torch import Tensor, nn

from pipeline.config import SolverConfig
from pipeline.models.try_out import try_out
from pipeline.plugins.registry import Part, PluginError


class Restless(nn.Module):
    """Draws, counts, and has a part that is not trained."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.frozen = nn.Linear(2, 2), nn.Dropout().eval()
        self.calls = 0

    def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002
        self.calls += 1
        return self.frozen(self.layer(z)) + torch.randn_like(z)


def tried(module: nn.Module, control: str = "batch") -> None:
    part = Part("field", "mine", None, (), "mine.py:1", is_shipped=False)
    try_out(part, module, torch.zeros(2, 2), "two points", SolverConfig(control=control))


def test_neither_the_module_nor_the_random_state_is_another_afterwards() -> None:
    module = Restless()
    before = torch.get_rng_state()
    tried(module)
    assert (module.calls, module.training, module.frozen.training) == (0, True, False)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("control", ["batch", "sample"])
def test_a_field_gets_what_it_computes_of_the_times(control: str) -> None:
    class Timed(Restless):
        def at_times(self, times: Tensor) -> Sequence[Tensor]:
            return [time.unsqueeze(-1) for time in times.sin()]

        def forward(self, t: Tensor, z: Tensor, of_time: Tensor) -> Tensor:  # type: ignore[override]
            assert of_time.shape == ((1,) if control == "batch" else (len(z), 1))
            return of_time * super().forward(t, z)

    tried(Timed(), control)


def test_what_does_not_fit_is_refused_and_what_cannot_be_copied_is_not_tried() -> None:
    with pytest.raises(PluginError, match=r"mine\.py:1: the field mine does not work for two points: RuntimeError"):
        tried(nn.Bilinear(1, 3, 2))
    uncopied = Restless()
    uncopied.lock = threading.Lock()  # type: ignore[assignment]
    tried(uncopied)
    assert uncopied.calls == 0
