"""What is counted of a user's own network, and what of it cannot be."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from pipeline import plugins
from pipeline.config import NetworkConfig, SolverConfig
from pipeline.models.describe import Description, describe
from pipeline.ode import ODEBlock
from pipeline.plugins import registry
from pipeline.plugins.registry import PluginError

SHAPE, CLASSES = (1, 8, 8), 10


class Linear(nn.Module):
    """A field of one layer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(16, 16)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002
        slope: Tensor = self.layer(z)
        return slope


class Rows(nn.Module):
    """The rows of an image through a recurrent layer, whose outputs are a tuple."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.recurrent, self.head = nn.GRU(8, 5, batch_first=True), nn.Linear(5, outputs)

    def forward(self, images: Tensor) -> Tensor:
        states, _ = self.recurrent(images[:, 0])
        scores: Tensor = self.head(states[:, -1])
        return scores


class Attentive(nn.Module):
    """The eight rows of an image, each of which looks at the first six, the queries before the batch or behind it."""

    def __init__(self, outputs: int, batch_first: bool) -> None:
        super().__init__()
        self.attention, self.head = nn.MultiheadAttention(8, 2, batch_first=batch_first), nn.Linear(8, outputs)

    def forward(self, images: Tensor) -> Tensor:
        rows = images[:, 0] if self.attention.batch_first else images[:, 0].transpose(0, 1)
        first = rows[:, :6] if self.attention.batch_first else rows[:6]
        seen, _ = self.attention(rows, key=first, value=first)
        scores: Tensor = self.head(seen.mean(1 if self.attention.batch_first else 0))
        return scores


class SelfAttention(nn.MultiheadAttention):
    """Attention whose `forward` takes one tensor."""

    def forward(self, rows: Tensor) -> Tensor:  # type: ignore[override]
        seen: Tensor = super().forward(rows, rows, rows)[0]
        return seen


class SelfAttentive(nn.Module):
    """The eight rows of an image, each of which looks at all of them."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.attention, self.head = SelfAttention(8, 2, batch_first=True), nn.Linear(8, outputs)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.head(self.attention(images[:, 0]).mean(1))
        return scores


class Twice(nn.Module):
    """A block that is solved twice in a pass."""

    def __init__(self, solver: SolverConfig, outputs: int) -> None:
        super().__init__()
        self.stem, self.block, self.head = nn.Linear(64, 16), ODEBlock(Linear(), 1.0, solver), nn.Linear(16, outputs)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.head(self.block(self.block(self.stem(images.flatten(1)))))
        return scores


class Layers(nn.Module):
    """A transposed convolution, a linear layer at each place, and one that is called three times."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(1, 2, 2, stride=2)
        self.of_places, self.again = nn.Linear(256, 16), nn.Linear(16, 16)
        self.head = nn.Linear(32, outputs)

    def forward(self, images: Tensor) -> Tensor:
        found = self.of_places(self.up(images).flatten(2))
        for _ in range(3):
            found = self.again(found)
        scores: Tensor = self.head(found.flatten(1))
        return scores


class Tied(nn.Module):
    """Two layers with one matrix."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.one, self.other, self.head = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, outputs)
        self.other.weight = self.one.weight

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.head(self.other(self.one(images.flatten(1))))
        return scores


class Counting(Tied):
    """A state that is more than tensors."""

    def get_extra_state(self) -> dict[str, int]:
        return {"calls": 0}


@pytest.fixture(autouse=True)
def _models() -> Iterator[None]:
    @plugins.model("rows")
    def rows(input_shape: object, outputs: int, solver: SolverConfig) -> nn.Module:  # noqa: ARG001
        return Rows(outputs)

    @plugins.model("two_odes")
    def two_odes(input_shape: object, outputs: int, solver: SolverConfig) -> nn.Module:  # noqa: ARG001
        blocks = [ODEBlock(Linear(), 1.0, solver) for _ in range(2)]
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), *blocks, nn.Linear(16, outputs))

    @plugins.model("shared_field")
    def shared_field(input_shape: object, outputs: int, solver: SolverConfig) -> nn.Module:  # noqa: ARG001
        field = Linear()
        blocks = [ODEBlock(field, 1.0, solver) for _ in range(2)]
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), *blocks, nn.Linear(16, outputs))

    @plugins.model("twice")
    def twice(input_shape: object, outputs: int, solver: SolverConfig) -> nn.Module:  # noqa: ARG001
        return Twice(solver, outputs)

    @plugins.model("layers")
    def layers(input_shape: object, outputs: int, solver: SolverConfig) -> nn.Module:  # noqa: ARG001
        return Layers(outputs)

    @plugins.model("attentive")
    def attentive(
        input_shape: object,  # noqa: ARG001
        outputs: int,
        solver: SolverConfig,  # noqa: ARG001
        *,
        batch_first: bool = True,
    ) -> nn.Module:
        return Attentive(outputs, batch_first)

    @plugins.model("self_attentive")
    def self_attentive(input_shape: object, outputs: int, solver: SolverConfig) -> nn.Module:  # noqa: ARG001
        return SelfAttentive(outputs)

    @plugins.model("tied")
    def tied(input_shape: object, outputs: int, solver: SolverConfig) -> nn.Module:  # noqa: ARG001
        return Tied(outputs)

    @plugins.model("counting")
    def counting(input_shape: object, outputs: int, solver: SolverConfig) -> nn.Module:  # noqa: ARG001
        return Counting(outputs)

    yield
    registry.forget(__file__)


def described(name: str, **options: Any) -> Description:
    return describe(NetworkConfig(architecture=name, options=options), SHAPE, CLASSES)


def test_a_recurrent_layer_is_described_and_counted_for_each_step() -> None:
    found = described("rows")
    (recurrent,) = [layer for layer in found.layers if layer.kind == "GRU"]
    assert recurrent.output == (8, 5)
    assert recurrent.multiply_adds == 8 * (3 * 5 * 8 + 3 * 5 * 5)


@pytest.mark.parametrize("batch_first", [True, False])
def test_attention_is_counted_with_its_layers_and_its_products(batch_first: bool) -> None:
    found = described("attentive", batch_first=batch_first)
    (attention,) = [layer for layer in found.layers if layer.kind == "MultiheadAttention"]
    layers_in_and_out = 8 * 8 * (8 + 6 + 6 + 8)
    assert attention.multiply_adds == layers_in_and_out + 2 * 8 * 6 * 8
    assert found.multiply_adds == attention.multiply_adds + 8 * 10


def test_attention_with_a_forward_of_its_own_is_described_and_not_counted() -> None:
    found = described("self_attentive")
    assert [layer.name for layer in found.layers] == ["head"]
    assert found.parameters == 4 * (8 * 8 + 8) + 8 * 10 + 10


@pytest.mark.parametrize("name", ["two_odes", "shared_field"])
def test_each_block_counts_an_evaluation_of_its_field_shared_or_not(name: str) -> None:
    found = described(name)
    assert found.ode_blocks == 2
    assert found.multiply_adds_per_evaluation == 2 * 16 * 16
    assert found.multiply_adds == 64 * 16 + 2 * 16 * 16 + 16 * 10
    assert found.parameters == sum(
        p.numel()
        for p in registry.find("model", name, "classification").build(SHAPE, CLASSES, SolverConfig()).parameters()
    )


def test_every_call_of_a_layer_is_counted_at_all_of_its_places() -> None:
    counts = {layer.name: layer.multiply_adds for layer in described("layers").layers}
    assert counts == {"up": 8 * 64, "of_places": 2 * 256 * 16, "again": 3 * 2 * 16 * 16, "head": 320}


def test_a_block_that_is_solved_twice_in_a_pass_is_refused_with_the_remedy() -> None:
    with pytest.raises(PluginError, match=r"an ODE block is solved 2 times in a forward pass.*a block for each solve"):
        described("twice")


def test_weights_that_layers_share_are_counted_once() -> None:
    found = described("tied")
    assert (found.parameters, found.parameters_outside_linear) == (64 * 64 + 2 * 64 + 65 * 10, 0)


def test_a_network_whose_state_cannot_be_stored_is_refused_before_it_is_trained() -> None:
    with pytest.raises(PluginError, match="its _extra_state is no tensor, and weights are stored as tensors"):
        described("counting")


def test_gates_are_refused_where_a_fields_weights_are_not_ordered_by_outputs() -> None:
    class Up(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.up = nn.ConvTranspose2d(channels, channels, 3, padding=1)

        def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002
            return torch.tanh(self.up(z))

    plugins.field("up")(Up)
    config = NetworkConfig(architecture="up", channels=4, augment=0, time_weights="gate")
    with pytest.raises(Exception, match=r"time_weights is gate.*transposed convolution"):
        describe(config, SHAPE, CLASSES)
    assert describe(NetworkConfig(architecture="up", channels=4, augment=0, time_weights="fourier"), SHAPE, CLASSES)
