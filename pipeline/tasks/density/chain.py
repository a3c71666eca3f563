"""Continuous flows one after the other."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from pipeline.flows import Flow, LogProb


class Chain(nn.Module):
    """Each flow begins where the one before it ends, in the direction of samples.

    Source: Grathwohl et al. 2019, whose flows of tabular data have up to ten blocks.

    Attributes:
        flows: the base of the first is that of the chain; those of the others are not used.
    """

    def __init__(self, flows: Sequence[Flow]) -> None:
        super().__init__()
        self.flows = nn.ModuleList(flows)
        self.dimension = flows[0].dimension

    @property
    def _flows(self) -> list[Flow]:
        return [flow for flow in self.flows if isinstance(flow, Flow)]

    @property
    def is_estimated(self) -> bool:
        """Whether log-densities are estimates as the flows are now, in training or in evaluation."""
        return any(flow.is_estimated for flow in self._flows)

    def log_prob(self, x: Tensor, *, time: float | None = None, generator: torch.Generator | None = None) -> LogProb:
        """The log-density of points, shape (n, D), in nats.

        Args:
            time: at which each flow begins to go back; its final time without it.
        """
        change, penalties = x.new_zeros(len(x)), dict[str, Tensor]()
        for flow in reversed(self._flows):
            state = flow.carried(x, flow.final_time if time is None else time, 0.0, generator)
            x, change = state["point"], change + state["change"]
            penalties = _added(penalties, {name: -state[name] for name in flow.penalties if name in state})
        value: Tensor = self._flows[0].base.log_prob(x)
        return LogProb(value + change, penalties=penalties)

    def sample(self, n: int, seed: int) -> Tensor:
        """Points of the density, shape (n, D), without gradients."""
        with torch.no_grad():
            return self(self._flows[0].base.sample(n, torch.Generator().manual_seed(seed)))  # type: ignore[no-any-return]

    def rsample_and_log_prob(self, n: int, generator: torch.Generator | None = None) -> tuple[Tensor, LogProb]:
        """Points of the density with gradients, and their log-density."""
        x = self._flows[0].base.sample(n, generator)
        value, penalties = self._flows[0].base.log_prob(x), dict[str, Tensor]()
        for flow in self._flows:
            state = flow.carried(x, 0.0, flow.final_time, generator)
            x, value = state["point"], value - state["change"]
            penalties = _added(penalties, {name: state[name] for name in flow.penalties if name in state})
        return x, LogProb(value, penalties=penalties)

    def forward(self, z: Tensor) -> Tensor:
        """Where points of the base come to."""
        for flow in self._flows:
            z = flow(z)
        return z

    def inverse(self, x: Tensor) -> Tensor:
        """Where points of the data come from."""
        for flow in reversed(self._flows):
            x = flow.inverse(x)
        return x


def _added(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: first[name] + value if name in first else value for name, value in second.items()}
