"""The configuration of a density."""

from dataclasses import dataclass, field, replace
from typing import Literal

from pipeline.config import (
    Config,
    ConfigError,
    DataConfig,
    EvaluationConfig,
    ModelConfig,
    RegularisationConfig,
    Section,
    SolverConfig,
    TrainingConfig,
    option,
)
from pipeline.config.sections import LARGEST_NUMBER, SMALLEST_TOLERANCE, refuse_unsolvable_states
from pipeline.methods import METHODS

CNF, PLANAR_NF, SPLINE_NF, GAUSSIAN = "cnf", "planar_nf", "spline_nf", "gaussian"
MODELS = (CNF, PLANAR_NF, SPLINE_NF, GAUSSIAN)
DENSITY = "density"


@dataclass(frozen=True)
class DensityData(DataConfig):
    """What the density is learnt from, and how its numbers reach the flow."""

    task = DENSITY
    name: str = "two_moons"
    """A known data set, one of a plug-in, or the path of a table: `.npz`, `.csv` or `.parquet`."""
    subset: int | None = option(None, at_least=1)
    """This many of the rows that are trained on and held out, by the seed; all of them without."""
    size: int | None = option(None, at_least=2)
    """Of endless data: draw this many points once and train on them, not on new ones all the time."""
    image_size: Literal[8, 14, 28, 32] | None = None
    """Pixels across, of images; as they are without it. Smaller ones are means of their pixels."""
    standardise: bool = True
    """Shift and scale a table's columns to mean 0 and standard deviation 1 of the rows trained on and held out."""
    dequantise: bool = False
    """Add to each column of a table with repeated values uniform noise as wide as the smallest gap between them. Images
    always have it."""
    noise: float = option(0.0, at_least=0, at_most=LARGEST_NUMBER)
    """Standard deviation of normal noise that is added to a table's columns, as a share of that of each column."""
    logit: float | None = option(0.05, above=0, below=0.5)
    """Of images: α of the logit of α + (1 - 2α)x that the flow sees; without it, x in [0, 1)."""


@dataclass(frozen=True)
class DensityModel(ModelConfig):
    """Which density."""

    task = DENSITY
    architecture: str = CNF
    """cnf, planar_nf, spline_nf or gaussian; or a model of a plug-in, or a plug-in's field, which becomes a cnf."""

    def __post_init__(self) -> None:
        Section.__post_init__(self)
        self._choose_part("architecture", "options", ("model", "field"), MODELS)


@dataclass(frozen=True)
class FlowConfig(Section):
    """What the flow is made of, and how its likelihood is computed."""

    section = "flow"
    task = DENSITY
    field: Literal["planar", "concatsquash", "concat"] = "planar"
    """Of a cnf: planar units, whose divergence has a closed form, or a perceptron that sees t in each layer."""
    width: int = option(64, at_least=1)
    """Planar units, or units of a hidden layer."""
    hidden: int | None = option(None, at_least=1)
    """Hidden layers of a perceptron, 3 without it; with planar units the width of the network of t, 32 without it."""
    activation: Literal["tanh", "softplus", "silu", "relu"] = "tanh"
    """Of a perceptron."""
    blocks: int = option(1, at_least=1, at_most=1000)
    """Continuous flows one after the other, each with weights of its own."""
    layers: int | None = option(None, at_least=1, at_most=10_000)
    """Of a planar_nf, 64 without it; of a spline_nf, 5."""
    base_sd: float = option(1.0, above=0, at_most=LARGEST_NUMBER)
    """Standard deviation of the normal distribution that the flow begins with."""
    final_time: float = option(1.0, above=0, at_most=LARGEST_NUMBER)
    """T of the solve over [0, T]."""
    trace: Literal["auto", "exact", "hutchinson"] = "auto"
    """The divergence, where it has no closed form. `exact`: a product for each dimension. `hutchinson`: an estimate.
    `auto`: exact up to 3 dimensions in training, and in evaluation wherever it costs less than a hundred estimates."""
    probes: int = option(1, at_least=1)
    """Random directions that an estimate is the mean of."""
    noise: Literal["rademacher", "gaussian"] = "rademacher"
    """Their distribution."""
    objective: Literal["likelihood", "matching"] = "likelihood"
    """`likelihood`: minimise -log p of the data. `matching`: minimise KL(q‖p) to the density of the data."""
    test_method: str = option("dopri5", one_of=METHODS)
    """The method of the test, where the likelihood is to be right."""
    test_rtol: float = option(1e-6, at_least=SMALLEST_TOLERANCE)
    """Relative tolerance of the test."""
    test_atol: float = option(1e-6, at_least=SMALLEST_TOLERANCE)
    """Absolute tolerance of the test."""


@dataclass(frozen=True)
class DensitySolver(SolverConfig):
    """How the ODE is solved and how gradients come back through the solve."""

    rtol: float = option(1e-5, at_least=SMALLEST_TOLERANCE)
    """Relative tolerance of an adaptive method, in training and validation."""
    atol: float = option(1e-5, at_least=SMALLEST_TOLERANCE)
    """Absolute tolerance of an adaptive method, in training and validation."""


@dataclass(frozen=True)
class DensityTraining(TrainingConfig):
    """The optimisation, and when it ends."""

    epoch_iterations: int = option(100, at_least=1)
    """Batches of an epoch where the data have no end: endless data, and density matching."""
    batch_size: int = option(256, at_least=1)
    """Points of a training batch; the last one has what remains."""
    patience: int | None = option(10, at_least=1)
    """Epochs without a lower validation loss after which training stops; without it, never."""


@dataclass(frozen=True)
class DensityEvaluation(EvaluationConfig):
    """The scoring on the test split."""

    batch_size: int = option(1000, at_least=1)
    """Points of a batch of the test split, and at least of the validation split."""


@dataclass(frozen=True)
class DensityConfig(Config):
    """The configuration of a density."""

    data: DensityData = field(default_factory=DensityData)
    model: DensityModel = field(default_factory=DensityModel)
    flow: FlowConfig = field(default_factory=FlowConfig)
    solver: DensitySolver = field(default_factory=DensitySolver)
    training: DensityTraining = field(default_factory=DensityTraining)
    evaluation: DensityEvaluation = field(default_factory=DensityEvaluation)
    regularisation: RegularisationConfig = field(default_factory=RegularisationConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_unsolvable_states(self.model, self.solver)
        if self.model.architecture == CNF:
            self._refuse_unsolvable_test()
        if self.solver.reuse_first_step:
            raise ConfigError("solver.reuse_first_step is True, which flows do not have: leave it out")
        if self.training.precision == "bf16":
            raise ConfigError(
                "training.precision is bf16, whose rounding is above the tolerances of a density: use fp32 or tf32"
            )
        if self.regularisation.curvature:
            raise ConfigError("regularisation.curvature is not for flows: use regularisation.kinetic and jacobian")
        if self.regularisation.end_time_spread >= self.flow.final_time:
            raise ConfigError(
                f"regularisation.end_time_spread is {self.regularisation.end_time_spread:g}, which must be below "
                f"flow.final_time={self.flow.final_time:g}: a solve must not end where it begins"
            )
        if self.training.compile is True and not self.solver.can_be_compiled:
            raise ConfigError(
                "training.compile is True, but only the steps of solver.engine=odenet with solver.control=batch and "
                "another solver.gradient than adjoint can be compiled: change those, or use training.compile=auto"
            )

    @property
    def test_solver(self) -> SolverConfig:
        """With which a flow is tested."""
        flow = self.flow
        return replace(self.solver, method=flow.test_method, rtol=flow.test_rtol, atol=flow.test_atol)

    def _refuse_unsolvable_test(self) -> None:
        try:
            refuse_unsolvable_states(self.model, self.test_solver)
        except ConfigError as error:
            method = self.flow.test_method
            raise ConfigError(f"flow.test_method is {method}, by which nothing could be tested: {error}") from error


CONFIG = DensityConfig
