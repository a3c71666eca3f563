"""Networks: those of the papers, and those of plug-ins."""

from pipeline.models.build import BatchNormalisationWarning, build_model, build_named
from pipeline.models.network import Network

__all__ = ["BatchNormalisationWarning", "Network", "build_model", "build_named"]
