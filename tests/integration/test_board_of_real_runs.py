"""The dashboard on two runs that were really trained: what a person finds of them."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from matplotlib.image import imread

from pipeline.dashboard.board import Board, prepare_dashboard
from pipeline.runs.query import Runs
from pipeline.tracking.embedded import EmbeddedStore
from pipeline.tracking.store import connect
from tests.helpers import browser
from tests.helpers.two_runs import TwoRuns

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(browser.missing()), reason=f"not installed: {', '.join(browser.missing())}"),
]


@pytest.fixture
def board(two_runs: TwoRuns) -> Iterator[Board]:
    """A dashboard on the store of the two runs."""
    address = EmbeddedStore(two_runs.home).start()
    prepare_dashboard(connect(address))
    with Board(address, port=9250) as running:
        yield running


def test_two_real_runs_are_listed_and_one_shows_its_plot_and_its_confusion_matrix(
    board: Board, two_runs: TwoRuns, tmp_path: Path
) -> None:
    runs = Runs(connect(EmbeddedStore(two_runs.home).start()))
    with browser.logged_in_page(board, tmp_path / "profile") as page:
        browser.show_columns(page, "Parameters", "Validation Accuracy", "Nfe Forward", "Epoch Seconds")
        for run_id, body in ((1, "ODE-Net"), (2, "ResNet")):
            shown, run = browser.row_of(page, run_id), runs.get(run_id)
            assert (shown["Kind"], shown["Status"], shown["Data"]) == ("training", "COMPLETED", "digits")
            assert shown["Model"] == f"simple {body}"
            assert float(shown["Accuracy"]) == pytest.approx(run.result, abs=1e-4)
            assert float(shown["Learning Rate"]) == run.config["training"]["lr"]
            assert int(shown["Parameters"].replace(",", "")) == run.info["parameters"]["total"]
            best = run.metrics()["validation.accuracy"].max()
            assert float(shown["Validation Accuracy"]) == pytest.approx(best, abs=1e-3)
            assert float(shown["Epoch Seconds"]) > 0
            assert shown["Nfe Forward"] == ("1" if body == "ODE-Net" else "")
        page.save_screenshot(str(tmp_path / "list.png"))

        browser.open_run(page, 1)
        browser.wait_for(page, "//*[name()='svg']//*[text()='validation.loss']")
        line = browser.wait_for(page, "//*[name()='g'][contains(@class,'scatterlayer')]//*[name()='path']")
        assert line.size["width"] > 100
        page.save_screenshot(str(tmp_path / "run.png"))

        browser.wait_for(page, "//a[text()='Artifacts']").click()
        browser.wait_for(page, "//h5[contains(.,'confusion_matrix.png')]").click()
        image = browser.wait_for(page, "//img[contains(@src,'confusion_matrix.png')]")
        width = page.execute_script("return arguments[0].decode().then(() => arguments[0].naturalWidth)", image)
        (tmp_path / "confusion_matrix.png").write_bytes(runs.get(1).artifact("confusion_matrix.png"))
        assert width == imread(tmp_path / "confusion_matrix.png").shape[1]
        page.execute_script("arguments[0].scrollIntoView()", image)
        page.save_screenshot(str(tmp_path / "artifact.png"))

        browser.wait_for(page, "//a[text()='Source Files']").click()
        assert browser.wait_for(page, "//h5[contains(.,'experiments/demo.py')]")
        page.save_screenshot(str(tmp_path / "sources.png"))
