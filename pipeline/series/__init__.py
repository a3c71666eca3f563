"""Models of irregular time series: latent ODEs, and the recurrent networks that they are compared with."""

from pipeline.series.baselines import Forecaster, LogLikelihood
from pipeline.series.batch import Series, SeriesBatch, collate
from pipeline.series.build import build_cell, build_forecaster, build_latent_ode
from pipeline.series.cells import Cell, GRUDCell, ODERNNCell, RNNCell, TimeGapRNNCell
from pipeline.series.encoders import Encoder, Posterior
from pipeline.series.fields import Decoder, LatentField
from pipeline.series.latent import Elbo, LatentODE
from pipeline.series.likelihood import coverage, gaussian_kl, gaussian_log_likelihood, rmse
from pipeline.series.noise import ObservationNoise
from pipeline.series.poisson import Intensity
from pipeline.series.prediction import Prediction

__all__ = [
    "Cell",
    "Decoder",
    "Elbo",
    "Encoder",
    "Forecaster",
    "GRUDCell",
    "Intensity",
    "LatentField",
    "LatentODE",
    "LogLikelihood",
    "ODERNNCell",
    "ObservationNoise",
    "Posterior",
    "Prediction",
    "RNNCell",
    "Series",
    "SeriesBatch",
    "TimeGapRNNCell",
    "build_cell",
    "build_forecaster",
    "build_latent_ode",
    "collate",
    "coverage",
    "gaussian_kl",
    "gaussian_log_likelihood",
    "rmse",
]
