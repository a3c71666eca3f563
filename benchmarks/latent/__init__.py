"""A training step of a latent ODE: encoder, solve, decoder, bound and gradient."""
