"""The data sets that come along, a file each; `data.name` names the file."""
