"""Models by name: a name stands for a run and the very weights that it had when it was promoted.

`pipeline.runs.load_model.load_model` builds the network of a name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pymongo.database import Database

from pipeline.config import nearest
from pipeline.reporting.metric_spec import MetricSpec
from pipeline.runs.query import StoredRun
from pipeline.tracking.readable import is_metric
from pipeline.tracking.run_document import RunStatus, metric_entry, read_metric, result_spec
from pipeline.tracking.store import translate_store_errors
from pipeline.util.errors import InvalidInput, OdenetError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class ModelNotFound(InvalidInput):
    """No model has this name."""


class PromotionError(OdenetError):
    """A promoted model that is not what it was when it was promoted."""


@dataclass(frozen=True)
class Promotion:
    """What a name stands for, or has stood for."""

    run_id: int
    sha256: str
    """Of the weights' file."""
    result: float | None
    """Of the run, when it was promoted."""
    metric: MetricSpec
    """What that is."""
    promoted_at: datetime
    """UTC."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, the result by its own name, as `accuracy`."""
        own = {"run_id": self.run_id, "sha256": self.sha256, "promoted_at": self.promoted_at}
        return own | {self.metric.quantity: self.result}


@dataclass(frozen=True)
class Model:
    """A name with its promotions, the latest last."""

    name: str
    history: tuple[Promotion, ...]

    @property
    def current(self) -> Promotion:
        return self.history[-1]


def promote(run: StoredRun, name: str) -> Model:
    """Give the run's weights a name; a name that is in use moves here and remembers where it was.

    Raises:
        InvalidInput: the name has other signs than letters, digits, `.`, `_` and `-`, or the run still goes on.
        ArtifactError: the run has no weights, or they are not those that it recorded.
    """
    if not _NAME.fullmatch(name):
        raise InvalidInput(f"{name!r} cannot name a model: use letters, digits, `.`, `_` and `-`, as in best-digits")
    if name.isdecimal():
        raise InvalidInput(f"{name} cannot name a model, as it is the number of a run: use a letter at least")
    if run.status is RunStatus.RUNNING:
        raise InvalidInput(f"run {run.run_id} is still running: promote it when it has ended")
    run.weights()  # verifies them
    promotion = {
        "run_id": run.run_id,
        "sha256": run.facts.weights_sha256,
        "result": run.result,
        "metric": metric_entry(result_spec(run.document)),
        "promoted_at": datetime.now(UTC),
    }
    with translate_store_errors():
        run.database.models.update_one({"_id": name}, {"$push": {"history": promotion}}, upsert=True)
    return get_model(name, run.database)


def demote(name: str, database: Database[dict[str, Any]]) -> None:
    """Give a name up, with its history; the runs stay.

    Raises:
        ModelNotFound: no model has this name.
    """
    get_model(name, database)
    with translate_store_errors():
        database.models.delete_one({"_id": name})


def list_models(database: Database[dict[str, Any]]) -> list[Model]:
    """Every model, by name."""
    with translate_store_errors():
        return [_model(document) for document in database.models.find().sort("_id") if is_model(document)]


def get_model(name: str, database: Database[dict[str, Any]]) -> Model:
    """One model.

    Raises:
        ModelNotFound: no model has this name.
    """
    with translate_store_errors():
        document = database.models.find_one({"_id": name})
    if document is None or not is_model(document):
        names = [model.name for model in list_models(database)]
        raise ModelNotFound(
            f"there is no model {name}{nearest(name, names)}; `odenet models` lists those there are, "
            "and `odenet promote ID NAME` adds one"
        )
    return _model(document)


def is_model(document: Mapping[str, Any]) -> bool:
    """Whether a document of the collection, which may be another program's, too, is of a name with its promotions."""
    history = document.get("history")
    is_history = isinstance(history, list) and bool(history) and all(map(_is_promotion, history))
    return is_history and isinstance(document["_id"], str)


def _is_promotion(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and "run_id" in value
        and isinstance(value.get("sha256"), str)
        and isinstance(value.get("promoted_at"), datetime)
        and isinstance(value.get("result", value.get("accuracy")), int | float | None)
        and ("metric" not in value or is_metric(value["metric"]))
    )


def names_of(run_id: int, database: Database[dict[str, Any]]) -> list[str]:
    """The names that stand for a run now."""
    return [model.name for model in list_models(database) if model.current.run_id == run_id]


def _model(document: Mapping[str, Any]) -> Model:
    return Model(document["_id"], tuple(map(_promotion, document["history"])))


def _promotion(stored: Mapping[str, Any]) -> Promotion:
    """Format 1 calls the result `accuracy`, and knows no other."""
    metric = read_metric(stored["metric"]) if "metric" in stored else result_spec({})
    result = stored.get("result", stored.get("accuracy"))
    return Promotion(stored["run_id"], stored["sha256"], result, metric, stored["promoted_at"])
