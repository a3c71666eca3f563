"""The encoders of latent ODEs, a file each."""
