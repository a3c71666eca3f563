"""What a trained density says of rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.data.points import Rows
from pipeline.data.tabular import ENDINGS, find_table, order_by_name, read_table, refuse_no_numbers, write_table
from pipeline.reporting.text_table import shown
from pipeline.tasks.density import evaluation
from pipeline.tasks.density.points import find_source, resized
from pipeline.tasks.density.task import Density
from pipeline.tasks.density.trained import TrainedModel
from pipeline.util.array_types import FloatArray
from pipeline.util.errors import InvalidInput


@dataclass(frozen=True, eq=False)
class Answered:
    """Log-densities of rows in nats, shape (n,), in the units of the rows.

    Attributes:
        data: the name of the rows.
        shift: what a hundredth of the tolerances adds to the mean of -log p.
        log_scale: what was taken from each for the units of the columns.
        is_test: whether they are test rows, and not all of a table.
        sha256: of the data of the training as they are now, where the rows are of them.
    """

    data: str
    log_prob: FloatArray
    shift: float
    log_scale: float
    evaluations: int | None
    is_test: bool
    sha256: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """What `odenet logprob --json` prints."""
        return {
            "data": self.data,
            "rows": len(self.log_prob),
            "split": "test" if self.is_test else None,
            "nll": self.nll,
            "nll_se": self.standard_error,
            "nll_shift": self.shift,
            "log_scale": self.log_scale,
            "nfe": self.evaluations,
            "log_prob": self.log_prob.tolist(),
        }

    @property
    def nll(self) -> float:
        """Mean of -log p."""
        return -float(self.log_prob.mean())

    @property
    def standard_error(self) -> float | None:
        """Of that mean; None of a single row, which does not tell."""
        return float(self.log_prob.std(ddof=1) / len(self.log_prob) ** 0.5) if len(self.log_prob) > 1 else None

    def text(self) -> str:
        """The same in a sentence."""
        lowest, highest = self.log_prob.min(), self.log_prob.max()
        return (
            f"the {len(self.log_prob):,} {'test ' if self.is_test else ''}rows of {self.data}: NLL {self.nll:.4f} ± "
            f"{shown(self.standard_error, '.4f')} nats, log p from {lowest:.2f} to {highest:.2f}; a hundredth of the "
            f"tolerances adds {self.shift:+.1e} to the NLL"
        )

    def write(self, path: Path) -> None:
        """As an `.npz` with `log_prob`, or a `.csv`.

        Raises:
            OdenetError: the file cannot be written.
        """
        write_table(path, self.log_prob[:, None], key="log_prob")


def answer_rows(model: TrainedModel, name: str | None) -> Answered:
    """The log-densities of all rows of a table that is not split, otherwise of the test rows.

    Args:
        name: a table, or a known data set; without it the data of the training, whose test points are those that the
            run was tested on, with the same noise.

    Raises:
        InvalidInput: the rows do not fit the density.
        DataError: they cannot be read.
    """
    own = model.config.data.name
    if name is None or (name == own and not name.endswith(ENDINGS)):
        return _answer_test(model)
    rows, columns, is_test = _rows(model, name)
    if rows.ndim != 2 or rows.shape[1] != model.preprocessing.dimension:
        raise InvalidInput(
            f"{name} has {rows.shape[1]} columns, but the density is of {model.preprocessing.dimension}: choose rows "
            "with as many"
        )
    rows = rows[:, order_by_name(name, columns, model.preprocessing.columns)]
    values = model.log_prob(rows)
    return Answered(name, values, model.shift(rows), model.preprocessing.log_scale, model.evaluations, is_test)


def _answer_test(model: TrainedModel) -> Answered:
    task, config, log_scale = Density(), model.config, model.preprocessing.log_scale
    data = task.limited(task.evaluation_data(model, None), config.evaluation.subset)
    data = data.to(next(model.network.parameters()).device)
    values = task.predict(model.network, config, data, lambda _: None).log_prob - log_scale
    shift = evaluation.shift(model.network, data.test[: evaluation.CHECKED])
    return Answered(config.data.name, values, shift, log_scale, model.evaluations, True, data.sha256)


def _rows(model: TrainedModel, name: str) -> tuple[FloatArray, tuple[str, ...], bool]:
    """They, the names of their columns, where they have names, and whether they are test rows alone."""
    if name.endswith(ENDINGS):
        table = read_table(find_table(name))
        rows = table.rows if table.test is None else table.test
        refuse_no_numbers(name, rows, table.columns)
        return rows, table.columns, table.test is not None
    source = find_source(name, {})
    if not isinstance(source, Rows):
        raise InvalidInput(f"{name} has no rows: name a table, or a data set with rows")
    dequantisation = model.preprocessing.dequantisation
    if source.levels and dequantisation is not None and source.levels != dequantisation.levels:
        raise InvalidInput(
            f"{name} has {source.levels} levels of brightness, and the density is of {dequantisation.levels}: "
            "choose images with as many"
        )
    return resized(source, model.config.data.image_size).test, tuple(source.columns), True
