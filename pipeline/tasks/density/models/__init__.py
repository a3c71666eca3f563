"""The densities that come along, a file each."""
