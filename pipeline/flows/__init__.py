"""Densities by continuous normalizing flows, and what they are compared with."""

from pipeline.flows.base import Base, Normal
from pipeline.flows.divergence import divergence
from pipeline.flows.fields import MLPField, PlanarField
from pipeline.flows.flow import Flow, FlowWarning
from pipeline.flows.gaussian import Gaussian
from pipeline.flows.log_prob import LogProb

__all__ = ["Base", "Flow", "FlowWarning", "Gaussian", "LogProb", "MLPField", "Normal", "PlanarField", "divergence"]
