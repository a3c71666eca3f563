"""What is run: Sacred experiments, their named configurations and the demonstration."""

import warnings

import pipeline  # noqa: F401 - before torch, see there

# Sacred 0.8 imports it; pyproject.toml keeps a setuptools that has it.
warnings.filterwarnings("ignore", message="pkg_resources is deprecated", category=UserWarning)
