"""What densities are learnt from, a file each."""
