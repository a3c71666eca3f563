"""The sections that every experiment has: data, model, solver, training and evaluation; and those of images."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from pipeline.config.section import ConfigError, Section, check_type, complete_options, completed, nearest, option
from pipeline.methods import FIXED_STEP_METHODS, METHODS, TABLEAUS
from pipeline.methods.tableau import Symplectic
from pipeline.plugins import registry
from pipeline.util.errors import brief

LARGEST_NUMBER = 1e30
"""Of what float32 computes with: the squares of larger ones overflow."""
SMALLEST_TOLERANCE = 1e-15
"""Of a solver: an error below it is lost in the rounding of float64."""
# Parts without options, known here so that checking a configuration does not import torch.
SHARED_SETTINGS = ("simple", "complex", "gladzik")
"""The architectures that have the settings of `NetworkConfig` instead of options."""
IN_TORCHDIFFEQ = ("euler", "midpoint", "rk4", "heun", "bosh3", "dopri5", "dopri8")
"""The methods that torchdiffeq has."""
TimeWeights = Literal[
    "none",
    "channel",
    "gate",
    "film",
    "low_rank",
    "linear",
    "fourier",
    "chebyshev",
    "piecewise",
    "hypernetwork",
]
"""How weights depend on time: see `pipeline.models.time_weights`."""
WITH_TIME_TERMS = ("film", "low_rank", "fourier", "chebyshev", "piecewise", "hypernetwork")
"""Those of them that have `time_terms`."""
OPTIMISERS = ("adam", "adamw", "rmsprop", "sgd")
ONE_CYCLE = "one_cycle"
SCHEDULES = ("constant", "cosine", ONE_CYCLE, "step")


def _options() -> Any:
    return field(default_factory=dict)


@dataclass(frozen=True)
class DataConfig(Section):
    """Which data, and how many."""

    section = "data"
    name: str = "digits"
    """A known data set, one of a plug-in, or the path of a file."""
    subset: int | None = option(None, at_least=1)
    """This many of the training items, of images stratified; all of them without."""
    validation_fraction: float = option(0.2, above=0, below=1)
    """The share of the training items that is held out, to choose the best epoch and to stop by."""
    options: Mapping[str, Any] = _options()
    """What a plug-in's data set takes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        complete_options(self, "options", self._options_of_data_set())

    def of(self, name: str) -> Self:
        """All of another data set, with its own options, reached as this one is; itself where it is of that one."""
        return self if name == self.name else replace(self, name=name, options={}, subset=None)

    def _options_of_data_set(self) -> tuple[registry.Option, ...]:
        """Those of a plug-in's; what comes along has none."""
        parts = [part for part in registry.registered("data set") if part.name == self.name and part.is_of(self.task)]
        return parts[0].options if parts else ()


@dataclass(frozen=True)
class ImageConfig(DataConfig):
    """Which images, how many, and how they reach the network."""

    task = "classification"
    name: str = "digits"
    """A known data set, one of a plug-in, or the path of images of your own: an `.npz`, a folder with a folder for each
    class, or a `.parquet` in a hub's layout."""
    image_size: int | None = option(None, at_least=1, at_most=10_000)
    """Pixels across that the images of a folder or a `.parquet` are resized to; without it they must be of one size."""
    test_fraction: float = option(0.2, above=0, below=1)
    """The share of your own images that is held out as the test split, the same for every seed, where there is none."""
    preprocessing: Literal["plain", "random_crop"] = "plain"
    """`plain`: scaled to [-1, 1]. `random_crop`: Gładzik's, upscaled to 32 and cropped to 28 at random."""
    flip: bool = False
    """Mirror each training image, left to right, with probability 1/2."""
    crop_padding: int = option(0, at_least=0, at_most=10_000)
    """Black pixels around each training image, of which a window as large as the image is taken at random."""
    cutout: int = option(0, at_least=0, at_most=10_000)
    """Side of a grey square at a random place of each training image; it may reach over the edge."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.crop_padding and self.preprocessing == "random_crop":
            raise ConfigError(
                f"data.crop_padding is {self.crop_padding}, but data.preprocessing=random_crop crops by itself: leave "
                "one of them out"
            )


@dataclass(frozen=True)
class ModelConfig(Section):
    """Which model."""

    section = "model"
    architecture: str = "simple"
    """simple, complex or gladzik, as in the papers; or a model or field of a plug-in."""
    options: Mapping[str, Any] = _options()
    """What a plug-in's model or field takes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._choose_part("architecture", "options", ("model", "field"), SHARED_SETTINGS)


@dataclass(frozen=True)
class NetworkConfig(ModelConfig):
    """The network: a stem, a body that is an ODE or residual blocks, a head."""

    task = "classification"
    body: Literal["odenet", "resnet"] = "odenet"
    """ODE blocks, or residual blocks of the same functions."""
    blocks: int = option(1, at_least=1, at_most=1000)
    """How many of them, one after the other."""
    channels: int | None = option(None, at_least=1)
    """Width of the stem. Without it the papers': simple 64 for grey and 256 for colour images, gladzik 64.
    In the complex architecture, width of the first of three stages: 48 for grey, 64 for colour images."""
    augment: int = option(2, at_least=0)
    """Zero channels that the field sees beside the stem's; a ResNet has as many ordinary channels more.
    In the complex ODE-Net, whose state is the padded image, the zero channels that its field keeps; the complex
    ResNet has none whatever stands here."""
    activation: Literal["relu", "tanh", "softplus"] = "relu"
    """Inside a block."""
    activation_before: Literal["none", "relu", "tanh", "softplus"] = "none"
    """Activation between the stem and the first block."""
    normalisation: Literal["group", "batch", "none"] = "group"
    """Inside a block."""
    groups: int | None = option(None, at_least=1)
    """Groups of the group normalisation; without it gladzik's divisor nearest to 32, the others' nearest to 6."""
    stride: int | None = option(None, at_least=1)
    """Stride of the simple architecture's stem; 2 without it."""
    final_time: float = option(1.0, above=0, at_most=LARGEST_NUMBER)
    """T of the solve over [0, T]."""
    time_weights: TimeWeights = "none"
    """How the field's weights depend on t. channel: its convolutions see t as one more input. gate, film: by factors
    and shifts of the convolutions, or of the normalisations. low_rank, linear, fourier, chebyshev, piecewise,
    hypernetwork: by what is added to the weights."""
    dropout: float = option(0.0, at_least=0, below=1)
    """Share of the features that training leaves out before the last linear layer; inside blocks there is none."""
    time_terms: int | None = option(None, at_least=1, at_most=1000)
    """Of fourier and chebyshev the terms, the constant one included, of piecewise the intervals, 3 without it; of
    low_rank the rank, 8; of hypernetwork and film the hidden units, 8 and 16."""


@dataclass(frozen=True)
class SolverConfig(Section):
    """How the ODE is solved and how gradients come back through the solve."""

    section = "solver"
    engine: Literal["odenet", "torchdiffeq"] = "odenet"
    """`odenet`: the integrator of `pipeline.ode`. `torchdiffeq`: the library, as a reference."""
    method: str = option("dopri5", one_of=METHODS)
    """The method: adaptive, or with equal steps."""
    steps: int = option(1, at_least=1, at_most=1_000_000)
    """Equal steps over [0, T], for the fixed-step methods euler, midpoint, rk4 and leapfrog."""
    rtol: float = option(1e-3, at_least=SMALLEST_TOLERANCE)
    """Relative tolerance of an adaptive method."""
    atol: float = option(1e-3, at_least=SMALLEST_TOLERANCE)
    """Absolute tolerance of an adaptive method."""
    controller: Literal["i", "pi"] = "i"
    """What the next step's size is chosen by: the last error estimate, or the last two."""
    control: Literal["batch", "sample"] = "batch"
    """`batch`: one step size for a whole batch, from the error of all its samples. `sample`: every sample has its own,
    so that its solution does not depend on its batch; adaptive methods of our own engine alone, gradients as
    `checkpointed`."""
    reuse_first_step: bool = False
    """Begin with the step size that the last training batch would have begun with, not with an estimate; it is state
    of the training, and no evaluation uses it."""
    max_steps: int = option(1000, at_least=1)
    """Attempted steps, accepted or not, after which an adaptive solve is given up."""
    gradient: Literal["auto", "direct", "checkpointed", "recursive", "adjoint"] = "auto"
    """`direct` differentiates the solver's own steps; `checkpointed` does so with the memory of one of them, and
    evaluates them twice, `recursive` with that of a few states; `auto` keeps what fits into memory. `adjoint` solves
    the adjoint ODE backwards."""
    adjoint_rtol: float | None = option(None, at_least=SMALLEST_TOLERANCE)
    """Of the adjoint ODE; `rtol` without it."""
    adjoint_atol: float | None = option(None, at_least=SMALLEST_TOLERANCE)
    """Of the adjoint ODE; `atol` without it."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.control == "sample":
            self._refuse(
                ("engine", ("torchdiffeq",), "odenet"),
                ("method", FIXED_STEP_METHODS, "an adaptive method such as dopri5"),
                ("gradient", ("direct", "recursive", "adjoint"), "auto or checkpointed"),
                ("reuse_first_step", (True,), "False"),
                reason="solver.control=sample does not go with",
                instead="solver.control=batch",
            )
        if self.engine == "torchdiffeq":
            self._refuse(
                ("method", METHODS.keys() - IN_TORCHDIFFEQ, "dopri5"),
                ("gradient", ("checkpointed", "recursive"), "direct or adjoint"),
                ("controller", ("pi",), "i"),
                ("reuse_first_step", (True,), "False"),
                reason="torchdiffeq does not have",
                instead="solver.engine=odenet",
            )

    def _refuse(self, *choices: tuple[str, Collection[object], str], reason: str, instead: str) -> None:
        """Of each key the values that cannot be here, and what to use for them."""
        for key, refused, others in choices:
            value = getattr(self, key)
            if value in refused:
                raise ConfigError(f"solver.{key} is {value}, which {reason}: use {others}, or {instead}")

    @property
    def can_be_compiled(self) -> bool:
        """Whether its steps are functions of tensors of one shape, as compiling asks for."""
        is_of_tensors = self.engine == "odenet" and self.method in TABLEAUS
        return is_of_tensors and self.control == "batch" and self.gradient != "adjoint"


@dataclass(frozen=True)
class TrainingConfig(Section):
    """The optimisation, and when it ends."""

    section = "training"
    max_epochs: int = option(50, at_least=1)
    """Epochs after which training stops at the latest."""
    batch_size: int = option(128, at_least=1)
    """Items of a training batch; the last one has what remains."""
    micro_batch_size: int | None = option(None, at_least=1)
    """Items that are computed at once, where memory does not hold a batch: the gradients of its parts are added up to
    one step. Loss, gradients and evaluations are those of the whole batch, up to rounding; so the items may share
    neither the steps of an adaptive method nor batch normalisation. Without it, the whole batch."""
    optimiser: str = "adam"
    """sgd, adam, adamw, rmsprop, or one of a plug-in."""
    optimiser_options: Mapping[str, Any] = _options()
    """What a plug-in's optimiser takes."""
    lr: float = option(1e-3, above=0, at_most=LARGEST_NUMBER)
    """Learning rate, at the beginning; with `one_cycle` the highest."""
    momentum: float = option(0.9, at_least=0, below=1)
    """For sgd alone."""
    weight_decay: float = option(0.0, at_least=0, at_most=LARGEST_NUMBER)
    """As the optimiser takes it."""
    schedule: str = "constant"
    """constant, step, cosine, one_cycle, or one of a plug-in; `step` divides the rate by 10 after every 0.3 ×
    max_epochs, `one_cycle` takes it up from a 25th and down again, step by step."""
    schedule_options: Mapping[str, Any] = _options()
    """What a plug-in's schedule takes."""
    warmup_epochs: float = option(0.0, at_least=0, at_most=1_000_000)
    """Epochs over which the learning rate rises evenly, step by step, to that of the schedule."""
    clip_norm: float | None = option(None, above=0, at_most=LARGEST_NUMBER)
    """Norm of all gradients together that longer ones are shortened to; none are without it."""
    ema_decay: float | None = option(None, above=0, below=1)
    """Of an exponential moving average of the weights, which is validated, tested and kept in the place of the weights
    themselves; in the first n steps at most (1 + n) / (10 + n)."""
    patience: int | None = option(5, at_least=1)
    """Epochs without a lower validation loss after which training stops; without it, never."""
    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    """tf32 rounds the inputs of products on a GPU; bf16 runs convolutions and linear layers in bfloat16."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto`: a GPU where torch finds one."""
    deterministic: bool = False
    """Ask torch for deterministic kernels, so that a GPU repeats itself to the bit; slower there."""
    compile: Literal["auto", True, False] = "auto"
    """Whether whole training batches are computed by compiled functions: the solver's steps, the residual blocks, what
    is before and after them. `auto`: where a run is long enough to earn it back."""
    cuda_graphs: bool = False
    """Launch the parts of a solver's steps, and of their gradients, by one call each, for networks whose kernels a GPU
    runs faster than Python launches them. Steps are then computed once more in the backward pass; what they take of a
    GPU's memory stays taken while the training lasts. Not measured yet."""

    callbacks: str | None = None
    """Callbacks of plug-ins, their names with commas between them; they hear of the training in this order."""
    callback_options: Mapping[str, Any] = _options()
    """Name of a callback -> what it takes."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.micro_batch_size is not None and self.micro_batch_size > self.batch_size:
            raise ConfigError(
                f"training.micro_batch_size is {self.micro_batch_size}, but a batch has "
                f"training.batch_size={self.batch_size} items, of which it is a part: use a smaller one, or none"
            )
        self._choose_part("optimiser", "optimiser_options", ("optimiser",), OPTIMISERS)
        self._choose_part("schedule", "schedule_options", ("schedule",), SCHEDULES)
        if self.schedule == ONE_CYCLE and self.warmup_epochs:
            raise ConfigError(
                f"training.warmup_epochs is {self.warmup_epochs:g}, but training.schedule=one_cycle rises by itself: "
                "leave one of them out"
            )
        self._choose_callbacks()

    @property
    def callback_names(self) -> list[str]:
        """Of the callbacks, in their order."""
        return [name.strip() for name in (self.callbacks or "").split(",") if name.strip()]

    def _choose_callbacks(self) -> None:
        """Check the callbacks' names, and complete their options."""
        chosen, known, given = self.callback_names, registry.names("callback"), self.callback_options
        for number, name in enumerate(chosen):
            if name not in known:
                there = f"there are {', '.join(known)}" if known else "no plug-in has any"
                raise ConfigError(f"there is no callback {brief(name)}{nearest(name, known)}; {there}")
            if name in chosen[:number]:
                raise ConfigError(f"training.callbacks names {name} twice: name each callback once")
        for name, options in given.items():
            check_type(f"training.callback_options.{name}", options, Mapping)
            if name not in chosen and options:
                raise ConfigError(
                    f"training.callback_options has options of {brief(name)}{nearest(str(name), chosen)}, which "
                    f"training.callbacks does not name"
                )
        options_of = {
            name: completed(
                f"training.callback_options.{name}", given.get(name, {}), registry.find("callback", name).options
            )
            for name in chosen
        }
        object.__setattr__(self, "callback_options", {name: options for name, options in options_of.items() if options})


@dataclass(frozen=True)
class ImageTrainingConfig(TrainingConfig):
    """The optimisation, and when it ends."""

    label_smoothing: float = option(0.0, at_least=0, below=1)
    """Share of each label that is spread over all classes in what training minimises; losses are recorded without."""


@dataclass(frozen=True)
class RegularisationConfig(Section):
    """What is done in training so that the learnt ODE is easy to solve; of a model without ODE blocks nothing.

    Each weight is that of a penalty, which is added to the loss of training batches: an integral along the solution,
    mean over the items, summed over the ODE blocks. The integrals do not count in the solver's error.
    """

    section = "regularisation"
    kinetic: float = option(0.0, at_least=0, at_most=LARGEST_NUMBER)
    """Weight of ∫ |f|² dt, the kinetic energy (Finlay et al. 2020)."""
    jacobian: float = option(0.0, at_least=0, at_most=LARGEST_NUMBER)
    """Weight of ∫ |eᵀ ∂f/∂z|² dt, an estimate of the Jacobian's squared Frobenius norm, with a random vector e of signs
    for each item and solve (Finlay et al. 2020)."""
    curvature: float = option(0.0, at_least=0, at_most=LARGEST_NUMBER)
    """Weight of ∫ |d²z/dt²|² dt, the second derivative along the solution (Kelly et al. 2020, K = 2)."""
    end_time_spread: float = option(0.0, at_least=0, at_most=LARGEST_NUMBER)
    """In training each solve ends at a time drawn uniformly from final_time ± this (Ghosh et al. 2020)."""

    @property
    def weights(self) -> dict[str, float]:
        """Name -> weight of the penalties that count."""
        named = {name: getattr(self, name) for name in ("kinetic", "jacobian", "curvature")}
        return {name: weight for name, weight in named.items() if weight > 0}

    @property
    def differentiates(self) -> bool:
        """Whether a penalty is made of the field's derivatives."""
        return self.jacobian > 0 or self.curvature > 0

    def refuse_unless_below(self, final_time: float) -> None:
        """Refuse a spread that may leave nothing to solve.

        Raises:
            ConfigError: it is not below `final_time`.
        """
        if self.end_time_spread >= final_time:
            raise ConfigError(
                f"regularisation.end_time_spread is {self.end_time_spread:g}, which must be below model.final_time="
                f"{final_time:g}: a solve must not end where it begins"
            )


@dataclass(frozen=True)
class EvaluationConfig(Section):
    """The scoring on the test split."""

    section = "evaluation"
    batch_size: int = option(256, at_least=1)
    """Items of a batch of the test split."""
    subset: int | None = option(None, at_least=1)
    """This many of the test items, the same for every seed, of images stratified; all of them without."""


def refuse_unsolvable_states(model: ModelConfig, solver: SolverConfig) -> None:
    """Refuse a method for pairs of positions and momenta, which only a plug-in's model can make of its state.

    Raises:
        ConfigError: the model is another one.
    """
    of_plugins = (part.name for part in registry.registered("model"))
    if isinstance(METHODS[solver.method], Symplectic) and model.architecture not in of_plugins:
        raise ConfigError(
            f"solver.method is {solver.method}, which solves for positions and momenta, and the state of "
            f"model.architecture={brief(model.architecture)} is one: use another method, as dopri5 or rk4"
        )


def refuse_unsolvable_time_weights(time_weights: str, solver: SolverConfig) -> None:
    """Refuse weights of t that the solver cannot give a field.

    Raises:
        ConfigError: they are one for a batch, or jump at knots, and its steps are not.
    """
    if solver.control == "sample" and time_weights not in ("none", "channel"):
        raise ConfigError(
            f"model.time_weights is {time_weights}, whose weights are one for a batch, and solver.control=sample has a "
            "time for each sample: use solver.control=batch, or model.time_weights=channel"
        )
    if solver.engine == "torchdiffeq" and time_weights == "piecewise":
        raise ConfigError(
            "model.time_weights is piecewise, whose steps must end where the weights jump, which "
            "solver.engine=torchdiffeq does not see to: use solver.engine=odenet"
        )
