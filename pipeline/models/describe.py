"""What a network is made of: layers, sizes, parameters, multiply-adds."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from dataclasses import field as dataclass_field
from functools import partial
from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

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
    ode_blocks: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `odenet describe --json` prints them."""
        return {
            "image_shape": list(self.image_shape),
            "classes": self.classes,
            "parameters": {"total": self.parameters, "outside_linear": self.parameters_outside_linear},
            "multiply_adds": {"per_evaluation": self.multiply_adds_per_evaluation, "total": self.multiply_adds},
            "ode_blocks": self.ode_blocks,
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
    seen = _Seen()
    with _blaming(named_part(config), image_shape, seen):
        _send_an_image(model, image_shape, classes, seen)
        _refuse_extra_state(model)
    seen.outputs.update({name: () for name, module in model.named_modules() if isinstance(module, Design)})
    in_field = {id(part): id(field) for field in seen.evaluations_of for part in field.modules()}
    calls = {id(field): calls for field, calls in seen.evaluations_of.items()}
    layers, outside, of_field = [], 0, Counter[int]()
    for name, module in model.named_modules():
        if name not in seen.outputs:
            continue
        field = in_field.get(id(module))
        multiply_adds = seen.multiply_adds[name] // (1 if field is None else calls[field])
        layers.append(_layer(name, module, seen.outputs[name], multiply_adds))
        if field is None:
            outside += multiply_adds
        else:
            of_field[field] += multiply_adds
    in_fields = sum(of_field[id(block.field)] for block in ode_blocks(model))  # which may share one
    parameters = sum(p.numel() for p in model.parameters())
    linear = [model.get_submodule(layer.name) for layer in layers if layer.kind == "Linear"]
    return Description(
        image_shape=image_shape,
        classes=classes,
        layers=tuple(layers),
        parameters=parameters,
        parameters_outside_linear=parameters - sum(p.numel() for p in nn.ModuleList(linear).parameters()),
        multiply_adds_per_evaluation=in_fields if ode_blocks(model) else None,
        multiply_adds=outside + in_fields,
        ode_blocks=len(ode_blocks(model)),
    )


@contextmanager
def _blaming(part: Part, image_shape: tuple[int, int, int], seen: "_Seen") -> Iterator[None]:
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
        if part.kind == "field" and seen.state is not None:
            image += f", a state of {seen.state} by model.channels and model.augment"
        raise PluginError(
            f"{part.where}: the {part.kind} {part.name} does not work for an image of {image}: "
            f"{type(error).__name__}: {error}"
        ) from error


@dataclass
class _Seen:
    """What an image that was sent through a network came by.

    Attributes:
        outputs: name -> output shape, without the batch, of every leaf that changes its input, and of attention.
        multiply_adds: name -> of all calls of the leaf.
        evaluations_of: field of an ODE block -> how often it was called.
        solves: ODE block -> how often it was called.
        state: shape of what a field was given last.
    """

    outputs: dict[str, tuple[int, ...]] = dataclass_field(default_factory=dict)
    multiply_adds: Counter[str] = dataclass_field(default_factory=Counter)
    evaluations_of: Counter[nn.Module] = dataclass_field(default_factory=Counter)
    solves: Counter[nn.Module] = dataclass_field(default_factory=Counter)
    state: tuple[int, ...] | str | None = None

    def watch(self, model: nn.Module) -> Iterator[RemovableHandle]:
        for name, module in model.named_modules():
            is_leaf = not isinstance(module, nn.Identity) and not list(module.children())
            if is_leaf or _is_attention(module):  # which does not call the layer that it has
                yield module.register_forward_hook(partial(self._note, name), with_kwargs=True)
        for field in {id(block.field): block.field for block in ode_blocks(model)}.values():
            yield field.register_forward_hook(self._note_evaluation)
        for block in ode_blocks(model):
            if isinstance(block, nn.Module):
                yield block.register_forward_hook(self._note_solve)

    def _note(self, name: str, module: nn.Module, inputs: Any, named: Mapping[str, Any], output: Any) -> None:
        given, found = _first_tensor((*inputs, named)), _first_tensor(output)
        self.outputs[name] = () if found is None else tuple(found.shape[1:])
        if _is_attention(module):
            self.multiply_adds[name] += _of_attention(module, *inputs, **named)
        elif given is not None and found is not None:
            self.multiply_adds[name] += _multiply_adds(module, given, found)

    def _note_evaluation(self, field: nn.Module, _inputs: Any, _output: Any) -> None:
        self.evaluations_of[field] += 1

    def note_state(self, _field: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.state = _shape(inputs[1])

    def _note_solve(self, block: nn.Module, _inputs: Any, _output: Any) -> None:
        self.solves[block] += 1


def _send_an_image(model: nn.Module, image_shape: tuple[int, int, int], classes: int, seen: _Seen) -> None:
    """Send an image of zeros through the network, and note what it comes by.

    Raises:
        ValueError: a field, or the network, gives something of a shape that it must not have, or an ODE block is solved
            more than once.
    """
    hooks = list(seen.watch(model))
    fields = [block.field for block in ode_blocks(model)]
    fields += [part.function for part in model.modules() if isinstance(part, ResidualBlock)]
    hooks += [of_block.register_forward_hook(_check_field) for of_block in fields]
    hooks += [of_block.register_forward_pre_hook(seen.note_state) for of_block in fields]
    where = next((parameter.device for parameter in model.parameters()), None)  # a module of one's own may be on a GPU
    with torch.no_grad():
        scores = model(torch.zeros(1, *image_shape, device=where))
    for hook in hooks:
        hook.remove()
    if _shape(scores) != (1, classes):
        raise ValueError(f"it gives {_shape(scores)} and not (1, {classes}), a score for each class")
    if (solves := max(seen.solves.values(), default=1)) > 1:
        raise ValueError(
            f"an ODE block is solved {solves} times in a forward pass, of which the last alone would be counted: use a "
            "block for each solve, which may share their field"
        )


def _refuse_extra_state(model: nn.Module) -> None:
    """Raises ValueError: what is to be kept of the network is more than tensors, which alone are stored."""
    others = [name for name, value in model.state_dict().items() if not isinstance(value, Tensor)]
    if others:
        raise ValueError(f"its {others[0]} is no tensor, and weights are stored as tensors: make it a buffer")


def _check_field(_field: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    state = inputs[1]
    if _shape(output) != _shape(state):
        raise ValueError(f"its field gives {_shape(output)} for a state of {_shape(state)}, and both must be the same")


def _shape(value: Any) -> tuple[int, ...] | str:
    return tuple(value.shape) if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _first_tensor(value: Any) -> Tensor | None:
    """The first tensor in what a module is given or gives, as the outputs of a recurrent layer are a tuple."""
    match value:
        case Tensor():
            return value
        case Mapping():
            return _first_tensor(tuple(value.values()))
        case tuple() | list():
            return next((found for one in value if (found := _first_tensor(one)) is not None), None)
    return None


def _multiply_adds(module: nn.Module, given: Tensor, output: Tensor) -> int:
    """Of one call with one image: of convolutions, linear and recurrent layers; of all others none are counted."""
    match module:
        case nn.ConvTranspose1d() | nn.ConvTranspose2d() | nn.ConvTranspose3d():
            return module.weight.numel() * (given.numel() // module.in_channels)
        case nn.Conv1d() | nn.Conv2d() | nn.Conv3d():
            return module.weight.numel() * (output.numel() // module.out_channels)
        case nn.Linear():
            return module.weight.numel() * (output.numel() // module.out_features)
        case nn.RNNBase() | nn.RNNCellBase():
            weights = sum(p.numel() for name, p in module.named_parameters() if name.startswith("weight"))
            return weights * (output.numel() // output.shape[-1])
    return 0


def _is_attention(module: nn.Module) -> TypeGuard[nn.MultiheadAttention]:
    """Whether it is given what torch's own attention is: what a `forward` of its own is given says nothing of it."""
    return isinstance(module, nn.MultiheadAttention) and type(module).forward is nn.MultiheadAttention.forward


def _of_attention(module: nn.MultiheadAttention, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> int:
    """Of one call: of what goes in and comes out, and of the products of queries with keys, of weights with values."""
    keys = key.shape[-2] if module.batch_first or key.dim() == 2 else key.shape[0]
    layers: int = module.embed_dim * (2 * query.numel() + key.numel() + value.numel())
    return layers + 2 * query.numel() * keys


def _layer(name: str, module: nn.Module, output: tuple[int, ...], multiply_adds: int) -> Layer:
    parameters = sum(p.numel() for p in module.parameters())
    return Layer(name, type(module).__name__, output, parameters, multiply_adds)
