"""Densities: continuous normalizing flows, and what they are compared with, by their likelihood."""
