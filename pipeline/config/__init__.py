"""Configurations: sections, whole configurations, named ones, and the overrides of a command line."""

from pipeline.config.config import Config
from pipeline.config.section import ConfigError, Section, nearest, option
from pipeline.config.sections import (
    DataConfig,
    EvaluationConfig,
    ImageConfig,
    ImageTrainingConfig,
    ModelConfig,
    NetworkConfig,
    RegularisationConfig,
    SolverConfig,
    TrainingConfig,
)

__all__ = [
    "Config",
    "ConfigError",
    "DataConfig",
    "EvaluationConfig",
    "ImageConfig",
    "ImageTrainingConfig",
    "ModelConfig",
    "NetworkConfig",
    "RegularisationConfig",
    "Section",
    "SolverConfig",
    "TrainingConfig",
    "nearest",
    "option",
]
