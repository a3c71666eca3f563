"""The complex ODE-Net as the thesis describes it: its state is the whole padded image, zeros and all.

What other libraries are given, and what our own is held against, which leaves the zeros out.
"""

from torch import Tensor, nn
from torch.nn import functional

from pipeline.models import Network
from pipeline.models.architectures.complex import CompactState, CornerField
from pipeline.models.layers import PadChannels
from pipeline.ode.counts import ode_blocks


def pad_whole(network: Network, image_channels: int) -> None:
    """Give the network, where it is a complex ODE-Net, the whole state; parameters and scores stay the same."""
    for block in ode_blocks(network):
        if isinstance(block.field, CornerField):
            state = block.field.state
            network.stem = PadChannels(state.channels - image_channels)
            block.field, block.implicit_zeros = PaddedField(block.field), 0
            network.body[1] = Crop(state)


class PaddedField(nn.Module):
    """Drops the zero channels but those that the stages see, and pads what they make of the others back."""

    def __init__(self, field: CornerField) -> None:
        super().__init__()
        self.stages = field.stages
        self.read = field.state.read

    def forward(self, t: Tensor, z: Tensor) -> Tensor:
        moves = self.stages(t, z[:, : self.read])  # (batch, 256, height / 8, width / 8)
        height, width = z.shape[2:]
        return functional.pad(moves, (0, width - moves.shape[3], 0, height - moves.shape[2]))


class Crop(nn.Module):
    """The upper left corner."""

    def __init__(self, state: CompactState) -> None:
        super().__init__()
        self.height, self.width = state.corner_size

    def forward(self, z: Tensor) -> Tensor:
        return z[:, :, : self.height, : self.width]
