"""Irregular time series: latent ODEs, and the recurrent networks that they are compared with."""
