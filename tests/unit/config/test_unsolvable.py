"""What no solve could be begun with is refused before there is a run; what another data set leaves of a section."""

from collections.abc import Iterator

import pytest
from torch import nn

from pipeline.config import Config, ConfigError, SolverConfig
from pipeline.plugins.decorators import model
from pipeline.plugins.registry import forget
from pipeline.tasks.classification.config import ClassificationConfig
from pipeline.tasks.density.config import DensityConfig
from pipeline.tasks.series.config import SeriesDataConfig, SeriesTaskConfig
from pipeline.tasks.trajectories.config import TrajectoriesConfig

TASKS = [ClassificationConfig, DensityConfig, SeriesTaskConfig, TrajectoriesConfig]


@pytest.fixture
def own_model() -> Iterator[str]:
    """The name of a plug-in's model, which may well have positions and momenta."""

    @model("pendulums")
    def pendulums(input_shape: tuple[int, ...], outputs: int, solver: SolverConfig) -> nn.Module:  # noqa: ARG001
        return nn.Identity()

    yield "pendulums"
    forget(__file__)


@pytest.mark.parametrize("task", TASKS)
def test_a_method_for_positions_and_momenta_is_refused_to_what_comes_along(task: type[Config]) -> None:
    with pytest.raises(ConfigError, match=r"^solver\.method is leapfrog, .*: use another method, as dopri5 or rk4$"):
        task.from_dict({"solver": {"method": "leapfrog", "steps": 4}})


def test_it_is_left_to_a_model_of_a_plug_in(own_model: str) -> None:
    values = {"solver": {"method": "leapfrog", "steps": 4}, "model": {"architecture": own_model}}
    assert ClassificationConfig.from_dict(values).solver.method == "leapfrog"


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("method", ["kvaerno3", "leapfrog"])
def test_the_adjoint_of_a_method_that_has_none_is_refused(task: type[Config], method: str) -> None:
    with pytest.raises(ConfigError, match=rf"^solver\.gradient is adjoint, .* solver\.method={method}: use solver\."):
        task.from_dict({"solver": {"method": method, "gradient": "adjoint"}})


def test_another_data_set_is_taken_whole_with_its_own_options_and_noise() -> None:
    mine = SeriesDataConfig(name="spirals", options={"count": 40}, subset=8, noise=0.3, observed=0.5)
    assert mine.of("spirals") is mine
    other = mine.of("periodic")
    assert other == SeriesDataConfig(name="periodic", observed=0.5)
