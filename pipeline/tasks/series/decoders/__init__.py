"""What makes values of latent states, a file each."""
