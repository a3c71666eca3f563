"""What every model is: a stem, a body, a head."""

from torch import Tensor, nn

from pipeline.ode import ODEBlock


class Network(nn.Module):
    """Images to class scores. The two families differ in the body alone."""

    def __init__(self, stem: nn.Module, body: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.stem = stem
        self.body = body
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        """Images (batch, channels, height, width) in [-1, 1] to unnormalised scores (batch, classes)."""
        scores: Tensor = self.head(self.body(self.stem(images)))
        return scores

    def ode_blocks(self) -> list[ODEBlock]:
        """The blocks that are solved; none in a residual network."""
        return [module for module in self.modules() if isinstance(module, ODEBlock)]

    def nfe_forward(self) -> int | None:
        """Evaluations of the last forward pass, summed over the ODE blocks; None without one."""
        blocks = self.ode_blocks()
        return sum(block.statistics.nfe_forward for block in blocks) if blocks else None

    def nfe_per_image(self) -> list[int] | None:
        """Evaluations of the last forward pass that each image took part in, summed over the ODE blocks.

        None where the images of a batch share their steps, and without a block.
        """
        counts = [[sample.evaluations for sample in block.statistics.samples] for block in self.ode_blocks()]
        return [sum(of_image) for of_image in zip(*counts, strict=True)] if all(counts) and counts else None

    def nfe_backward(self) -> int | None:
        """Evaluations of the last backward pass so far; None where backward makes none of its own."""
        counts = [block.statistics.nfe_backward for block in self.ode_blocks()]
        counted = [count for count in counts if count is not None]
        return sum(counted) if counted else None

    def rejected_steps(self) -> int | None:
        """Rejected steps of the last forward pass, summed over the ODE blocks; None without one."""
        blocks = self.ode_blocks()
        return sum(block.statistics.rejected for block in blocks) if blocks else None
