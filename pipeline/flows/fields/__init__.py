"""Velocity fields of flows: functions of t and z that know the products of their Jacobian."""

from pipeline.flows.fields.mlp import MLPField
from pipeline.flows.fields.planar import PlanarField

__all__ = ["MLPField", "PlanarField"]
