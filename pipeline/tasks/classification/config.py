"""The configuration of an image classification."""

from dataclasses import dataclass, field

from pipeline.config import (
    Config,
    ConfigError,
    ImageConfig,
    ImageTrainingConfig,
    NetworkConfig,
    RegularisationConfig,
)
from pipeline.config.sections import refuse_unsolvable_states, refuse_unsolvable_time_weights


@dataclass(frozen=True)
class ClassificationConfig(Config):
    """The configuration of an image classification."""

    data: ImageConfig = field(default_factory=ImageConfig)
    model: NetworkConfig = field(default_factory=NetworkConfig)
    training: ImageTrainingConfig = field(default_factory=ImageTrainingConfig)
    regularisation: RegularisationConfig = field(default_factory=RegularisationConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.regularisation.refuse_unless_below(self.model.final_time)
        refuse_unsolvable_states(self.model, self.solver)
        refuse_unsolvable_time_weights(self.model.time_weights, self.solver)
        if (self.solver.control, self.model.normalisation, self.model.body) == ("sample", "batch", "odenet"):
            raise ConfigError(
                "model.normalisation is batch, which solver.control=sample cannot train, as it takes the batch apart: "
                "use model.normalisation=group or none, or solver.control=batch"
            )
        if self.training.compile is True and self.model.body == "odenet" and not self.solver.can_be_compiled:
            raise ConfigError(
                "training.compile is True, but only steps of explicit methods (not kvaerno3 or leapfrog) of "
                "solver.engine=odenet with solver.control=batch and another solver.gradient than adjoint can be "
                "compiled: change those, or use training.compile=auto"
            )
        if self.training.compile is True and self.regularisation.differentiates and self.model.body == "odenet":
            raise ConfigError(
                "training.compile is True, but torch cannot compile what regularisation.jacobian and "
                "regularisation.curvature differentiate the field for: use training.compile=auto"
            )


CONFIG = ClassificationConfig
