"""Densities by continuous normalizing flows, and what they are compared with."""

from pipeline.flows.base import Base, Normal
from pipeline.flows.check import FlowCheck, Integral, estimate_deviation, integral
from pipeline.flows.dequantisation import Dequantisation
from pipeline.flows.divergence import divergence
from pipeline.flows.fields import MLPField, PlanarField
from pipeline.flows.flow import Flow, FlowWarning
from pipeline.flows.gaussian import Gaussian
from pipeline.flows.log_prob import LogProb
from pipeline.flows.objectives import Density, matching_loss, negative_log_likelihood
from pipeline.flows.planar_flow import PlanarFlow
from pipeline.flows.spline_flow import SplineFlow

__all__ = [
    "Base",
    "Density",
    "Dequantisation",
    "Flow",
    "FlowCheck",
    "FlowWarning",
    "Gaussian",
    "Integral",
    "LogProb",
    "MLPField",
    "Normal",
    "PlanarField",
    "PlanarFlow",
    "SplineFlow",
    "divergence",
    "estimate_deviation",
    "integral",
    "matching_loss",
    "negative_log_likelihood",
]
