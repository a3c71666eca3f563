"""What a trained density says of rows."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.data.points import Rows
from pipeline.data.tabular import ENDINGS, find_table, order_by_name, read_table, refuse_no_numbers, write_table
from pipeline.tasks.density.points import VALIDATION, find_source, load_points, resized
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
    """

    data: str
    log_prob: FloatArray
    shift: float
    log_scale: float
    evaluations: int | None

    def to_dict(self) -> dict[str, Any]:
        """What `odenet logprob --json` prints."""
        return {
            "data": self.data,
            "rows": len(self.log_prob),
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
    def standard_error(self) -> float:
        """Of that mean."""
        return float(self.log_prob.std(ddof=1) / len(self.log_prob) ** 0.5) if len(self.log_prob) > 1 else 0.0

    def text(self) -> str:
        """The same in a sentence."""
        lowest, highest = self.log_prob.min(), self.log_prob.max()
        return (
            f"{len(self.log_prob):,} rows of {self.data}: NLL {self.nll:.4f} ± {self.standard_error:.4f} nats, log p "
            f"from {lowest:.2f} to {highest:.2f}; a hundredth of the tolerances adds {self.shift:+.1e} to the NLL"
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
        name: a table, or a known data set; without it that of the training.

    Raises:
        InvalidInput: the rows do not fit the density.
        DataError: they cannot be read.
    """
    chosen = name or model.config.data.name
    rows, columns = _rows(model, chosen)
    if rows.ndim != 2 or rows.shape[1] != model.preprocessing.dimension:
        raise InvalidInput(
            f"{chosen} has {rows.shape[1]} columns, but the density is of {model.preprocessing.dimension}: choose rows "
            "with as many"
        )
    rows = rows[:, order_by_name(chosen, columns, model.preprocessing.columns)]
    values = model.log_prob(rows)
    return Answered(chosen, values, model.shift(rows), model.preprocessing.log_scale, model.evaluations)


def _rows(model: TrainedModel, name: str) -> tuple[FloatArray, tuple[str, ...]]:
    """They, and the names of their columns, where they have names."""
    if name.endswith(ENDINGS):
        table = read_table(find_table(name))
        rows = table.rows if table.test is None else table.test
        refuse_no_numbers(name, rows, table.columns)
        return rows, table.columns
    config = model.config.data
    source = find_source(name, config.options if name == config.name else {})
    if isinstance(source, Rows):
        dequantisation = model.preprocessing.dequantisation
        if source.levels and dequantisation is not None and source.levels != dequantisation.levels:
            raise InvalidInput(
                f"{name} has {source.levels} levels of brightness, and the density is of {dequantisation.levels}: "
                "choose images with as many"
            )
        return resized(source, config.image_size).test, tuple(source.columns)
    points = load_points(config, model.config.seed) if name == config.name else None
    if points is None:
        raise InvalidInput(f"{name} has no rows: name a table, or a data set with rows")
    return points.test[:VALIDATION].numpy(), ()
