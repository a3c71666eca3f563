"""The figures of densities are drawn for points on a line, in the plane, of tables and of images."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipeline.flows import Flow
from pipeline.reporting.figure_style import png
from pipeline.tasks.density import figures
from pipeline.tasks.density.config import DensityConfig
from pipeline.tasks.density.task import Density
from pipeline.tasks.solver_grid import Row

TASK = Density()


@pytest.mark.parametrize("name", ["two_modes", "two_moons", "digits", "table"])
def test_samples_are_drawn_beside_the_data(name: str, tmp_path: Path) -> None:
    if name == "table":
        name = str(tmp_path / "t.npz")
        np.savez(name, x=np.random.default_rng(0).normal(size=(200, 5)))
    config = DensityConfig.from_dict({"data": {"name": name}, "flow": {"width": 4}})
    data = TASK.load_data(config)
    torch.manual_seed(0)
    figure = figures.plot_samples(TASK.build_model(config, data).eval(), data, "a density")
    assert len(png(figure)) > 10_000


@pytest.mark.parametrize("name", ["two_modes", "two_moons"])
def test_the_density_over_time_begins_with_the_base(name: str) -> None:
    config = DensityConfig.from_dict({"data": {"name": name}, "flow": {"width": 4}})
    data = TASK.load_data(config)
    flow = TASK.build_model(config, data).eval().density
    assert isinstance(flow, Flow)
    figure = figures.plot_density_over_time(flow, data, "a density")
    titles = [ax.get_title(loc="left") for ax in figure.axes]
    assert titles[0] == "t = 0"
    assert titles[-1] == "t = 1"
    assert len(titles) == figures.TIMES


def test_the_animation_has_its_frames_and_the_field_its_panels() -> None:
    config = DensityConfig.from_dict({"flow": {"width": 4}})
    data = TASK.load_data(config)
    flow = TASK.build_model(config, data).eval().density
    animation = Image.open(io.BytesIO(figures.animate(flow, data)))
    assert (animation.format, animation.n_frames) == ("GIF", figures.FRAMES)  # type: ignore[attr-defined]
    assert len(figures.plot_vector_field(flow, data, "a density").axes) == 4


def test_the_likelihood_is_drawn_over_the_evaluations_with_the_integral_beside() -> None:
    rows = [
        Row(
            "dopri5",
            None,
            10.0**-k,
            10.0**-k,
            1.0,
            k == 3,
            "completed",
            {"nll": 1 + 10.0**-k, "integral": 1.0},
            20.0 * k,
        )
        for k in (3, 4, 5)
    ]
    figure = figures.plot_nll_over_tolerance(rows, "a density")
    assert [ax.get_ylabel() for ax in figure.axes] == ["NLL (nats)", "Integral over a grid"]


@pytest.mark.parametrize("name", ["two_moons", "pinwheel"])
def test_densities_are_drawn_beside_each_other(name: str) -> None:
    config = DensityConfig.from_dict({"data": {"name": name}, "flow": {"width": 4}})
    data = TASK.load_data(config)
    network = TASK.build_model(config, data).eval()
    figure = figures.plot_beside([("CNF", network), ("NF", network)], data, "two densities")
    assert [ax.get_title(loc="left") for ax in figure.axes[:3]] == ["Data", "CNF", "NF"]
