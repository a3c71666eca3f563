"""What a run is made of, as frozen dataclasses that refuse what cannot be."""

import difflib
import operator
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from dataclasses import Field, asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pipeline.util.errors import InvalidInput

SMALLEST_TOLERANCE = 1e-15
"""Of a solver: an error below it is lost in the rounding of float64."""


class ConfigError(InvalidInput):
    """A configuration that names an unknown key, has a value of the wrong type, or an impossible value."""


def nearest(name: str, known: Iterable[str]) -> str:
    """' (did you mean …?)' with the known name closest to `name`, or nothing when none is close."""
    matches = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" (did you mean {matches[0]}?)" if matches else ""


def _option(default: Any, **bounds: float) -> Any:
    """A field with bounds: `at_least`, `above`, `at_most`, `below`."""
    return field(default=default, metadata=bounds)


@dataclass(frozen=True)
class Section:
    """One stage's part of the configuration; checks its own values when it is made."""

    section: ClassVar[str]

    def __post_init__(self) -> None:
        hints = get_type_hints(type(self))
        for f in fields(self):
            key, value = f"{self.section}.{f.name}", getattr(self, f.name)
            _check_type(key, value, hints[f.name])
            _check_bounds(key, value, f)


@dataclass(frozen=True)
class DataConfig(Section):
    """Which images, how many, and how they reach the network."""

    section = "data"
    name: str = "digits"
    """A known data set, or the path of an `.npz` (x_train, y_train, x_test, y_test, optional classes)."""
    subset: int | None = _option(None, at_least=1)
    """This many of the training images, stratified; all of them without."""
    validation_fraction: float = _option(0.2, above=0, below=1)
    preprocessing: Literal["plain", "random_crop"] = "plain"
    """`plain`: scaled to [-1, 1]. `random_crop`: Gładzik's, upscaled to 32 and cropped to 28 at random."""


@dataclass(frozen=True)
class ModelConfig(Section):
    """The network: a stem, a body that is an ODE or residual blocks, a head."""

    section = "model"
    architecture: Literal["simple", "complex", "gladzik"] = "simple"
    body: Literal["odenet", "resnet"] = "odenet"
    blocks: int = _option(1, at_least=1)
    channels: int | None = _option(None, at_least=1)
    """Width of the stem. Without it the papers': simple 64 for grey and 256 for colour images, gladzik 64.
    In the complex architecture, width of the first of three stages: 48 for grey, 64 for colour images."""
    augment: int = _option(2, at_least=0)
    """Zero channels that the field sees beside the stem's; a ResNet has as many ordinary channels more.
    In the complex ODE-Net, whose state is the padded image, the zero channels that its field keeps; the complex
    ResNet has none whatever stands here."""
    activation: Literal["relu", "tanh", "softplus"] = "relu"
    activation_before: Literal["none", "relu", "tanh", "softplus"] = "none"
    """Activation between the stem and the first block."""
    normalisation: Literal["group", "batch", "none"] = "group"
    groups: int | None = _option(None, at_least=1)
    """Groups of the group normalisation; without it gladzik's divisor nearest to 32, the others' nearest to 6."""
    stride: int | None = _option(None, at_least=1)
    """Stride of the simple architecture's stem; 2 without it."""
    final_time: float = _option(1.0, above=0)
    """T of the solve over [0, T]."""
    time_channel: bool = False
    """Whether the field's convolutions see t as one more input channel."""


@dataclass(frozen=True)
class SolverConfig(Section):
    """How the ODE is solved and how gradients come back through the solve."""

    section = "solver"
    engine: Literal["odenet", "torchdiffeq"] = "odenet"
    """`odenet`: the integrator of `pipeline.ode`. `torchdiffeq`: the library, as a reference."""
    method: Literal["euler", "midpoint", "rk4", "heun", "bosh3", "dopri5", "tsit5", "dopri8"] = "dopri5"
    steps: int = _option(1, at_least=1)
    """Equal steps over [0, T], for the fixed-step methods euler, midpoint and rk4."""
    rtol: float = _option(1e-3, at_least=SMALLEST_TOLERANCE)
    atol: float = _option(1e-3, at_least=SMALLEST_TOLERANCE)
    controller: Literal["i", "pi"] = "i"
    """What the next step's size is chosen by: the last error estimate, or the last two."""
    control: Literal["batch", "sample"] = "batch"
    """`batch`: one step size for a whole batch, from the error of all its samples. `sample`: every sample has its own,
    so that its solution does not depend on its batch; adaptive methods of our own engine alone, gradients as
    `checkpointed`."""
    reuse_first_step: bool = False
    """Begin with the step size that the last training batch would have begun with, not with an estimate; it is state
    of the training, and no evaluation uses it."""
    max_steps: int = _option(1000, at_least=1)
    """Attempted steps, accepted or not, after which an adaptive solve is given up."""
    gradient: Literal["auto", "direct", "checkpointed", "adjoint"] = "auto"
    """`direct` differentiates the solver's own steps; `checkpointed` does so with the memory of one of them, and
    evaluates them twice; `auto` is `direct` as long as memory lasts. `adjoint` solves the adjoint ODE backwards."""
    adjoint_rtol: float | None = _option(None, at_least=SMALLEST_TOLERANCE)
    """Of the adjoint ODE; `rtol` without it."""
    adjoint_atol: float | None = _option(None, at_least=SMALLEST_TOLERANCE)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.control == "sample":
            self._refuse(
                ("engine", ("torchdiffeq",), "odenet"),
                ("method", ("euler", "midpoint", "rk4"), "an adaptive method such as dopri5"),
                ("gradient", ("direct", "adjoint"), "auto or checkpointed"),
                ("reuse_first_step", (True,), "False"),
                reason="solver.control=sample does not go with",
                instead="solver.control=batch",
            )
        if self.engine == "torchdiffeq":
            self._refuse(
                ("method", ("tsit5",), "dopri5"),
                ("gradient", ("checkpointed",), "direct or adjoint"),
                ("controller", ("pi",), "i"),
                ("reuse_first_step", (True,), "False"),
                reason="torchdiffeq does not have",
                instead="solver.engine=odenet",
            )

    def _refuse(self, *choices: tuple[str, tuple[object, ...], str], reason: str, instead: str) -> None:
        """Of each key the values that cannot be here, and what to use for them."""
        for key, refused, others in choices:
            value = getattr(self, key)
            if value in refused:
                raise ConfigError(f"solver.{key} is {value}, which {reason}: use {others}, or {instead}")

    @property
    def can_be_compiled(self) -> bool:
        """Whether its steps are functions of tensors of one shape, as compiling asks for."""
        return self.engine == "odenet" and self.control == "batch" and self.gradient != "adjoint"


@dataclass(frozen=True)
class TrainingConfig(Section):
    """The optimisation, and when it ends."""

    section = "training"
    max_epochs: int = _option(50, at_least=1)
    batch_size: int = _option(128, at_least=1)
    optimiser: Literal["sgd", "adam", "adamw", "rmsprop"] = "adam"
    lr: float = _option(1e-3, above=0)
    momentum: float = _option(0.9, at_least=0, below=1)
    """For sgd alone."""
    weight_decay: float = _option(0.0, at_least=0)
    schedule: Literal["constant", "step", "cosine"] = "constant"
    """`step` divides the rate by 10 after every 0.3 × max_epochs."""
    patience: int | None = _option(5, at_least=1)
    """Epochs without a lower validation loss after which training stops; without it, never."""
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    deterministic: bool = False
    """Ask torch for deterministic kernels, so that a GPU repeats itself to the bit; slower there."""
    compile: Literal["auto", True, False] = "auto"
    """Whether whole training batches are computed by compiled functions: the solver's steps, the residual blocks, what
    is before and after them. `auto`: where a run is long enough to earn it back."""


@dataclass(frozen=True)
class EvaluationConfig(Section):
    """The scoring on the test split."""

    section = "evaluation"
    batch_size: int = _option(256, at_least=1)


@dataclass(frozen=True)
class Config:
    """The whole configuration of a run."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    solver: SolverConfig = field(default_factory=SolverConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    seed: int = 0

    def __post_init__(self) -> None:
        _check_type("seed", self.seed, int)
        if not 0 <= self.seed < 2**32:  # what NumPy accepts, which Sacred seeds
            raise ConfigError(f"seed must be at least 0 and below 2**32, not {self.seed}")
        if (self.solver.control, self.model.normalisation, self.model.body) == ("sample", "batch", "odenet"):
            raise ConfigError(
                "model.normalisation is batch, which solver.control=sample cannot train, as it takes the batch apart: "
                "use model.normalisation=group or none, or solver.control=batch"
            )
        if self.training.compile is True and self.model.body == "odenet" and not self.solver.can_be_compiled:
            raise ConfigError(
                "training.compile is True, but only the steps of solver.engine=odenet with solver.control=batch and "
                "another solver.gradient than adjoint can be compiled: change those, or use training.compile=auto"
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dictionaries, as they are stored."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Config":
        """The configuration that `values` describes; what is missing keeps its default.

        Raises:
            ConfigError: an unknown key at any depth, a wrong type or an impossible value, named.
        """
        known = {f.name for f in fields(cls)}
        for key in values:
            if key not in known:
                raise ConfigError(f"unknown key {key}{_nearest_key(key)}")
        return cls(
            data=_parse_section(DataConfig, values),
            model=_parse_section(ModelConfig, values),
            solver=_parse_section(SolverConfig, values),
            training=_parse_section(TrainingConfig, values),
            evaluation=_parse_section(EvaluationConfig, values),
            seed=values.get("seed", cls.seed),
        )


SECTIONS: tuple[type[Section], ...] = (
    DataConfig,
    ModelConfig,
    SolverConfig,
    TrainingConfig,
    EvaluationConfig,
)
S = TypeVar("S", bound=Section)


def _all_keys() -> list[str]:
    return [f"{s.section}.{f.name}" for s in SECTIONS for f in fields(s)] + ["seed"]


def _nearest_key(key: str) -> str:
    """As `nearest`, where the section may be missing or another's: lr is training.lr, and so is model.lr."""
    section, _, name = key.rpartition(".")
    known = [*_all_keys(), *(s.section for s in SECTIONS)]
    same_name = [k for k in known if k.rpartition(".")[2] == name]
    same_section = [k for k in known if k.rpartition(".")[0] == section]
    for candidates in (same_name, same_section, known):
        full_names = {k.rpartition(".")[2]: k for k in candidates}
        matches = difflib.get_close_matches(name, full_names, n=1, cutoff=0.5)
        if matches:
            return f" (did you mean {full_names[matches[0]]}?)"
    return ""


def _parse_section(section: type[S], config: Mapping[str, Any]) -> S:
    values = config.get(section.section, {})
    if not isinstance(values, Mapping):
        raise ConfigError(f"{section.section} is a section with keys of its own, not {values!r}")
    known = {f.name for f in fields(section)}
    for name in values:
        if name not in known:
            key = f"{section.section}.{name}"
            raise ConfigError(f"unknown key {key}{_nearest_key(key)}")
    return section(**values)


_TYPE_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "True or False"}


def _check_type(key: str, value: Any, expected: Any) -> None:
    alternatives = get_args(expected) if get_origin(expected) in (Union, types.UnionType) else (expected,)
    if value is None and type(None) in alternatives:
        return
    wanted = next(t for t in alternatives if t is not type(None))
    if get_origin(wanted) is Literal:
        choices = get_args(wanted)
        if not any(type(value) is type(choice) and value == choice for choice in choices):  # 1 is not True
            words = [str(choice) for choice in choices]
            raise ConfigError(f"{key} must be one of {', '.join(words)}, not {value!r}{nearest(str(value), words)}")
        return
    if wanted is float:
        fits = isinstance(value, int | float) and abs(value) <= sys.float_info.max  # neither inf nor nan
    else:
        fits = isinstance(value, wanted)
    if not fits or (isinstance(value, bool) and wanted is not bool):
        or_none = " or None" if type(None) in alternatives else ""
        raise ConfigError(f"{key} must be {_TYPE_WORDS[wanted]}{or_none}, not {value!r}")
    if wanted is int and abs(value) >= 2**63:  # what a MongoDB document can hold
        raise ConfigError(f"{key} must be below 2**63, not {value}")


_BOUNDS: dict[str, Callable[[Any, float], bool]] = {
    "at_least": operator.ge,
    "above": operator.gt,
    "at_most": operator.le,
    "below": operator.lt,
}


def _check_bounds(key: str, value: Any, f: "Field[Any]") -> None:
    if value is None:
        return
    for name, bound in f.metadata.items():
        if not _BOUNDS[name](value, bound):
            raise ConfigError(f"{key} must be {name.replace('_', ' ')} {bound}, not {value}")
