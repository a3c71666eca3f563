"""The models of series, a file each."""
