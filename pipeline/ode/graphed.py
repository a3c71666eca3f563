"""Parts of a model whose solves in training can be launched as CUDA graphs."""

import torch
from torch import nn

from pipeline.ode.stepping import StepGraphs


class Graphed(nn.Module):
    """A module that solves an ODE.

    Attributes:
        graphs: keeps the graphs of its steps in training; None where they are launched kernel by kernel.
    """

    graphs: StepGraphs | None = None

    @property
    def can_be_graphed(self) -> bool:
        """Whether its steps are of a kind that can be recorded."""
        raise NotImplementedError

    def graphs_now(self) -> StepGraphs | None:
        """Those for a solve that begins here: what is not trained on is launched as without them."""
        return self.graphs if self.training and torch.is_grad_enabled() and self.can_be_graphed else None
