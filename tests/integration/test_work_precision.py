"""The work-precision benchmark: its table and its figure, for few problems and tolerances."""

import re
from pathlib import Path

import pytest

from benchmarks import work_precision


def test_every_method_has_a_row_with_smaller_errors_for_more_evaluations(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "figure.png"
    problems = [part for name in ("A3", "E1") for part in ("--problem", name)]
    work_precision.main(["--output", str(file), *problems, "--tolerances", "1e-5", "1e-3"])
    assert file.read_bytes().startswith(b"\x89PNG")
    printed = capsys.readouterr().out
    assert "| evaluations: error | 1e-03 | 1e-05 |" in printed
    for name in ("odenet dopri5", "odenet tsit5", "odenet bosh3", "torchdiffeq dopri8", "SciPy DOP853"):
        (row,) = (line for line in printed.splitlines() if line.startswith(f"| {name} |"))
        (few, large), (many, small) = ((int(n), float(e)) for n, e in re.findall(r"(\d+): (\S+)", row))
        assert few < many
        assert small < large


def test_evaluations_for_an_error_lie_between_those_of_the_points_around_it() -> None:
    points = {1e-3: work_precision.Point(100, 1e-2), 1e-5: work_precision.Point(400, 1e-6)}
    assert work_precision.evaluations_for(points, 1e-4) == pytest.approx(200)
    assert work_precision.evaluations_for(points, 1e-7) is None
