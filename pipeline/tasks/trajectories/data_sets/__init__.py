"""Those of trajectories that come along, a file each, named like the file."""
