"""The optimisers that come along, a file each; `training.optimiser` names the file."""
