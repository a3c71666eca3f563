"""The configuration of models of irregular time series."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from pipeline.config import Config, ConfigError, DataConfig, ModelConfig, Section, SolverConfig, TrainingConfig, option
from pipeline.config.sections import LARGEST_NUMBER, refuse_unsolvable_states
from pipeline.plugins import registry
from pipeline.util.errors import brief

LEARNED = "learned"
MODELS = ("latent_ode", "ode_rnn", "rnn", "rnn_dt", "gru_d")
"""The models that come along, which have settings in the section `series` instead of options."""
ENCODERS = ("rnn", "rnn_dt", "ode_rnn", "gru_d")
DECODERS = ("mlp",)
"""Those that come along, likewise."""
OPTIONS_OF_SPIRALS = {"count": 1000}
"""Runs that were stored until 28 November 2026 have them beside data without options, too."""


@dataclass(frozen=True)
class SeriesDataConfig(DataConfig):
    """Which series, and what a model is given of each."""

    task = "series"
    name: str = "spirals"
    """A known data set, one of a plug-in, or the path of a CSV, a Parquet or an `.npz` (columns `series`, `time`,
    then the values; empty where nothing was observed)."""
    test_fraction: float = option(0.2, above=0, below=1)
    """The share of the series that is the test split, drawn by the seed."""
    observed: float | None = option(None, above=0, at_most=LARGEST_NUMBER)
    """How much of each series a model is given within the window, drawn by the seed: a whole number of times, as 30, or
    a share of them, as 0.3; all of them without."""
    window: float | None = option(None, above=0, at_most=LARGEST_NUMBER)
    """Time from the beginning of a series up to which a model is given values. Without it that of the data set; else
    to the end, and half the way with `series.goal=extrapolation`."""
    horizon: float | None = option(None, above=0, at_most=LARGEST_NUMBER)
    """Time from the beginning of a series up to which values are predicted and scored; to its end without."""
    noise: float | None = option(None, above=0, at_most=LARGEST_NUMBER)
    """Standard deviation of the Gaussian noise that is added where the data set is the truth without any, as spirals
    and periodic are; 0.1 there without."""
    scaling: Literal["auto", "standard", "range", "none"] = "auto"
    """`standard`: each channel to mean 0 and deviation 1; `range`: to [0, 1]; by the observed values of the training
    split alone. `auto`: as the data set says."""

    def __post_init__(self) -> None:
        if self.options == OPTIONS_OF_SPIRALS and not self._options_of_data_set():
            object.__setattr__(self, "options", {})
        super().__post_init__()
        if isinstance(self.observed, float) and self.observed > 1 and self.observed != int(self.observed):
            raise ConfigError(
                f"data.observed is {brief(self.observed)}: give a whole number of times, as 30, or a share up to 1, "
                "as 0.3"
            )

    def of(self, name: str) -> Self:
        """As another data set's own, which is not noised as this one is."""
        return self if name == self.name else replace(super().of(name), noise=None)

    def _options_of_data_set(self) -> tuple[registry.Option, ...]:
        """Of what comes along too."""
        known = self.name in registry.names("data set", self.task)
        return registry.find("data set", self.name, self.task).options if known else ()


@dataclass(frozen=True)
class SeriesModelConfig(ModelConfig):
    """Which model."""

    task = "series"
    architecture: str = "latent_ode"
    """latent_ode, ode_rnn, rnn, rnn_dt or gru_d; or a model or a latent field of a plug-in."""

    def __post_init__(self) -> None:
        Section.__post_init__(self)
        self._choose_part("architecture", "options", ("model", "field"), MODELS)


@dataclass(frozen=True)
class SeriesConfig(Section):
    """The parts and the objective of a model of series."""

    section = "series"
    task = "series"
    encoder: str = "rnn_dt"
    """Of a latent ODE: rnn, which reads values alone; rnn_dt, which reads the gaps of time too; ode_rnn as Rubanova et
    al. 2019; gru_d; or one of a plug-in. Each reads backwards in time."""
    encoder_options: Mapping[str, Any] = field(default_factory=dict)
    """What a plug-in's encoder takes."""
    decoder: str = "mlp"
    """What makes values of a state: mlp, or one of a plug-in."""
    decoder_options: Mapping[str, Any] = field(default_factory=dict)
    """What a plug-in's decoder takes."""
    latent: int = option(4, at_least=1, at_most=10_000)
    """Dimensions of the latent state."""
    hidden: int = option(25, at_least=1, at_most=100_000)
    """Units of the encoder's recurrent network, and of the recurrent models."""
    field_hidden: int = option(20, at_least=1, at_most=100_000)
    """Units of the hidden layers of the fields of ODEs."""
    field_layers: int = option(1, at_least=0, at_most=100)
    """Hidden layers of those."""
    decoder_hidden: int = option(20, at_least=1, at_most=100_000)
    """Units of the decoder's hidden layer."""
    activation: Literal["tanh", "relu", "elu", "softplus"] = "elu"
    """Of the latent field."""
    observation_sd: Any = LEARNED
    """Standard deviation of an observation around the truth, in the scaled unit; or `learned`, one a channel."""
    time_unit: float | None = option(None, above=0, at_most=LARGEST_NUMBER)
    """What the networks take for a unit of time; without it a fifth of the longest window of the training split."""
    samples: int = option(1, at_least=1, at_most=100_000)
    """Of the posterior, for the bound in training."""
    kl_epochs: int = option(0, at_least=0, at_most=1_000_000)
    """Epochs over which the weight of the KL rises from 0, evenly."""
    kl_weight: float = option(1.0, at_least=0, at_most=LARGEST_NUMBER)
    """Of the KL in training, once it has risen; 1 for the bound itself."""
    goal: Literal["reconstruction", "interpolation", "extrapolation"] = "reconstruction"
    """What is learned to be said of the values that a model is given: themselves (Chen et al. 2018); all known ones of
    the window; or those beyond the window (both Rubanova et al. 2019)."""
    poisson: bool = False
    """Whether a latent ODE also has an intensity of the times of observation."""
    label_weight: float = option(0.0, at_least=0, at_most=LARGEST_NUMBER)
    """Of the log likelihood of a series' label in what is maximised; with 0 no classifier is learned."""
    test_samples: int = option(50, at_least=2, at_most=100_000)
    """Of the posterior, for the predictions and the importance-weighted bound of the test."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._choose_part("encoder", "encoder_options", ("encoder",), ENCODERS)
        self._choose_part("decoder", "decoder_options", ("decoder",), DECODERS)
        sd = self.observation_sd
        is_number = isinstance(sd, int | float) and not isinstance(sd, bool)
        if sd != LEARNED and not (is_number and 0 < sd < LARGEST_NUMBER):
            raise ConfigError(f"series.observation_sd must be a number above 0 or learned, not {brief(sd)}")


@dataclass(frozen=True)
class SeriesTrainingConfig(TrainingConfig):
    """The optimisation, and when it ends."""

    max_epochs: int = option(150, at_least=1)
    """Epochs after which training stops at the latest."""
    batch_size: int = option(32, at_least=1)
    """Series of a training batch; the last one has what remains."""
    lr: float = option(1e-2, above=0, at_most=LARGEST_NUMBER)
    """Learning rate, at the beginning."""
    schedule: str = "cosine"
    """constant, step, cosine, one_cycle, or one of a plug-in; `step` divides the rate by 10 after every 0.3 ×
    max_epochs, `one_cycle` takes it up from a 25th and down again, step by step."""
    patience: int | None = option(50, at_least=1)
    """Epochs without a lower validation loss after which training stops; without it, never."""


@dataclass(frozen=True)
class SeriesTaskConfig(Config):
    """The configuration of models of irregular time series."""

    data: SeriesDataConfig = field(default_factory=SeriesDataConfig)
    model: SeriesModelConfig = field(default_factory=SeriesModelConfig)
    series: SeriesConfig = field(default_factory=SeriesConfig)
    solver: SolverConfig = field(default_factory=SolverConfig)
    training: SeriesTrainingConfig = field(default_factory=SeriesTrainingConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        refuse_unsolvable_states(self.model, self.solver)
        window, horizon = self.data.window, self.data.horizon
        if window is not None and horizon is not None and horizon < window:
            raise ConfigError(f"data.horizon is {horizon:g}, within data.window={window:g}: give one that is not less")


CONFIG = SeriesTaskConfig
