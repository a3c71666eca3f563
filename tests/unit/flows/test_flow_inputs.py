"""What makes no density is refused in a sentence, and what is doubtful is said."""

import warnings

import pytest
import torch
from torch import nn

from pipeline.config import SolverConfig
from pipeline.flows import Flow, FlowWarning, MLPField, PlanarField
from pipeline.flows.flow import cost_of_exact
from pipeline.util.errors import InvalidInput
from tests.helpers.flow_fields import OfAUser


def test_the_exact_divergence_of_many_dimensions_is_refused_with_its_cost() -> None:
    with pytest.raises(InvalidInput, match=r"784 dimensions costs about 392 times .*trace=hutchinson"):
        Flow(MLPField(784), dimension=784, trace="exact")
    Flow(MLPField(784), dimension=784)
    Flow(PlanarField(784), dimension=784, trace="exact")


def test_auto_is_exact_where_that_is_cheap_and_in_evaluation_where_it_can_be() -> None:
    assert not Flow(MLPField(3), dimension=3).is_estimated
    assert Flow(MLPField(4), dimension=4).is_estimated
    assert not Flow(MLPField(64), dimension=64).eval().is_estimated
    assert Flow(MLPField(784), dimension=784).eval().is_estimated
    assert not Flow(PlanarField(784), dimension=784).is_estimated
    assert not Flow(PlanarField(4), dimension=4, trace="hutchinson").is_estimated  # its closed form is cheaper
    assert Flow(MLPField(2), dimension=2, trace="hutchinson").eval().is_estimated
    assert cost_of_exact(64) == 32.5


def test_points_that_are_no_tensor_are_refused() -> None:
    flow = Flow(PlanarField(2), dimension=2)
    with pytest.raises(InvalidInput, match=r"are a tensor, not a ndarray: torch\.as_tensor makes one"):
        flow.log_prob(torch.zeros(3, 2).numpy())  # type: ignore[arg-type]


def test_batch_normalisation_is_refused_by_its_name() -> None:
    field = OfAUser(2)
    field.net.insert(1, nn.BatchNorm1d(16))
    with pytest.raises(InvalidInput, match=r"layer net\.1 normalises over the batch.*leave batch normalisation out"):
        Flow(field, dimension=2)


@pytest.mark.parametrize("build", [lambda: MLPField(2, activation="relu"), lambda: nn.Sequential(nn.LeakyReLU())])
def test_a_derivative_that_jumps_is_warned_of(build: type[nn.Module]) -> None:
    with pytest.warns(FlowWarning, match="derivative jumps"):
        Flow(build(), dimension=2)


def test_smooth_fields_are_not_warned_of() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for activation in ("tanh", "softplus", "silu"):
            Flow(MLPField(2, activation=activation), dimension=2)


def test_probes_that_nothing_uses_are_refused() -> None:
    with pytest.raises(InvalidInput, match="probes is 4, but the divergence is exact"):
        Flow(MLPField(3), dimension=3, trace="exact", probes=4)
    with pytest.raises(InvalidInput, match="probes is 2, but the divergence is exact"):
        Flow(PlanarField(3), dimension=3, probes=2)
    Flow(MLPField(3), dimension=3, trace="hutchinson", probes=4)


def test_points_of_another_shape_or_format_are_refused() -> None:
    flow = Flow(MLPField(3), dimension=3)
    with pytest.raises(InvalidInput, match=r"shape \(n, 3\), not \(5, 2\)"):
        flow.log_prob(torch.zeros(5, 2))
    with pytest.raises(InvalidInput, match="points are of float64, and the flow's weights of float32"):
        flow.log_prob(torch.zeros(5, 3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"penalties": ["curvature"]}, "no penalty 'curvature' of a flow: choose of kinetic, jacobian"),
        ({"probes": 0}, "one probe, not 0"),
        ({"final_time": 0.0}, "final time above 0, not 0"),
        ({"trace": "exakt"}, "trace is 'exakt': choose of auto, exact, hutchinson"),
        ({"noise": "uniform"}, "noise is 'uniform': choose of rademacher, gaussian"),
    ],
)
def test_what_no_flow_has_is_refused(options: dict[str, object], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        Flow(MLPField(3), dimension=3, **options)


def test_a_field_is_a_module() -> None:
    with pytest.raises(InvalidInput, match="the field of a flow is a module of t and z, not a function"):
        Flow(lambda t, z: t * z, dimension=3)


def test_an_unknown_activation_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(InvalidInput, match=r"no activation 'gelu' .* tanh, softplus, silu, relu"):
        MLPField(3, activation="gelu")


def test_a_trajectory_beyond_the_final_time_is_refused() -> None:
    with pytest.raises(InvalidInput, match="times from 0 to the flow's final time 1"):
        Flow(MLPField(3), dimension=3).trajectory(torch.zeros(1, 3), [0.0, 1.5])


def test_the_solver_is_told_of_as_everywhere() -> None:
    flow = Flow(MLPField(2), dimension=2, solver=SolverConfig(rtol=1e-5, atol=1e-5))
    assert flow.log_prob(torch.zeros(3, 2)).statistics is flow.statistics
    assert flow.statistics.nfe_forward > 0


def test_a_base_whose_numbers_are_events_of_their_own_is_refused() -> None:
    for base in (torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal(torch.zeros(2), torch.ones(2))):
        with pytest.raises(InvalidInput, match=r"events of shape \(2,\), not \(\): .*Independent"):
            Flow(MLPField(2, 8, 2), base, dimension=2)
