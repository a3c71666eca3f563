"""Steps that are launched as CUDA graphs: their arithmetic, with operations that are played from a tape on the CPU."""

import copy
import gc
import io
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from pipeline.config import RegularisationConfig, SolverConfig
from pipeline.ode import ODEBlock, StepGraphs, integrate
from pipeline.ode.memory import nodes_behind
from pipeline.ode.stepping import graphs as graphs_module
from pipeline.ode.stepping.graphs import GraphWarning
from pipeline.util.errors import OdenetError
from tests.helpers.taped import TapeRecorder

GRADIENTS = ("direct", "auto", "checkpointed", "recursive")
TIMES = (0.0, 0.4, 1.0)


class Driven(nn.Module):
    """tanh(z A) + drive cos t, with a buffer, in double precision."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3, dtype=torch.float64)
        self.register_buffer("scale", torch.ones(3, dtype=torch.float64))

    def forward(self, t: Tensor, z: Tensor, drive: Tensor | None = None) -> Tensor:
        slope = torch.tanh(self.linear(z)) * self.scale
        return slope if drive is None else slope + drive * torch.cos(t)


def driven() -> Driven:
    torch.manual_seed(0)
    return Driven()


def solver(gradient: str = "auto", method: str = "dopri5") -> SolverConfig:
    return SolverConfig(gradient=gradient, method=method, rtol=1e-6, atol=1e-6, steps=4)


def start(batch: int = 0) -> Tensor:
    return torch.linspace(-1, 1, 12, dtype=torch.float64).view(4, 3).add(batch).requires_grad_()


def trained(
    gradient: str, graphs: StepGraphs | None, method: str = "dopri5", batches: int = 3
) -> list[tuple[Tensor, ...]]:
    """The states at the times, evaluations and gradients of some batches of a training, each of a drive of its own."""
    field, found = driven(), []
    optimiser = torch.optim.SGD(field.parameters(), lr=0.1)
    for batch in range(batches):
        z0, source = start(batch), torch.full((4, 3), 0.3 * batch, dtype=torch.float64, requires_grad=True)
        optimiser.zero_grad()
        solution = integrate(field, z0, TIMES, solver(gradient, method), context=[2 * source], graphs=graphs)
        states = solution.states
        assert isinstance(states, Tensor)
        states.square().sum().backward()
        gradients = [one.grad.clone() for one in (z0, source, *field.parameters()) if one.grad is not None]
        found.append((states.detach(), torch.tensor(solution.statistics.nfe_forward), *gradients))
        optimiser.step()
    return found


@pytest.mark.parametrize("method", ["dopri5", "tsit5", "heun", "rk4"])
@pytest.mark.parametrize("gradient", GRADIENTS)
def test_a_training_is_what_it_is_without_them(gradient: str, method: str) -> None:
    recorder = TapeRecorder()
    found = trained(gradient, StepGraphs(recorder.of_device), method)
    for ours, theirs in zip(found, trained(gradient, None, method), strict=True):
        assert len(ours) == 6
        for one, other in zip(ours, theirs, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-11, atol=1e-12)
    assert sum(recorder.replays) > 0


def test_the_solution_is_the_same_to_the_bit() -> None:
    with_them, without = (integrate(driven(), start(), TIMES, solver(), graphs=one) for one in (taped(), None))
    assert torch.equal(with_them.states, without.states)
    assert with_them.statistics.nfe_forward == without.statistics.nfe_forward


def taped() -> StepGraphs:
    return StepGraphs(TapeRecorder().of_device)


CALLS: list[None] = []


class _Counted(Driven):
    def forward(self, t: Tensor, z: Tensor, drive: Tensor | None = None) -> Tensor:
        CALLS.append(None)
        return super().forward(t, z, drive)


def test_python_is_not_asked_again_once_they_are_recorded() -> None:
    field, graphs, asked = _Counted(), taped(), []
    for batch in range(3):
        integrate(field, start(batch), (0.0, 1.0), solver(), graphs=graphs).state.sum().backward()
        asked.append(len(CALLS))
    assert asked[0] == asked[1] == asked[2]


def test_what_is_recorded_begins_at_no_tensor_of_the_trainings_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a GPU their nodes are of another stream than what is recorded, which torch refuses."""
    field = driven()
    own, walked = {id(one) for one in field.parameters()}, []
    pullback = graphs_module.pullback

    def watched(outputs: Any, flows: Any, inputs: Any) -> Any:
        walked.append([node.variable for node in nodes_behind(outputs) if hasattr(node, "variable")])
        return pullback(outputs, flows, inputs)

    monkeypatch.setattr(graphs_module, "pullback", watched)
    for gradient in GRADIENTS:
        integrate(field, start(), TIMES, solver(gradient), graphs=taped()).states.sum().backward()
    assert len(walked) > len(GRADIENTS)
    assert all(leaves for leaves in walked)
    assert not any(id(leaf) in own for leaves in walked for leaf in leaves)


def test_what_python_chose_by_an_attribute_or_by_the_mode_is_chosen_anew() -> None:
    class Chosen(Driven):
        def __init__(self) -> None:
            super().__init__()
            self.own_gain = 1.0

        def forward(self, t: Tensor, z: Tensor, drive: Tensor | None = None) -> Tensor:
            return super().forward(t, z, drive) * self.own_gain * (1 if self.training else -1)

    field, graphs = Chosen(), taped()
    changes: list[Callable[[], Any]] = [
        lambda: None,
        lambda: setattr(field, "own_gain", 0.5),
        lambda: field.eval(),
        lambda: field.linear.weight.data.mul_(2),
        lambda: setattr(field.linear, "weight", nn.Parameter(torch.eye(3, dtype=torch.float64))),
        lambda: field.linear.bias.requires_grad_(False),
    ]
    for change in changes:
        change()
        for one in field.parameters():
            one.grad = None
        found = integrate(field, start(), (0.0, 1.0), solver(), graphs=graphs).state
        found.sum().backward()
        own = [one.grad for one in field.parameters()]
        for one in field.parameters():
            one.grad = None
        expected = integrate(field, start(), (0.0, 1.0), solver()).state
        expected.sum().backward()
        assert torch.equal(found, expected)
        for one, parameter in zip(own, field.parameters(), strict=True):
            assert (one is None) == (parameter.grad is None) == (not parameter.requires_grad)
            if one is not None:
                torch.testing.assert_close(one, parameter.grad, rtol=1e-11, atol=1e-12)


def test_a_change_of_the_weights_between_the_passes_is_refused_as_by_torch() -> None:
    field = driven()
    end = integrate(field, start(), (0.0, 1.0), solver("direct"), graphs=taped()).state
    with torch.no_grad():
        field.linear.weight.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        end.sum().backward()


def test_a_second_derivative_is_refused_and_not_wrong() -> None:
    z0 = start()
    end = integrate(driven(), z0, (0.0, 1.0), solver("direct"), graphs=taped()).state
    with pytest.raises(OdenetError, match="cuda_graphs=False"):
        torch.autograd.grad(end.sum(), z0, create_graph=True)


def test_hooks_on_parameters_run_once_with_the_whole_gradient() -> None:
    field, seen = driven(), []
    field.linear.weight.register_hook(lambda gradient: seen.append(gradient.clone()))
    for graphs in (taped(), None):
        integrate(field, start(), (0.0, 1.0), solver("direct"), graphs=graphs).state.sum().backward()
    assert len(seen) == 2
    torch.testing.assert_close(seen[0], seen[1], rtol=1e-11, atol=1e-12)


def test_other_weights_by_functional_call_and_transforms_of_torch_are_right() -> None:
    block = ODEBlock(driven(), 1.0, solver("direct"))
    others = {name: 0.5 * value.detach() for name, value in block.named_parameters()}

    def loss(weights: dict[str, Tensor], z: Tensor) -> Tensor:
        return torch.func.functional_call(block, weights, (z,)).square().sum()

    z0 = start().detach()
    expected = torch.func.grad(loss)(others, z0)
    block.graphs = taped()
    assert torch.equal(loss(others, z0), block_of(others)(z0).square().sum())
    found = torch.func.grad(loss)(others, z0)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-11, atol=1e-12)


def block_of(weights: dict[str, Tensor]) -> ODEBlock:
    block = ODEBlock(driven(), 1.0, solver("direct"))
    block.load_state_dict({**block.state_dict(), **weights})
    return block


class _Dropping(Driven):
    def forward(self, t: Tensor, z: Tensor, drive: Tensor | None = None) -> Tensor:
        return torch.dropout(super().forward(t, z, drive), 0.5, train=True)


class _Normalised(Driven):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3, dtype=torch.float64)

    def forward(self, t: Tensor, z: Tensor, drive: Tensor | None = None) -> Tensor:
        return self.norm(super().forward(t, z, drive))


class _Numpy(Driven):
    def forward(self, t: Tensor, z: Tensor, drive: Tensor | None = None) -> Tensor:
        return super().forward(t, z, drive) * np.random.random()


class _Counting(Driven):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def forward(self, t: Tensor, z: Tensor, drive: Tensor | None = None) -> Tensor:
        self.count += 1
        return super().forward(t, z, drive)


class _Conditioned(Driven):
    def __init__(self) -> None:
        super().__init__()
        self.condition = torch.ones(3, dtype=torch.float64)

    def forward(self, t: Tensor, z: Tensor, drive: Tensor | None = None) -> Tensor:
        return super().forward(t, z, drive) * self.condition


class _Hooked(Driven):
    def __init__(self) -> None:
        super().__init__()
        self.linear.register_forward_hook(lambda _module, _given, found: 2 * found)


class _Asking(Driven):
    def forward(self, t: Tensor, z: Tensor, drive: Tensor | None = None) -> Tensor:
        return super().forward(t, z, drive) * (1 if z.sum().item() < 100 else 2)


class _Drawing(Driven):
    def __init__(self) -> None:
        super().__init__()
        self.generator = torch.Generator()


OUTSIDE = torch.ones(3, dtype=torch.float64, requires_grad=True)


class _Reading(Driven):
    def forward(self, t: Tensor, z: Tensor, drive: Tensor | None = None) -> Tensor:
        return super().forward(t, z, drive) * OUTSIDE


UNSUITABLE = {
    "draws random numbers": _Dropping,
    "changes its buffers": _Normalised,
    "register_buffer": _Conditioned,
    "hooks on its Linear": _Hooked,
    "waits for numbers on the host": _Asking,
    "draws random numbers, which": _Numpy,
    "changes its attributes": _Counting,
    "a generator": _Drawing,
    "reads a tensor of shape (3,) that is neither": _Reading,
}


@pytest.mark.parametrize("reason", UNSUITABLE)
def test_a_field_that_a_graph_would_get_wrong_is_launched_as_without_them_and_says_why(reason: str) -> None:
    kind = UNSUITABLE[reason]
    results = []
    for graphs in (taped(), None):
        torch.manual_seed(0)
        field = kind()
        torch.manual_seed(1)
        np.random.seed(1)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            end = integrate(field, start(), (0.0, 1.0), solver(method="rk4"), graphs=graphs).state
            end.sum().backward()
        told = [str(one.message) for one in caught if isinstance(one.message, GraphWarning)]
        assert len(told) == (graphs is not None)
        assert all(reason in one for one in told)
        results.append([end, *(one.grad for one in field.parameters()), *field.buffers()])
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


class _Gains:
    def __init__(self) -> None:
        self.gain = 1.0


class _Varied(Driven):
    """By whatever has been put there."""

    of_class = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.numbers = (1.0, [1.0], {"gain": 1.0})
        self.gains = _Gains()
        self.act: Callable[[Tensor], Tensor] = torch.tanh
        self.hidden = (nn.Dropout(0.5).eval(),)

    def forward(self, t: Tensor, z: Tensor, drive: Tensor | None = None) -> Tensor:
        first, (second,), named = self.numbers
        gain = first * second * named["gain"] * self.gains.gain * self.of_class * (2 if self.hidden[0].training else 1)
        return self.act(super().forward(t, z, drive)) * gain * (1 if torch.is_grad_enabled() else 3)


def _second(field: _Varied) -> None:
    field.numbers[1][0] = 0.5


def _named(field: _Varied) -> None:
    field.numbers[2]["gain"] = 0.5


VARIED: dict[str, Callable[[_Varied], Any]] = {
    "a number in a tuple": lambda field: setattr(field, "numbers", (0.5, [1.0], {"gain": 1.0})),
    "a number in a list": _second,
    "a number in a dictionary": _named,
    "an attribute of an attribute": lambda field: setattr(field.gains, "gain", 0.5),
    "an attribute of the class": lambda field: setattr(type(field), "of_class", 0.5),
    "a function": lambda field: setattr(field, "act", torch.sin),
    "the mode of a hidden module": lambda field: field.hidden[0].train(),
}


@pytest.mark.parametrize("change", VARIED)
def test_what_a_field_decides_by_is_looked_at_in_every_solve(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Varied, "of_class", 1.0)
    torch.manual_seed(0)
    field, recorder = _Varied(), TapeRecorder()
    graphs = StepGraphs(recorder.of_device)
    ends = []
    for number in range(2):
        if number:
            VARIED[change](field)
        end = integrate(field, start(), (0.0, 1.0), solver(), graphs=graphs).state
        assert torch.equal(end, integrate(field, start(), (0.0, 1.0), solver()).state)
        ends.append(end)
    assert not torch.equal(*ends)
    assert sum(recorder.replays) > 0


def test_a_hook_that_is_registered_later_is_called() -> None:
    field, graphs = driven(), taped()
    integrate(field, start(), (0.0, 1.0), solver(), graphs=graphs)
    field.linear.register_forward_hook(lambda _module, _given, found: 2 * found)
    with pytest.warns(GraphWarning, match="has hooks on its Linear"):
        end = integrate(field, start(), (0.0, 1.0), solver(), graphs=graphs).state
    assert torch.equal(end, integrate(field, start(), (0.0, 1.0), solver()).state)


class _InContext(nn.Module):
    def forward(self, t: Tensor, z: Tensor, gain: Tensor) -> Tensor:
        return torch.cos(t) * z * gain.abs().sum()


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("shape", [(), (3,)])
def test_gradients_reach_a_context_of_any_kind(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    found = []
    for graphs in (taped(), None):
        gain = torch.full(shape, 0.7, dtype=dtype, requires_grad=True)
        integrate(_InContext(), start(), (0.0, 1.0), solver(), context=[gain], graphs=graphs).state.sum().backward()
        found.append(gain.grad)
    torch.testing.assert_close(*found, rtol=1e-11, atol=1e-12)


class _OfTime(nn.Module):
    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        return torch.cos(t) * torch.ones_like(z)


def test_a_field_that_depends_on_nothing_has_the_gradient_of_its_start() -> None:
    z0 = start()
    integrate(_OfTime(), z0, (0.0, 1.0), solver("direct"), graphs=taped()).state.sum().backward()
    assert torch.equal(z0.grad, torch.ones_like(z0))  # type: ignore[arg-type]
    state = torch.tensor(0.5, dtype=torch.float64)
    end = integrate(_OfTime(), state, (0.0, 1.0), solver("direct"), graphs=taped()).state
    assert torch.equal(end, integrate(_OfTime(), state, (0.0, 1.0), solver("direct")).state)


def test_within_a_checkpoint_of_torch_they_stand_back() -> None:
    field, recorder = driven(), TapeRecorder()
    block = ODEBlock(field, 1.0, solver("direct"))
    block.graphs = StepGraphs(recorder.of_device)
    z0 = start()
    checkpoint(block, z0, use_reentrant=False).sum().backward()
    expected = start()
    block.graphs = None
    block(expected).sum().backward()
    torch.testing.assert_close(z0.grad, expected.grad)
    assert recorder.replays == []


def test_a_buffer_that_is_no_number_is_as_it_was() -> None:
    field, recorder = driven(), TapeRecorder()
    field.register_buffer("unset", torch.full((2,), torch.nan))
    integrate(field, start(), (0.0, 1.0), solver(), graphs=StepGraphs(recorder.of_device))
    assert sum(recorder.replays) > 0


def test_behind_their_end_what_they_launched_cannot_be_differentiated() -> None:
    field, graphs = driven(), taped()
    end = integrate(field, start(), (0.0, 1.0), solver("direct"), graphs=graphs).state
    graphs.close()
    with pytest.raises(RuntimeError, match="are closed"):
        end.sum().backward()
    integrate(field, start(), (0.0, 1.0), solver("direct"), graphs=graphs).state.sum().backward()


def test_a_function_is_launched_as_without_them() -> None:
    with pytest.warns(GraphWarning, match="is a function"):
        integrate(lambda _t, z: -z, start(), (0.0, 1.0), solver(), graphs=taped())


def test_no_more_kinds_of_arguments_are_recorded_than_there_is_memory_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs_module, "MOST_KINDS", 4)
    field, graphs = driven(), taped()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for rows in range(1, 6):
            z0 = start()[:rows].detach()
            end = integrate(field, z0, (0.0, 1.0), solver(), graphs=graphs).state
            assert torch.equal(end, integrate(field, z0, (0.0, 1.0), solver()).state)
            end.sum().backward()  # also of the solve in which it was given up
    assert ["more than 4 kinds" in str(one.message) for one in caught] == [True]


def test_of_a_copy_and_of_a_stored_block_nothing_is_recorded_yet() -> None:
    recorder = TapeRecorder()
    block = ODEBlock(driven(), 1.0, solver())
    block.graphs = StepGraphs(recorder.of_device)
    z0 = start()
    block(z0)
    twin = copy.deepcopy(block)
    with torch.no_grad():
        twin.field.linear.weight.mul_(2)
    block.graphs = None
    expected = copy.deepcopy(twin)
    assert torch.equal(twin(z0), expected(z0))
    block.graphs = StepGraphs(recorder.of_device)
    torch.save(block, io.BytesIO())


def test_what_is_evaluated_is_launched_as_without_them() -> None:
    recorder = TapeRecorder()
    block = ODEBlock(driven(), 1.0, solver())
    block.graphs = StepGraphs(recorder.of_device)
    with torch.no_grad():
        block(start())
    block.eval()(start())
    assert recorder.replays == []
    block.train()(start())
    assert sum(recorder.replays) > 0


def test_penalties_that_differentiate_the_field_are_launched_as_without_them() -> None:
    recorder = TapeRecorder()
    block = ODEBlock(driven(), 1.0, solver())
    block.regularise(RegularisationConfig(jacobian=0.1))
    block.graphs = StepGraphs(recorder.of_device)
    block(start())
    assert recorder.replays == []


def test_nothing_of_the_first_batch_is_kept() -> None:
    field, graphs = driven(), taped()
    source = torch.ones(4, 3, dtype=torch.float64, requires_grad=True)
    drive, z0 = 2 * source, 3 * start()
    known = [weakref.ref(one) for one in (drive, z0)]
    integrate(field, z0, (0.0, 1.0), solver("direct"), context=[drive], graphs=graphs).state.sum().backward()
    del drive, z0
    gc.collect()
    assert [one() for one in known] == [None, None]
