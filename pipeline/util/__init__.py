"""Utilities without any knowledge of networks or experiments: errors, paths, files, JSON, warnings, signals."""
