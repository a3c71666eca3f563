"""What sweeps import, with the settings that Ray reads while it is imported; for the server of forked commands."""

import os
from unittest import mock

from pipeline.sweeps.ray_environment import LOCAL, prepare

with mock.patch.dict(os.environ, ODENET_HOME=os.devnull):
    with mock.patch("pipeline.sweeps.ray_environment.token_file"):
        prepare(LOCAL)
    import experiments.studies
    import experiments.sweep  # noqa: F401
