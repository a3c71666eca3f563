"""The networks that come along, a file each; `model.architecture` names the file."""
