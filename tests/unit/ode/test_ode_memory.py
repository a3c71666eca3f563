"""What the graphs of a solve take."""

import gc
import weakref
from importlib import import_module

import pytest
import torch
from torch import Tensor

from pipeline.ode import discrete, integrate, memory
from pipeline.ode.path import RecordedPath
from tests.helpers.ode_fields import Layer
from tests.helpers.ode_modes import TIMES, Weighted, loss_of, solver_for, z_start


class Saved:
    """What a graph keeps, as long as it does."""

    alive = 0

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor.detach()  # or what was computed holds itself
        Saved.alive += 1

    def __del__(self) -> None:
        Saved.alive -= 1


@pytest.mark.parametrize("chosen", ["auto", "checkpointed", "recursive"])
def test_rejected_steps_keep_nothing_alive_and_count_for_nothing(chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    paths: list[RecordedPath] = []

    class Watched(RecordedPath):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, **options)  # type: ignore[arg-type]
            paths.append(self)

    monkeypatch.setattr(discrete, "RecordedPath", Watched)
    monkeypatch.setattr(memory, "SMALL_STATE", -1)
    # Those below count what is saved, and see to its memory no more than nobody does.
    monkeypatch.setattr(import_module("pipeline.ode.integrate"), "has_hooks_on_saved_tensors", lambda: False)
    torch.manual_seed(0)
    layer, counts = Layer(), []
    for end, tolerance in ((1.0, 1e-9), (50.0, 1e-4)):
        solver = solver_for(chosen, rtol=tolerance, atol=tolerance)
        before = Saved.alive
        with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
            solution = integrate(lambda t, z: layer(3 * t, z), z_start(), (0.0, end), solver, first_dt=1e-3)
        accepted = solution.statistics.accepted
        assert (solution.statistics.rejected > 0.25 * accepted) == (end > 1)
        counts.append(((Saved.alive - before) / accepted, paths[-1].kept_bytes / accepted))
        assert isinstance(solution.state, Tensor)
        assert solution.state.requires_grad
        del solution
        gc.collect()
    assert counts[1][0] == pytest.approx(counts[0][0], rel=0.1, abs=1)
    assert counts[1][1] == counts[0][1]
    assert (counts[0][1] > 0) == (chosen == "auto")


def test_nothing_of_a_solve_lives_on_once_its_gradients_were_asked_for(mode: str) -> None:
    gc.collect()
    gc.disable()  # what would find rings of references
    try:
        z0, field = z_start(), Weighted()
        loss_of(integrate(field, z0, TIMES, solver_for(mode)).state).backward()
        left = [weakref.ref(z0), *(weakref.ref(parameter) for parameter in field.parameters())]
        del z0, field
        assert [one() for one in left] == [None] * len(left)
    finally:
        gc.enable()
