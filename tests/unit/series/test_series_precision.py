"""Models of series in the number formats of a training."""

import pytest
import torch

from pipeline.config import SolverConfig, TrainingConfig
from pipeline.device.precision import backward, numerics
from pipeline.series import Series, build_forecaster, build_latent_ode, collate
from tests.unit.series.conftest import CELLS


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("kind", ["latent", "forecaster"])
def test_in_bf16_a_model_learns_about_what_it_does_in_full_precision(cell: str, kind: str) -> None:
    torch.set_default_dtype(torch.float32)
    batch = collate([Series([0.0, 0.5, 2.0], [[1.0], [-1.0], [0.5]]), Series([1.0, 3.0], [[0.3], [0.2]])])
    slopes = {}
    for precision in ("fp32", "bf16"):
        torch.manual_seed(0)
        if kind == "latent":
            model = build_latent_ode(1, encoder=cell, solver=SolverConfig(method="rk4", steps=4), noise=0.5)
        else:
            model = build_forecaster(cell, 1, noise=0.5)
        with numerics(TrainingConfig(precision=precision), torch.device("cpu")):
            generator = torch.Generator().manual_seed(0)
            bound = (
                model.elbo(batch, generator=generator).value if kind == "latent" else model.log_likelihood(batch).value
            )
            backward(-bound.mean())
        slopes[precision] = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    apart = (slopes["bf16"] - slopes["fp32"]).norm() / slopes["fp32"].norm()
    assert 0 < apart < 0.1
