"""Parts of a user's own that trainings take or refuse in a sentence, in this process."""

import json
import linecache
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn, optim
from torch.optim.lr_scheduler import ReduceLROnPlateau

import odenet
from odenet.main import main
from pipeline import plugins
from pipeline.comparison.compared_run import read_run
from pipeline.config import SolverConfig
from pipeline.ode import ODEBlock
from pipeline.plugins import registry
from pipeline.plugins.registry import PluginError
from pipeline.runs.load_model import load_model
from pipeline.runs.stored_parts import stored_plugins
from pipeline.series import Posterior, SeriesBatch
from pipeline.util.errors import InvalidInput, OdenetError

pytestmark = pytest.mark.usefixtures("store_home")
SMALL: dict[str, Any] = {"data.subset": 100, "training.max_epochs": 2, "training.device": "cpu"}


class Tied(nn.Module):
    """Two layers with one matrix of weights."""

    def __init__(self, outputs: int = 10) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(64, 64), nn.Linear(64, 64), nn.Linear(64, outputs)
        self.second.weight = self.first.weight

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.head(torch.relu(self.second(torch.relu(self.first(images.flatten(1))))))
        return scores


class Damped(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.layer = nn.Linear(width, width)

    def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002
        return torch.tanh(self.layer(z)) - z


class Seen(odenet.Callback):
    """Notes the learning rate after each epoch."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def epoch_done(self, epoch: int, history: Any) -> None:  # noqa: ARG002
        self.rates.append(history[-1]["training.lr"])


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    registry.forget(__file__)


def train(*names: str, **more: Any) -> Any:
    config = SMALL | more.pop("config", {})
    return odenet.train("digits", *names, config=config, **more)


def test_a_network_with_tied_weights_is_stored_and_loaded_as_it_was() -> None:
    @plugins.model("tied")
    def tied(input_shape: object, outputs: int, solver: SolverConfig) -> nn.Module:  # noqa: ARG001
        return Tied(outputs)

    run = train(config={"model.architecture": "tied"})
    assert run.status == "COMPLETED"
    network = load_model(run.run_id).network
    assert network.second.weight is network.first.weight
    assert torch.equal(run.weights()["second.weight"], network.first.weight)


def test_weights_of_a_buffer_that_changed_its_shape_are_refused_by_its_name() -> None:
    class Remembering(Tied):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("seen", torch.zeros(0, 64))

        def forward(self, images: Tensor) -> Tensor:
            self.seen = images.flatten(1)[:3].detach() if self.training else self.seen
            return super().forward(images)

    @plugins.model("remembering")
    def remembering(input_shape: object, outputs: int, solver: SolverConfig) -> nn.Module:  # noqa: ARG001
        return Remembering()

    run = train(config={"model.architecture": "remembering"})
    with pytest.raises(OdenetError, match=r"\(seen is of shape \(3, 64\), and built as \(0, 64\)\)"):
        load_model(run.run_id)


def test_of_a_compiled_module_the_class_that_was_written_is_recorded() -> None:
    run = train(model=torch.compile(Tied(), backend="eager"), config={"training.max_epochs": 1})
    [source] = stored_plugins(run)
    assert (run.config["model"]["architecture"], source.spec) == ("Tied", "<the Tied given to train()>")
    assert b"self.second.weight = self.first.weight" in source.content


def test_the_source_of_a_class_of_a_notebooks_cell_is_recorded() -> None:
    written = "class Cell(nn.Sequential):\n    def forward(self, x):\n        return super().forward(x)\n"
    cell = f"from torch import nn\n{written}network = Cell(nn.Flatten(), nn.Linear(64, 10))\n"
    linecache.cache["<cell 1>"] = len(cell), None, cell.splitlines(keepends=True), "<cell 1>"  # as IPython does
    names: dict[str, Any] = {"__name__": "notebook"}
    exec(compile(cell, "<cell 1>", "exec"), names)  # noqa: S102
    [source] = stored_plugins(train(model=names["network"], config={"training.max_epochs": 1}))
    assert source.content.decode() == written


def test_the_multiply_adds_of_several_blocks_are_those_of_their_own_evaluations() -> None:
    @plugins.model("two_odes")
    def two_odes(input_shape: object, outputs: int, solver: SolverConfig) -> nn.Module:  # noqa: ARG001
        blocks = [ODEBlock(Damped(16), 1.0, solver) for _ in range(2)]
        return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), *blocks, nn.Linear(16, outputs))

    euler = {"model.architecture": "two_odes", "solver.method": "euler", "solver.steps": 3}
    values = read_run(train(config=euler)).values
    assert values["nfe_test"] == 6
    assert values["multiply_adds_test"] == 2 * 256 * 3 + 64 * 16 + 16 * 10


def test_a_schedule_by_the_validation_loss_is_stepped_with_it() -> None:
    @plugins.schedule("plateau")
    def plateau(optimiser: optim.Optimizer, max_epochs: int) -> ReduceLROnPlateau:  # noqa: ARG001
        return ReduceLROnPlateau(optimiser, factor=0.1, patience=0, threshold=10.0)  # no loss is so much lower

    seen = Seen()
    with pytest.warns(UserWarning, match="the source of .*the schedule plateau is not stored"):
        run = train("resnet_small", config={"training.schedule": "plateau", "training.max_epochs": 4}, callbacks=[seen])
    assert run.status == "COMPLETED"
    assert seen.rates == pytest.approx([seen.rates[0] * 0.1**k for k in range(4)])


@pytest.mark.parametrize(("warm_up", "is_warned_of"), [(1.5, True), (1.0, False)])
def test_a_warm_up_that_outlasts_the_training_is_warned_of(warm_up: float, is_warned_of: bool) -> None:
    run = train(
        "resnet_small", config={"training.warmup_epochs": warm_up, "training.max_epochs": 1, "training.lr": 0.01}
    )
    said = "training.warmup_epochs=1.5 with training.max_epochs=1: the learning rate is still rising to 0.01 at the end"
    assert any(one.startswith(said) for one in run.info.get("warnings", ())) == is_warned_of


def test_parts_that_a_training_cannot_step_are_refused_by_their_line() -> None:
    @plugins.optimiser("lbfgs")
    def lbfgs(parameters: Any, lr: float, weight_decay: float) -> optim.Optimizer:  # noqa: ARG001
        return optim.LBFGS(parameters, lr)

    @plugins.schedule("plateau_a_step")
    def plateau(optimiser: Any, max_epochs: int, *, steps_per_epoch: int) -> ReduceLROnPlateau:  # noqa: ARG001
        return ReduceLROnPlateau(optimiser)

    with pytest.raises(OdenetError, match=r"test_own_parts.py:\d+: the optimiser lbfgs returned LBFGS, whose steps"):
        train("resnet_small", config={"training.optimiser": "lbfgs"})
    with pytest.raises(OdenetError, match="leave its argument steps_per_epoch out"):
        train("resnet_small", config={"training.schedule": "plateau_a_step"})


def test_metrics_that_cannot_be_shown_or_are_of_no_use_are_refused_when_they_are_registered() -> None:
    with pytest.raises(PluginError, match="the metric hits has format='d': give one of a float"):
        plugins.metric("hits", format="d")
    with pytest.raises(PluginError, match="the metric tail is of the task density, which takes none of plug-ins"):
        plugins.metric("tail", task="density")


def test_a_named_configuration_may_have_dotted_keys() -> None:
    plugins.named_config("brief", {"training.max_epochs": 1, "training": {"lr": 0.01}})
    run = odenet.train("digits", "resnet_small", "brief", config={"data.subset": 100, "training.device": "cpu"})
    assert (run.config["training"]["max_epochs"], run.config["training"]["lr"]) == (1, 0.01)
    with pytest.raises(PluginError, match=r"the named configuration odd is 3: give sections"):
        plugins.named_config("odd", 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"names": ["digits", {"training.max_epochs": 1}]}, "values are given as config="),
        ({"names": ["digits"], "plugins": [3]}, "plugins of train\\(\\) has 3: give texts or paths"),
        ({"names": ["digits"], "config": {1: 2}}, "its keys are texts"),
        ({"names": ["digits"], "tags": "paper"}, r"tags is the text 'paper': give a list, as \['paper'\]"),
        ({"names": ["digits"], "tags": ["fold", 3]}, "a tag is 3, which is no text: give one"),
        ({"names": ["digits"], "name": 3}, "name is 3, which is no text: give one"),
        ({"names": ["digits"], "field": Damped(8), "config": {"model.blocks": 2}}, "is that of one block"),
    ],
)
def test_usual_slips_of_a_call_are_told_in_a_sentence(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence):
        odenet.train(*arguments.pop("names"), **arguments)


def test_paths_and_dotted_keys_at_any_depth_are_taken(tmp_path: Path) -> None:
    (tmp_path / "mine.yml").write_text("training.max_epochs: 1\n")
    config = {"data": {"subset": 100}, "training": {"device": "cpu"}, "model.stride": 2}
    run = odenet.train("digits", "resnet_small", tmp_path / "mine.yml", config=config)
    assert run.config["training"]["max_epochs"] == 1
    assert run.config["model"]["stride"] == 2


def test_a_metric_of_series_does_not_take_the_name_of_what_is_recorded_anyway() -> None:
    with pytest.raises(PluginError, match="the metric mean has per='item', which series do not have"):
        plugins.metric("mean", task="series", per="item")

    @plugins.metric("rmse", task="series")
    def own(outputs: Tensor, targets: Tensor) -> Tensor:
        return (outputs - targets).abs().mean()

    with pytest.raises(PluginError, match=r"test_own_parts.py:\d+: the metric rmse is recorded already"):
        odenet.train("latent_ode", "spirals", config={"data.options.count": 20, "training.max_epochs": 1})


def test_lists_of_options_are_a_parts_own_and_stay_in_the_configuration_as_they_were() -> None:
    @plugins.model("growing")
    def growing(
        input_shape: object,  # noqa: ARG001
        outputs: int,
        solver: SolverConfig,  # noqa: ARG001
        *,
        widths: list[int] = [8],  # noqa: B006 - as users write it
        scale: float = np.float64(0.5),  # noqa: ARG001
    ) -> nn.Module:
        widths.append(4)
        layers = [nn.Linear(before, after) for before, after in pairwise([64, *widths, outputs])]
        return nn.Sequential(nn.Flatten(), *layers)

    for _ in range(2):
        run = train(config={"model.architecture": "growing", "training.max_epochs": 1})
        assert run.config["model"]["options"] == {"widths": [8], "scale": 0.5}
        assert run.facts.parameters == sum(p.numel() for p in load_model(run.run_id).network.parameters())
        assert run.facts.parameters == 64 * 8 + 8 + 8 * 4 + 4 + 4 * 10 + 10


def test_an_option_that_no_configuration_records_is_refused_before_there_is_a_run() -> None:
    @plugins.model("odd")
    def odd(
        input_shape: object,  # noqa: ARG001
        outputs: int,
        solver: SolverConfig,  # noqa: ARG001
        *,
        layers: list = [nn.Tanh()],  # type: ignore[type-arg]  # noqa: B006, B008
    ) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(64, outputs), *layers)

    with pytest.raises(InvalidInput, match=r"the default of model\.options\.layers has Tanh\(\) in it"):
        train(config={"model.architecture": "odd"})


@pytest.mark.parametrize(
    ("kind", "said"),
    [("decoder", r"gives \(1, 2, 1, 1\) for states of shape"), ("encoder", r"encoder .*returned a tuple")],
)
def test_parts_of_a_latent_ode_that_do_not_fit_are_refused_before_they_are_trained(kind: str, said: str) -> None:
    @plugins.decoder("narrow")
    def narrow(width: int, dimensions: int) -> nn.Module:  # noqa: ARG001
        return nn.Linear(width, 1)

    class Two(nn.Module):
        def forward(self, batch: Any, unit: float) -> tuple[Tensor, Tensor]:  # noqa: ARG002
            state = torch.zeros(len(batch), 4)
            return state, state

    @plugins.encoder("two")
    def two(dimensions: int, latent: int) -> nn.Module:  # noqa: ARG001
        return Two()

    own = {"decoder": "narrow", "encoder": "two"}[kind]
    config = {"data.options.count": 20, "training.max_epochs": 1, f"series.{kind}": own, "series.latent": 4}
    with pytest.raises(OdenetError, match=said):
        odenet.train("latent_ode", "spirals", config=config)


@pytest.mark.parametrize("names", [("cnf", "two_moons"), ("latent_ode", "spirals"), ("trajectories", "reflection2d")])
@pytest.mark.parametrize(
    ("sizes", "said"),
    [((3, 3), r"does not work for two \w+ of 2 numbers"), ((2, 3), r"gives \(2, 3\) for two \w+ of 2 numbers")],
)
def test_a_field_of_another_width_is_refused_with_both_widths_before_there_is_a_run(
    names: tuple[str, str], sizes: tuple[int, int], said: str
) -> None:
    class Wide(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(*sizes)

        def forward(self, t: Tensor, z: Tensor) -> Tensor:  # noqa: ARG002
            return torch.as_tensor(self.layer(z))

    sections = {"series": {"latent": 2}} if "spirals" in names else {}
    known = len(odenet.Runs().find({}))
    with pytest.raises(PluginError, match=f"the field Wide {said}"):
        odenet.train(*names, field=Wide(), config={"training.max_epochs": 1, **sections})
    assert len(odenet.Runs().find({})) == known


@pytest.mark.parametrize("control", ["batch", "sample"])
def test_a_density_may_have_a_field_that_differentiates_and_looks_at_the_shape_of_time(control: str) -> None:
    class Downhill(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def forward(self, t: Tensor, z: Tensor) -> Tensor:
            assert t.shape in ((), (len(z), 1))
            with torch.enable_grad():
                z = z if z.requires_grad else z.detach().requires_grad_()
                [slope] = torch.autograd.grad(self.layer(z).square().sum(), z, create_graph=True)
            return -slope

    config = {"training.max_epochs": 1, "data.size": 100, "solver.control": control, "training.device": "cpu"}
    assert odenet.train("cnf", "two_moons", field=Downhill(), config=config).status == "COMPLETED"


@pytest.mark.parametrize("names", [("digits",), ("latent_ode", "spirals")])
def test_layers_that_take_their_widths_from_what_they_are_given_have_them_before_weights_are_averaged(
    names: tuple[str, ...],
) -> None:
    @plugins.model("lazy")
    def lazy(input_shape: object, outputs: int, solver: SolverConfig) -> nn.Module:  # noqa: ARG001
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(8), nn.LazyBatchNorm1d(), nn.LazyLinear(outputs))

    @plugins.encoder("lazy")
    class Encoder(nn.Module):
        def __init__(self, dimensions: int, latent: int) -> None:  # noqa: ARG002
            super().__init__()
            self.layer = nn.LazyLinear(latent)

        def forward(self, batch: SeriesBatch, time_unit: float) -> Posterior:  # noqa: ARG002
            mean = self.layer(batch.values.nan_to_num().mean(1))
            return Posterior(mean, torch.ones_like(mean))

    own = {"model.architecture": "lazy"} if names == ("digits",) else {"series.encoder": "lazy"}
    config = {"training.max_epochs": 1, "training.ema_decay": 0.5, "training.device": "cpu", "data.subset": 100}
    run = odenet.train(*names, config=config | own)
    assert run.status == "COMPLETED"
    assert run.facts.parameters == sum(p.numel() for p in load_model(run.run_id).network.parameters())


def test_what_a_plugin_prints_when_it_is_loaded_is_not_on_standard_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loud = tmp_path / "loud.py"
    loud.write_text(
        "from pipeline import plugins\nprint('HELLO')\nplugins.named_config('loud', {'training.max_epochs': 1})\n"
    )
    assert main(["describe", "--plugin", str(loud), "--json", "with", "odenet_simple", "digits", "loud"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out)
    assert "HELLO" in told.err
    registry.forget(str(loud))


def test_a_density_that_gives_a_plain_tensor_is_refused_by_its_line() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(2))

        def log_prob(self, x: Tensor, **_: object) -> Tensor:
            return -(self.scale * x).square().sum(1)

        def sample(self, n: int, **_: object) -> Tensor:
            return torch.randn(n, 2)

    @plugins.model("plain", task="density")
    def plain(input_shape: object, outputs: int, solver: SolverConfig) -> nn.Module:  # noqa: ARG001
        return Plain()

    config = {"model.architecture": "plain", "training.max_epochs": 1, "training.device": "cpu"}
    with pytest.raises(PluginError, match=r"test_own_parts.py:\d+: log_prob of the model plain gives a Tensor for two"):
        odenet.train("density", "two_moons", config=config)


@pytest.mark.parametrize(
    ("kind", "said"),
    [("tuple", "a tuple for 80 images while it is trained"), ("mean", r"\(1, 10\) for 80 images while it is trained")],
)
def test_scores_that_are_none_in_training_alone_end_the_run_with_a_sentence(kind: str, said: str) -> None:
    class Odd(Tied):
        def forward(self, images: Tensor) -> Any:
            scores = super().forward(images)
            if kind == "mean":
                return scores.mean(0, keepdim=True)
            return (scores, scores) if self.training else scores

    with pytest.raises(odenet.RunFailed, match=rf"the model gives {said}: return \(80, 10\), a score for each class"):
        train(model=Odd(), config={"training.batch_size": 80})


@pytest.mark.parametrize("kind", ["nothing to train", "leaves"])
def test_a_model_that_cannot_be_trained_ends_no_process(kind: str) -> None:
    @plugins.model("stubborn")
    def stubborn(input_shape: object, outputs: int, solver: SolverConfig) -> nn.Module:  # noqa: ARG001
        if kind == "leaves":
            sys.exit(3)
        return nn.Sequential(nn.Flatten(), nn.Linear(64, outputs)).requires_grad_(False)

    said = {"leaves": r"test_own_parts\.py.*line \d+", "nothing to train": "the model has no weights that want a grad"}
    with pytest.raises(OdenetError, match=said[kind]):
        train(config={"model.architecture": "stubborn"})
