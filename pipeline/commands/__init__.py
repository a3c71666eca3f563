"""The commands of `odenet`, a group a file: arguments to calls, no logic."""
