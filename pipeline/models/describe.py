"""What a network is made of: layers, sizes, parameters, multiply-adds."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.config import ConfigError, NetworkConfig, SolverConfig
from pipeline.device.out_of_memory import is_out_of_memory
from pipeline.models.build import build_model, named_part
from pipeline.models.layers import ResidualBlock
from pipeline.models.time_weights import Design
from pipeline.ode.counts import ode_blocks
from pipeline.plugins.registry import Part, PluginError
from pipeline.util.errors import OdenetError


@dataclass(frozen=True)
class Layer:
    """One layer with work to do, for one image; `multiply_adds` of a field's layer are those of one evaluation."""

    name: str
    kind: str
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int


@dataclass(frozen=True)
class Description:
    """A network by its numbers."""

    image_shape: tuple[int, int, int]
    classes: int
    layers: tuple[Layer, ...]
    parameters: int
    parameters_outside_linear: int
    multiply_adds_per_evaluation: int | None
    """Of all ODE blocks' fields, each evaluated once; None for a residual network."""
    multiply_adds: int
    """Of one forward pass in which every field is evaluated once."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `odenet describe --json` prints them."""
        return {
            "image_shape": list(self.image_shape),
            "classes": self.classes,
            "parameters": {"total": self.parameters, "outside_linear": self.parameters_outside_linear},
            "multiply_adds": {"per_evaluation": self.multiply_adds_per_evaluation, "total": self.multiply_adds},
            "layers": [asdict(layer) | {"output": list(layer.output)} for layer in self.layers],
        }


NOTHING_TO_NORMALISE = "more than 1 value per channel"
"""In what torch says of it."""


def describe(config: NetworkConfig, image_shape: tuple[int, int, int], classes: int) -> Description:
    """Build the network that `config` describes, send one image through it and count.

    Args:
        image_shape: (channels, height, width) of the preprocessed images.

    Raises:
        ConfigError: values that do not go together.
        PluginError: a plug-in's network or field does not take the image, or gives something of another shape.
    """
    one_evaluation = SolverConfig(method="euler", steps=1)
    with torch.random.fork_rng(devices=()):
        model = build_model(config, one_evaluation, image_shape, classes).eval()
    with _blaming(named_part(config), image_shape):
        outputs = _layer_outputs(model, image_shape, classes)
    outputs |= {name: () for name, module in model.named_modules() if isinstance(module, Design)}
    layers = tuple(_layer(name, module, outputs[name]) for name, module in model.named_modules() if name in outputs)
    in_fields = sum(layer.multiply_adds for layer in layers if ".field." in layer.name)
    parameters = sum(p.numel() for p in model.parameters())
    linear = sum(layer.parameters for layer in layers if layer.kind == "Linear")
    return Description(
        image_shape=image_shape,
        classes=classes,
        layers=layers,
        parameters=parameters,
        parameters_outside_linear=parameters - linear,
        multiply_adds_per_evaluation=in_fields if ode_blocks(model) else None,
        multiply_adds=sum(layer.multiply_adds for layer in layers),
    )


@contextmanager
def _blaming(part: Part, image_shape: tuple[int, int, int]) -> Iterator[None]:
    """An error within is one of a plug-in's part, where the network is of one."""
    try:
        yield
    except Exception as error:
        if isinstance(error, ValueError) and NOTHING_TO_NORMALISE in str(error):
            raise ConfigError(
                "the normalisation has a single value to work on, as maps are 1 × 1 and groups have one channel: use a "
                "smaller model.stride, fewer model.groups or larger images"
            ) from error
        if part.is_shipped or isinstance(error, OdenetError) or is_out_of_memory(error):
            raise
        image = " × ".join(map(str, image_shape))
        raise PluginError(
            f"{part.where}: the {part.kind} {part.name} does not work for an image of {image}: "
            f"{type(error).__name__}: {error}"
        ) from error


def _layer_outputs(model: nn.Module, image_shape: tuple[int, int, int], classes: int) -> dict[str, tuple[int, ...]]:
    """Name -> output shape, without the batch, of every leaf that changes its input.

    Raises:
        ValueError: a field, or the network, gives something of a shape that it must not have.
    """
    outputs: dict[str, tuple[int, ...]] = {}
    hooks = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Identity) or list(module.children()):
            continue

        def note(_module: nn.Module, _inputs: Any, output: Tensor, name: str = name) -> None:
            outputs[name] = tuple(output.shape[1:])

        hooks.append(module.register_forward_hook(note))
    fields = [block.field for block in ode_blocks(model)]
    fields += [part.function for part in model.modules() if isinstance(part, ResidualBlock)]
    hooks += [of_block.register_forward_hook(_check_field) for of_block in fields]
    with torch.no_grad():
        scores = model(torch.zeros(1, *image_shape))
    for hook in hooks:
        hook.remove()
    if _shape(scores) != (1, classes):
        raise ValueError(f"it gives {_shape(scores)} and not (1, {classes}), a score for each class")
    return outputs


def _check_field(_field: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    state = inputs[1]
    if _shape(output) != _shape(state):
        raise ValueError(f"its field gives {_shape(output)} for a state of {_shape(state)}, and both must be the same")


def _shape(value: Any) -> tuple[int, ...] | str:
    return tuple(value.shape) if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _layer(name: str, module: nn.Module, output: tuple[int, ...]) -> Layer:
    parameters = sum(p.numel() for p in module.parameters())
    multiply_adds = 0
    if isinstance(module, nn.Conv2d):
        multiply_adds = module.weight.numel() * output[-2] * output[-1]
    elif isinstance(module, nn.Linear):
        multiply_adds = module.weight.numel()
    return Layer(name, type(module).__name__, output, parameters, multiply_adds)
