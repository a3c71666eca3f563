"""Image classification: load data, build the model, train with early stopping, evaluate; each stage an ingredient.

odenet run with odenet_simple fashion_mnist data.subset=10000
python -m experiments.classification with resnet_small digits
"""

import errno
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from sacred import SETTINGS, Experiment, Ingredient
from sacred.run import Run
from sacred.utils import SacredError, SacredInterrupt

from experiments.ended_run import EndedRun
from odenet.output import INTERRUPTED, fail
from pipeline.config.presets import NAMED_CONFIGS, resolve
from pipeline.config.sections import SECTIONS, Config, DataConfig, EvaluationConfig, ModelConfig, TrainingConfig
from pipeline.data import Images, Preprocessing, Splits, build_preprocessing, load_splits, number_of_batches
from pipeline.device.out_of_memory import OutOfMemory, naming_lack_of_memory
from pipeline.device.precision import choose_device, numerics
from pipeline.models import Network, build_model
from pipeline.models.describe import describe
from pipeline.ode import SolverFailure
from pipeline.reporting.console import progress_bar
from pipeline.runs.query import StoredRun
from pipeline.tasks.classification.artifacts import (
    RunReporter,
    record_earlier_epochs,
    record_evaluation,
    record_training,
    record_unfinished_training,
    run_title,
)
from pipeline.tasks.classification.metrics import Predictions, predict
from pipeline.tasks.classification.metrics import score as score_predictions
from pipeline.tasks.classification.solver_grid import trained_setting
from pipeline.tasks.classification.unused_settings import warn_of_unused_settings
from pipeline.tracking.observer import StoreObserver
from pipeline.tracking.provenance import ROOT
from pipeline.tracking.run_log import RunLog
from pipeline.tracking.watcher import Watcher
from pipeline.training import Fitted, LossDiverged, fit
from pipeline.util.errors import InvalidInput, OdenetError
from pipeline.util.interruption import terminable
from pipeline.util.paths import home
from pipeline.util.user_warnings import noting_warnings, warnings_in_a_line

SETTINGS.CAPTURE_MODE = "sys"  # Ray's workers allow no other
SETTINGS.DISCOVER_SOURCES = "none"  # the observer stores sources and packages, all of them
SETTINGS.DISCOVER_DEPENDENCIES = "none"

INGREDIENTS = {section.section: Ingredient(section.section, save_git_info=False) for section in SECTIONS}
for section in SECTIONS:
    INGREDIENTS[section.section].add_config(asdict(section()))

ex = Experiment("classification", ingredients=list(INGREDIENTS.values()), base_dir=str(ROOT), save_git_info=False)
logging.getLogger("odenet.sacred").setLevel(logging.ERROR)  # it warns of types, which Config has checked
logging.getLogger("odenet.sacred.classification").setLevel(logging.WARNING)
ex.logger = logging.getLogger("odenet.sacred")  # type: ignore[assignment]  # annotated as None there
logging.getLogger("odenet.sacred.classification").addFilter(
    lambda said: not said.getMessage().startswith(("Failed after", "Aborted after"))  # the command says it, and why
)
ex.add_config(seed=Config().seed)
for name, values in NAMED_CONFIGS.items():
    ex.add_named_config(name, values)


class Pruned(SacredInterrupt):
    """A run that its sweep ends early, because others do better after as many epochs."""

    STATUS = "PRUNED"


class RefusedRun(SacredError):
    """What cannot be run, as Sacred's own command line prints it: one sentence, no traceback."""


@ex.config_hook
def check(config: Mapping[str, Any], command_name: str, logger: logging.Logger) -> dict[str, Any]:  # noqa: ARG001
    """Load the data and build the network once before a run is entered anywhere: what cannot be leaves no trace."""
    try:
        parsed = Config.from_dict(config)
        choose_device(parsed.training)
        with naming_lack_of_memory():
            splits = load_splits(parsed.data, parsed.seed, torch.device("cpu"))
            describe(parsed, build_preprocessing(parsed.data, image_shape(splits)).output_shape, len(splits.classes))
    except OdenetError as error:
        raise RefusedRun(str(error), print_traceback=False) from error  # type: ignore[no-untyped-call]
    return {}


@INGREDIENTS["data"].capture
def load(_config: Mapping[str, Any], seed: int, device: torch.device) -> tuple[Splits, Preprocessing]:
    """The splits on `device`, and what turns their images into the network's input."""
    config = DataConfig(**_config)
    splits = load_splits(config, seed, device)
    return splits, build_preprocessing(config, image_shape(splits))


@INGREDIENTS["model"].capture
def build(_config: Mapping[str, Any], config: Config, preprocessing: Preprocessing, classes: int) -> Network:
    """The network with its first weights, which the seed decides."""
    torch.manual_seed(config.seed)
    return build_model(ModelConfig(**_config), config.solver, preprocessing.output_shape, classes)


@INGREDIENTS["training"].capture
def train(
    _config: Mapping[str, Any],
    network: Network,
    splits: Splits,
    preprocessing: Preprocessing,
    seed: int,
    title: str,
    run_log: RunLog,
) -> Fitted:
    """Fit and record; what a training had reached is recorded too when it is broken off."""
    config = TrainingConfig(**_config)
    checkpoint = run_log.folder / "checkpoint.pt"
    resumes = run_log.is_resuming and checkpoint.exists()  # otherwise it was broken off in its first epoch
    if resumes:
        record_earlier_epochs(run_log, checkpoint)
    reporter = RunReporter(run_log, number_of_batches(splits.train, config.batch_size), config.max_epochs)
    try:
        fitted = fit(
            network,
            splits.train,
            splits.validation,
            preprocessing,
            config,
            seed,
            reporter,
            checkpoint,
            resume=resumes,
        )
    except BaseException as error:
        if isinstance(error, SolverFailure):
            run_log.update_info({"solver_failure": error.to_dict()})
        record_unfinished_training(run_log, checkpoint, title)
        raise
    finally:
        reporter.close()
    record_training(run_log, fitted, network.state_dict(), title)
    return fitted


@INGREDIENTS["evaluation"].capture
def evaluate(_config: Mapping[str, Any], network: Network, images: Images, preprocessing: Preprocessing) -> Predictions:
    """The class probabilities of every test image."""
    config = EvaluationConfig(**_config)
    with progress_bar("test", len(images)) as progress:
        return predict(network, images, preprocessing, config.batch_size, progress)


@ex.main
def classification(_config: Mapping[str, Any], _run: Run) -> float:
    """Train on the training split, choose by the validation split, score once on the test split: its accuracy."""
    config = Config.from_dict(_config)
    run_log = RunLog(_run)
    device = choose_device(config.training)
    title = run_title(config)
    with recording_failure(run_log), recording_warnings(run_log), naming_lack_of_memory():
        splits, preprocessing = load(seed=config.seed, device=device)
        run_log.update_info(facts(config, splits, preprocessing, device))
        warn_of_unused_settings(config)
        network = build(config=config, preprocessing=preprocessing, classes=len(splits.classes)).to(device)
        train(
            network=network, splits=splits, preprocessing=preprocessing, seed=config.seed, title=title, run_log=run_log
        )
        with numerics(config.training, device):
            predictions = evaluate(network=network, images=splits.test, preprocessing=preprocessing)
    scores = score_predictions(predictions, splits.classes)
    record_evaluation(run_log, scores, predictions, splits.test, trained_setting(config), title)
    return scores.accuracy


@contextmanager
def recording_failure(run_log: RunLog) -> Iterator[None]:
    """The kind of an error within, and its sentence, in the run's info: for the sweep that the run may be of."""
    try:
        yield
    except SacredInterrupt:
        raise
    except Exception as error:
        run_log.update_info({"failure": {"reason": failure_reason(error), "message": describe_failure(error)}})
        raise


@contextmanager
def recording_warnings(run_log: RunLog) -> Iterator[None]:
    """The sentences of what is warned of within, in the run's info."""
    sentences: list[str] = []

    def note(sentence: str) -> None:
        sentences.append(sentence)
        run_log.update_info({"warnings": sentences})

    with noting_warnings(note):
        yield


def image_shape(splits: Splits) -> tuple[int, int, int]:
    """(channels, height, width) of the images as they are stored."""
    channels, height, width = splits.train.pixels.shape[1:]
    return channels, height, width


def facts(config: Config, splits: Splits, preprocessing: Preprocessing, device: torch.device) -> dict[str, Any]:
    """What is known of a run before it trains."""
    description = describe(config, preprocessing.output_shape, len(splits.classes)).to_dict()
    return {
        "device": str(device),
        "data": {
            "sha256": splits.fingerprint,
            "classes": list(splits.classes),
            "image_shape": list(preprocessing.output_shape),
            "training_images": len(splits.train),
            "validation_images": len(splits.validation),
            "test_images": len(splits.test),
        },
        "parameters": description["parameters"],
        "multiply_adds": description["multiply_adds"],
    }


@dataclass(frozen=True, kw_only=True)
class Outcome(EndedRun):
    """How a run ended."""

    metrics: Mapping[str, Mapping[str, list[Any]]]
    """Metric -> its steps and values."""

    def to_dict(self) -> dict[str, Any]:
        """What `odenet run --json` prints."""
        return {
            "run_id": self.run_id,
            "status": self.status,
            "result": self.document["result"],
            "metrics": self.metrics,
            "error": self.error,
        }


def run_tracked(
    names: Sequence[str],
    updates: Mapping[str, Any],
    info: Mapping[str, Any] | None = None,
    watcher: Watcher | None = None,
) -> Outcome:
    """Run the experiment with named configurations and updates over them, tracked in the store.

    Args:
        info: first entries of the run's info, as `{"rerun_of": 3}`.

    Raises:
        OdenetError: the run could not begin: its configuration, its data or the store.
    """
    # Merged here: Sacred looks for files of the configurations' names first, and unpickles what it finds.
    config = resolve(names, updates)
    return _observe(StoreObserver(home(), info=info, watcher=watcher), config, {"named_configs": list(names)})


def resume_tracked(run: StoredRun, config: Config, watcher: Watcher | None = None) -> Outcome:
    """Go on with a run, from its checkpoint on this machine if it has one, under its id and with `config`.

    Raises:
        OdenetError: it could not begin: its data or the store.
    """
    return _observe(StoreObserver(home(), resumed=run.document, watcher=watcher), config.to_dict(), {})


def _observe(observer: StoreObserver, config: Mapping[str, Any], meta_info: Mapping[str, Any]) -> Outcome:
    Config.from_dict(config)
    ex.observers = [observer]
    error = None
    try:
        # Forced: Sacred's own check of added keys ends below captured dictionaries; ours knows every key.
        with terminable():
            ex.run(config_updates=dict(config), options={"--force": True}, meta_info=dict(meta_info))
    except RefusedRun as refused:
        raise (refused.__cause__ or refused) from None
    except FAILURES as ended:
        if not observer.has_started:
            raise
        error = describe_failure(ended)
    return Outcome(document=observer.record.document, metrics=observer.record.metrics(), error=error)


FAILURES = (OdenetError, OSError, KeyboardInterrupt, SacredInterrupt)
"""What may end a run and is told without a traceback."""


def failure_reason(error: Exception) -> str:
    """The kind of failure: one of `pipeline.sweeps.state.FAILURES`."""
    match error:
        case SolverFailure():
            return str(error.status)
        case LossDiverged():
            return "loss_diverged"
        case OutOfMemory():
            return "out_of_memory"
        case _:
            return "failed"


def describe_failure(error: BaseException) -> str:
    """What ended a run, in one sentence with its remedy."""
    match error:
        case Pruned():
            return "its sweep ended it early: others did better after as many epochs"
        case KeyboardInterrupt() | SacredInterrupt():
            return "interrupted; everything up to its last whole epoch is kept"
        case OSError(errno=errno.ENOSPC):
            return f"the disk is full ({error.filename or home()}): make room or set ODENET_HOME to another disk"
        case _:
            return str(error)


def main() -> int:
    """Sacred's own command line for the experiment, tracked likewise; its exit status."""
    ex.observers = [StoreObserver(home())]
    try:
        with terminable(), warnings_in_a_line():
            ex.run_commandline([sys.argv[0], "--debug", *sys.argv[1:]])  # hand failures on, rather than trace them
    except SacredError as refused:
        return fail(str(refused), InvalidInput.exit_status)
    except FAILURES as ended:
        status = INTERRUPTED if isinstance(ended, KeyboardInterrupt) else getattr(ended, "exit_status", 1)
        return fail(describe_failure(ended), status)
    return 0


if __name__ == "__main__":
    sys.exit(main())
