"""Configurations: their sections, named presets, and the overrides of a command line."""
