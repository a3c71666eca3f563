"""docs/ode.md: its code blocks are scripts, each of which comes to what the page says."""

import math
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch

from pipeline.ode import Status
from tests.helpers.pages import files_of, write_files
from tests.helpers.paths import ROOT

FILES = files_of(ROOT / "docs" / "ode.md")


@pytest.fixture
def script(tmp_path: Path) -> Any:
    """Runs a block of the page; what its names are afterwards."""
    write_files(FILES, tmp_path)
    return lambda name: runpy.run_path(str(tmp_path / name))


def test_every_block_has_a_test() -> None:
    source = Path(__file__).read_text()
    assert [name for name in FILES if f'script("{name}")' not in source] == []


def test_a_field_of_ones_own_has_gradients(script: Any) -> None:
    made = script("own_field.py")
    decay = torch.exp(torch.tensor(-0.2))
    rotation = torch.tensor([[math.cos(2), math.sin(2)], [-math.sin(2), math.cos(2)]])
    z0 = made["z0"].detach()
    assert torch.allclose(made["solution"].state, decay * z0 @ rotation.T, atol=1e-4)
    assert torch.allclose(made["z0"].grad, 2 * decay**2 * z0, atol=1e-4)
    assert made["field"].matrix.grad.abs().min() > 0


def test_output_times_and_the_solution_between_them(script: Any) -> None:
    made = script("output_times.py")
    assert torch.allclose(made["states"][:, 0], torch.sin(made["times"]), atol=1e-6)
    assert torch.allclose(made["back"], made["z0"], atol=1e-6)
    assert torch.allclose(made["slope"], torch.cos(made["t"]), atol=1e-5)


def test_an_integral_along_the_way_leaves_the_steps_as_they_are(script: Any) -> None:
    made = script("parts.py")
    effort = made["solution"].state["effort"]
    assert float(effort[1]) == pytest.approx(4 * float(effort[0]), rel=1e-5)  # of twice the displacement


def test_an_event_and_the_gradient_of_its_time(script: Any) -> None:
    made = script("event.py")
    root = math.sqrt(3**2 + 2 * 9.81 * 10)
    assert float(made["solution"].event_time.detach()) == pytest.approx((3 + root) / 9.81, abs=1e-8)
    assert float(made["landing_speed"].detach()) == pytest.approx(-root, abs=1e-6)
    assert float(made["speed"].grad) == pytest.approx((1 + 3 / root) / 9.81, abs=1e-8)


def test_a_flow_learns_a_density(script: Any) -> None:
    made = script("flow.py")
    losses = made["losses"]
    assert sum(losses[-10:]) / 10 < 2.4 < losses[0]
    line = torch.linspace(-4, 4, 81)
    with torch.no_grad():
        density = made["log_density"](made["flow"], torch.cartesian_prod(line, line), made["solver"]).exp()
    assert float(density.sum() * 0.1**2) == pytest.approx(1, abs=0.05)
    assert made["samples"].std(0).tolist() == pytest.approx([1, 1], abs=0.25)


def test_a_stiff_problem(script: Any) -> None:
    solution = script("stiff.py")["solution"]
    assert solution.state.tolist() == pytest.approx([0.1832, 8.942e-7, 0.8168], rel=1e-3)
    assert 100 <= solution.statistics.accepted < 1000


def test_steps_for_each_sample(script: Any) -> None:
    made = script("per_sample.py")
    angles = torch.tensor([3.0, 6.0, 12.0, 24.0])
    assert torch.allclose(made["solution"].state, torch.stack([angles.sin(), angles.cos()], 1), atol=1e-2)
    counts = made["solution"].statistics.nfe_of_samples
    assert counts[3] > 3 * counts[0]
    assert torch.allclose(made["frequency"].grad[:, 0], 3 * angles.cos(), atol=0.05)


def test_weights_that_depend_on_time(script: Any) -> None:
    made = script("weights_of_time.py")
    assert all(p.grad is not None for p in made["hyper"].parameters())
    assert float(made["end"].detach()) == pytest.approx(math.exp(-0.5), abs=1e-5)
    assert made["switched"].rates.grad.tolist() == pytest.approx([math.exp(-0.5)] * 3, abs=1e-4)


def test_energy_does_not_drift(script: Any) -> None:
    made = script("pendulum.py")
    off = (made["energy"](made["solution"].states) - made["energy"](made["start"])).abs()
    assert float(off.max()) < 1e-3
    assert float(off[-50:].max()) < 1.05 * float(off[:50].max())


def test_second_derivatives(script: Any) -> None:
    made = script("second_derivatives.py")
    z0, shift = made["z0"].detach(), 1e-5

    def penalty(z: torch.Tensor) -> torch.Tensor:
        z = z.clone().requires_grad_()
        end = made["integrate"](lambda _t, z: z - z**3 / 3, z, (0.0, 1.0), made["solver"]).state
        (slope,) = torch.autograd.grad(end.sum(), z)
        return slope.square()

    numeric = (penalty(z0 + shift) - penalty(z0 - shift)) / (2 * shift)
    assert torch.allclose(made["z0"].grad, numeric, rtol=1e-3)


def test_a_failure_says_what_happened(script: Any) -> None:
    made = script("failure.py")
    assert made["failure_status"] in (Status.UNDERFLOW, Status.DIVERGED)
    assert "failed at t = 0.5" in made["message"]


def test_a_script_for_torchdiffeq_changes_its_import(tmp_path: Path) -> None:
    write_files(files_of(ROOT / "docs" / "from_torchdiffeq.md"), tmp_path)
    made = runpy.run_path(str(tmp_path / "script.py"))
    text = (tmp_path / "script.py").read_text().replace("from pipeline.ode import", "from torchdiffeq import")
    (tmp_path / "theirs.py").write_text(text)
    assert "from torchdiffeq import odeint, " in text
    assert made["y"].shape == made["adjoint"].shape == (5, 3, 2)
    assert float(made["when"].detach()) == pytest.approx(0.5, abs=1e-6)
    torch.manual_seed(0)
    ours = runpy.run_path(str(tmp_path / "script.py"))
    torch.manual_seed(0)
    theirs = runpy.run_path(str(tmp_path / "theirs.py"))
    for name in ("y", "adjoint", "states"):
        assert torch.allclose(ours[name], theirs[name], atol=1e-3), name
