"""The data sets of series, a file each."""
