"""How a state takes in one observation after the other, and what becomes of it in the time between."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from pipeline.config import SolverConfig
from pipeline.ode import integrate
from pipeline.series.batch import Observations
from pipeline.series.recurrence import tanh_recurrence

State = tuple[Tensor, ...]
"""Tensors of shape (b, width): the hidden state, and what else a cell remembers."""


class Cell(nn.Module, ABC):
    """A recurrent network for observations at irregular times.

    An observation is D values and a mask of those that are there, both (b, D); a gap is the time since the state was
    last brought forward, (b, 1), in the model's unit of time.

    Attributes:
        dimensions: D.
        features_width: of what is known of the state at a time.
    """

    dimensions: int
    features_width: int

    @abstractmethod
    def begin(self, like: Tensor) -> State:
        """Before anything is observed; `like` has the batch, shape (b, …), device and dtype."""

    @abstractmethod
    def evolve(self, state: State, gap: Tensor) -> State:
        """The state a gap later, if nothing is observed in between."""

    @abstractmethod
    def update(self, state: State, values: Tensor, mask: Tensor) -> State:
        """With an observation at the state's time."""

    def features(self, state: State) -> Tensor:
        """What is known of the state's time, shape (b, features_width)."""
        return state[0]

    def read(self, observations: Observations, gaps: Tensor) -> State:
        """The state before anything is observed and behind each observation, each tensor of shape (k + 1, b, width).

        Args:
            gaps: of the observations, in the model's unit of time, shape (b, k).
        """
        state = self.begin(observations.values)
        states = [state]
        for gap, values, mask in zip(
            gaps.unsqueeze(-1).unbind(1), observations.values.unbind(1), observations.mask.unbind(1), strict=True
        ):
            state = self.update(self.evolve(state, gap), values, mask)
            states.append(state)
        return tuple(torch.stack(parts) for parts in zip(*states, strict=True))

    def last(self, observations: Observations, gaps: Tensor) -> State:
        """The state behind the last observation of each series."""
        states = self.read(observations, gaps)
        if observations.are_all_as_long:
            return tuple(part[-1] for part in states)
        series = torch.arange(len(observations.counts), device=observations.counts.device)
        return tuple(part[observations.counts, series] for part in states)


class RNNCell(Cell):
    """h = tanh(W (values, mask) + U h + b), which does not know when the observations were."""

    def __init__(self, dimensions: int, hidden: int, sees_mask: bool = True) -> None:
        """
        Args:
            sees_mask: the mask is an input; without it, a value that is missing is 0.
        """
        super().__init__()
        self.dimensions, self.hidden, self.features_width, self.sees_mask = dimensions, hidden, hidden, sees_mask
        self.of_inputs = nn.Linear(self._inputs_width(), hidden)
        self.of_state = nn.Linear(hidden, hidden, bias=False)

    def _inputs_width(self) -> int:
        return (1 + self.sees_mask) * self.dimensions

    def _inputs(self, values: Tensor, mask: Tensor, *more: Tensor) -> Tensor:
        return torch.cat([values, *[mask] * self.sees_mask, *more], dim=-1)

    def begin(self, like: Tensor) -> State:
        return (like.new_zeros(len(like), self.hidden),)

    def evolve(self, state: State, gap: Tensor) -> State:  # noqa: ARG002 - it does not know of time
        return state

    def update(self, state: State, values: Tensor, mask: Tensor) -> State:
        return (self._next(state[0], self._inputs(values, mask)),)

    def _next(self, hidden: Tensor, inputs: Tensor) -> Tensor:
        return torch.tanh(self.of_inputs(inputs) + self.of_state(hidden))

    def read(self, observations: Observations, gaps: Tensor) -> State:
        return self._whole(self._read(observations, gaps)[0])

    def last(self, observations: Observations, gaps: Tensor) -> State:
        if observations.are_all_as_long:
            return self._whole(self._read(observations, gaps)[1])
        return super().last(observations, gaps)

    def _read(self, observations: Observations, gaps: Tensor) -> tuple[Tensor, Tensor]:
        """All hidden states and the last one."""
        inputs = self._inputs(observations.values, observations.mask, *self._more_inputs(gaps))
        return tanh_recurrence(self.of_inputs(inputs.transpose(0, 1)), self.of_state.weight)

    def _more_inputs(self, gaps: Tensor) -> tuple[Tensor, ...]:  # noqa: ARG002 - it does not know of time
        return ()

    def _whole(self, hidden: Tensor) -> State:
        """The state behind an observation, of which this is the hidden one."""
        return (hidden,)


class TimeGapRNNCell(RNNCell):
    """h = tanh(W (values, mask, gap) + U h + b): an RNN with the time since the last observation as an input."""

    def __init__(self, dimensions: int, hidden: int, sees_mask: bool = True) -> None:
        super().__init__(dimensions, hidden, sees_mask)
        self.features_width = hidden + 1

    def _inputs_width(self) -> int:
        return super()._inputs_width() + 1

    def begin(self, like: Tensor) -> State:
        return (*super().begin(like), like.new_zeros(len(like), 1))

    def evolve(self, state: State, gap: Tensor) -> State:
        return state[0], state[1] + gap

    def update(self, state: State, values: Tensor, mask: Tensor) -> State:
        hidden, gap = state
        return self._next(hidden, self._inputs(values, mask, gap)), torch.zeros_like(gap)

    def features(self, state: State) -> Tensor:
        """The hidden state, and how old it is."""
        return torch.cat(state, dim=-1)

    def _more_inputs(self, gaps: Tensor) -> tuple[Tensor, ...]:
        return (gaps.unsqueeze(-1),)

    def _whole(self, hidden: Tensor) -> State:
        return hidden, torch.zeros_like(hidden[..., :1])


class GRUDCell(Cell):
    """A GRU whose state decays between observations, as does what it takes for a value that is missing.

    A missing value is taken for one between the last that was observed and the mean of the training data, nearer to the
    mean the longer that is ago.

    Attributes:
        mean: of the training data, shape (dimensions,); 0, that of standardised data, until it is set. No weight: it is
            not in `state_dict`.

    Source: Che et al. 2018, *Recurrent neural networks for multivariate time series with missing values*.
    """

    mean: Tensor

    def __init__(self, dimensions: int, hidden: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dimensions), persistent=False)
        self.dimensions, self.hidden, self.features_width = dimensions, hidden, hidden
        self.gru = nn.GRUCell(2 * dimensions, hidden)
        self.decay_of_state = nn.Linear(dimensions, hidden)
        # Rates and offsets: 0 at first, the rates would have no gradient.
        self.decay_of_values = nn.Parameter(torch.tensor([[0.5], [0.0]]).repeat(1, dimensions))

    def begin(self, like: Tensor) -> State:
        ages = like.new_zeros(len(like), self.dimensions)
        return like.new_zeros(len(like), self.hidden), self.mean.to(like.dtype).expand_as(ages), ages

    def evolve(self, state: State, gap: Tensor) -> State:
        hidden, last, ages = state
        return hidden, last, ages + gap

    def update(self, state: State, values: Tensor, mask: Tensor) -> State:
        hidden, last, ages = state
        rate, offset = self.decay_of_values
        share = torch.exp(-torch.relu(rate * ages + offset))
        filled = mask * values + (1 - mask) * (share * last + (1 - share) * self.mean)
        hidden = self.gru(torch.cat([filled, mask], dim=-1), self._decayed(hidden, ages))
        return hidden, mask * values + (1 - mask) * last, (1 - mask) * ages

    def features(self, state: State) -> Tensor:
        hidden, _, ages = state
        return self._decayed(hidden, ages)

    def _decayed(self, hidden: Tensor, ages: Tensor) -> Tensor:
        return hidden * torch.exp(-torch.relu(self.decay_of_state(ages)))


class ODERNNCell(Cell):
    """A GRU whose state follows an ODE between observations.

    The gaps of all series before their k-th observations are solved at once, each stretched to 0 … 1: the number of
    solves is that of observations of the longest series, not of the times of all of them.

    Source: Rubanova, Chen & Duvenaud 2019, section 3.1; they take Euler steps too.
    """

    def __init__(self, dimensions: int, hidden: int, field: nn.Module, solver: SolverConfig) -> None:
        """
        Args:
            field: dh/dt of t and h, shape (b, hidden).
            solver: over each gap; with method=euler, as many steps as `steps` says.
        """
        super().__init__()
        self.dimensions, self.hidden, self.features_width = dimensions, hidden, hidden
        self.gru = nn.GRUCell(2 * dimensions, hidden)
        self.stretched = _Stretched(field)
        self.solver = solver

    def begin(self, like: Tensor) -> State:
        return (like.new_zeros(len(like), self.hidden),)

    def evolve(self, state: State, gap: Tensor) -> State:
        (hidden,) = state
        if self.solver.method == "euler":
            step = gap / self.solver.steps
            for number in range(self.solver.steps):
                time = gap.new_full((), number / self.solver.steps)
                hidden = hidden + step * self.stretched.field(time, hidden)
            return (hidden,)
        if not bool(gap.any()):
            return state
        solution = integrate(self.stretched, hidden, (0.0, 1.0), self.solver, context=(gap,))
        assert isinstance(solution.state, Tensor)
        return (solution.state,)

    def update(self, state: State, values: Tensor, mask: Tensor) -> State:
        return (self.gru(torch.cat([values, mask], dim=-1), state[0]),)


class _Stretched(nn.Module):
    """A field whose gaps all last from 0 to 1."""

    def __init__(self, field: nn.Module) -> None:
        super().__init__()
        self.field = field

    def forward(self, t: Tensor, h: Tensor, gap: Tensor) -> Tensor:
        slope: Tensor = gap * self.field(t, h)
        return slope
