"""`odenet report`: one page of any runs, as a person meets it in a real browser without a network."""

import contextlib
import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.support.select import Select

from odenet.main import main
from pipeline.runs.report.scripts import own_script
from tests.helpers import browser
from tests.helpers.browser import headless, resize
from tests.helpers.pages import run_example
from tests.helpers.paths import ROOT
from tests.helpers.records import document_of
from tests.helpers.report_runs import described, run_of_settings, series, store_runs
from tests.helpers.sweep_samples import sample_ledger, sweep_document
from tests.helpers.waiting import wait_until

Store = Database[dict[str, Any]]
NO_BROWSER = [name for name in ("chromium", "chromedriver") if name in browser.missing()]
in_a_browser = pytest.mark.skipif(bool(NO_BROWSER), reason=f"needs {' and '.join(NO_BROWSER)}")
MARKUP = "<b>bold</b> <a href='https://example.org'>go</a>"
HOSTILE = "</script><script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\"> <b>$x$</b>"


def write(page: Path, *words: str) -> Path:
    assert main(["report", *words, "--out", str(page)]) == 0
    return page


@contextlib.contextmanager
def opened(page: Path, *switches: str, width: int = 1280) -> Iterator[Chrome]:
    """The page, drawn, in a browser that is offline and has seen no error."""
    with headless(page.parent / "profile", *switches) as driver:
        driver.execute_cdp_cmd("Network.enable", {})
        offline = {"offline": True, "latency": 0, "downloadThroughput": 0, "uploadThroughput": 0}
        driver.execute_cdp_cmd("Network.emulateNetworkConditions", offline)
        resize(driver, width, 900)
        driver.get(page.as_uri())
        wait_until(lambda: driver.execute_script("return document.body.dataset.isDrawn") or failure(driver))
        assert failure(driver) == ""
        yield driver
        assert driver.execute_script("return performance.getEntriesByType('resource').map(one => one.name)") == []
        logged = driver.get_log("browser")
        assert [one["message"] for one in logged if one["level"] == "SEVERE"] == []


def failure(driver: Chrome) -> str:
    return str(driver.execute_script("return document.getElementById('failure').textContent"))


def text(driver: Chrome, element: str) -> str:
    return str(driver.execute_script("return document.getElementById(arguments[0]).textContent", element))


def traces(driver: Chrome, chart: str) -> list[dict[str, Any]]:
    """What the chart draws."""
    keys = "({name, mode, x, y, customdata, selectedpoints}) => ({name, mode, x, y, customdata, selectedpoints})"
    found: list[dict[str, Any]] = driver.execute_script(
        f"return document.getElementById(arguments[0]).data.map({keys})", chart
    )
    return found


def listed(driver: Chrome) -> list[int]:
    """The runs of the table, from its first line."""
    script = "return [...document.querySelectorAll('#rows tr')].map(line => Number(line.children[1].textContent))"
    return list(driver.execute_script(script))


def drawn_runs(driver: Chrome, runs: Sequence[int]) -> list[int]:
    """The ids of the runs whose curves are drawn; `runs` are the page's, in its order."""
    return sorted({runs[place] for trace in traces(driver, "curves-chart") for place in trace["customdata"]})


def drag(driver: Chrome, start: tuple[float, float], end: tuple[float, float]) -> None:
    """With the mouse, between two places of the window."""
    chain = ActionChains(driver, duration=100)
    chain.w3c_actions.pointer_action.move_to_location(int(start[0]), int(start[1]))
    chain.w3c_actions.pointer_action.pointer_down()
    chain.w3c_actions.pointer_action.move_to_location(int((start[0] + end[0]) / 2), int((start[1] + end[1]) / 2))
    chain.w3c_actions.pointer_action.move_to_location(int(end[0]), int(end[1]))
    chain.w3c_actions.pointer_action.pointer_up()
    chain.perform()


def place_in(driver: Chrome, chart: str, x: float, y: float) -> tuple[float, float]:
    """Where a point of a chart is in the window, once the chart is in its middle."""
    script = """
        const chart = document.getElementById(arguments[0]), {xaxis, yaxis} = chart._fullLayout;
        chart.scrollIntoView({block: 'center', behavior: 'instant'});
        const box = chart.getBoundingClientRect();
        return [box.left + xaxis._offset + xaxis.d2p(arguments[1]), box.top + yaxis._offset + yaxis.d2p(arguments[2])];
    """
    left, top = driver.execute_script(script, chart, x, y)
    return left, top


def choose(driver: Chrome, element: str, value: str) -> None:
    Select(driver.find_element(By.ID, element)).select_by_value(value)


@pytest.fixture
def six(database: Store) -> dict[int, tuple[float, float]]:
    """Six runs in the store, by id with accuracy and evaluations; 2, 4 and 5 are on the Pareto front."""
    points = {1: (0.80, 20.0), 2: (0.70, 5.0), 3: (0.85, 40.0), 4: (0.90, 10.0), 5: (0.95, 30.0), 6: (0.90, 30.0)}
    for run_id, (accuracy, evaluations) in points.items():
        document = run_of_settings(run_id, 10.0**-run_id, 8 * run_id, "adam" if run_id % 2 else "sgd")
        document["info"]["test"] |= {"accuracy": accuracy, "loss": 1 - accuracy}
        database.runs.insert_one(document | {"result": accuracy})
        database.metrics.insert_many(
            [
                series(run_id, "validation.loss", [run_id + 1 / epoch for epoch in range(1, 6)]),
                series(run_id, "training.loss", [1.0, 0.0, 1.0, 0.0]),
                series(run_id, "solver.nfe_forward", [evaluations] * 5),
            ]
        )
    return points


# The command


def test_the_page_is_one_file_with_nothing_of_a_network(
    six: dict[int, tuple[float, float]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = write(tmp_path / "report.html")
    said = capsys.readouterr().out
    assert re.fullmatch(rf"{len(six)} runs in {re.escape(str(page))} \(2\.\d MB\)\n", said)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    content = page.read_text()
    assert "default-src &#39;none&#39;; script-src &#39;sha256-" in content
    assert "unsafe-inline&#39;; img-src" in content, "styles alone may stand anywhere"
    assert re.findall(r'(?:src|href)="', content) == []


def test_runs_are_named_by_ids_or_found_by_filters(
    six: dict[int, tuple[float, float]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(six) == 6
    for words, number in ((("3", "1", "3"), 2), (("lr<1e-3",), 3), (("--limit", "4"), 4), ((), 6)):
        page = write(tmp_path / "page.html", *words)
        assert capsys.readouterr().out.startswith(f"{number} runs in ")
        is_cut = "--limit" in words
        assert ("There are more runs; these are the newest 4." in page.read_text()) is is_cut


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("accuracy>2",), "no run matches accuracy>2; there are 6 runs in the store"),
        (("data=digit",), "no run has data='digit', and there is data=digits"),
        (("training.lrr<1",), "no run has a field training.lrr (did you mean"),
        (("9",), "there is no run 9;"),
        (("3", "lr<1"), "3 names a run and lr<1 looks for runs: give one of the two"),
        (("3", "--sweep", "4"), "3 names a run and --sweep looks for runs: give one of the two"),
        (("--sweep", "3"), "run 3 is no sweep"),
        (("--board", "javascript:alert(1)"), "--board wants the address that `odenet board` shows"),
    ],
)
def test_what_cannot_be_reported_is_told_in_one_sentence_and_leaves_no_file(
    words: tuple[str, ...],
    sentence: str,
    six: dict[int, tuple[float, float]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert len(six) == 6
    assert main(["report", *words, "--out", str(tmp_path / "page.html")]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert said.err.startswith(f"odenet: {sentence}")
    assert list(tmp_path.iterdir()) == []


def test_our_script_can_stand_in_html() -> None:
    assert "</script" not in own_script()
    assert "<!--" not in own_script()


# What a person does


@pytest.mark.browser
@in_a_browser
def test_a_person_brushes_hovers_and_smooths_without_a_network(
    six: dict[int, tuple[float, float]], tmp_path: Path
) -> None:
    page = write(tmp_path / "report.html", "--board", "http://127.0.0.1:9000/sacred")
    order = sorted(six, reverse=True)
    with opened(page) as driver:
        _sees_all(driver, order)
        _sees_the_front(driver)
        _brushes_the_scatter(driver, six, order)
        _brushes_the_axes(driver, order)
        _brushes_both(driver, order)
        _ticks_runs(driver, order)
        _hovers(driver)
        _smooths(driver)


@pytest.mark.browser
@in_a_browser
def test_a_page_of_several_runs_is_no_wider_than_a_telephone(
    six: dict[int, tuple[float, float]], tmp_path: Path
) -> None:
    page = write(tmp_path / "report.html")
    with opened(page) as driver:
        telephone = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", telephone)
        driver.refresh()
        wait_until(lambda: len(listed(driver)) == len(six))
        assert driver.execute_script("return document.documentElement.scrollWidth") <= 390
        chart = "document.getElementById('parallel-chart')"
        width, axes = driver.execute_script(f"return [{chart}.clientWidth, {chart}.data[0].dimensions.length]")
        assert width >= 90 * axes, "axes have room for their names, and scroll"


def _sees_all(driver: Chrome, order: list[int]) -> None:
    assert driver.execute_script("return document.documentElement.scrollWidth") <= 1280
    assert listed(driver) == order
    assert text(driver, "selected") == "All 6 runs"
    assert drawn_runs(driver, order) == sorted(order)
    headings = [heading.text for heading in driver.find_elements(By.CSS_SELECTOR, "#headings th")][1:]
    results = ["accuracy", "loss", "params", "NFE", "epochs", "s/epoch"]
    assert headings == ["run", "status", "model", "data", *results, "took", "started (UTC)"]
    link = driver.find_element(By.CSS_SELECTOR, "#rows a")
    assert link.get_attribute("href") == (
        "http://127.0.0.1:9000/sacred?showDrillDownRunModal=true&runIdToExpand=6"
    )  # fmt: skip
    driver.find_element(By.XPATH, "//*[@id='headings']/th[.='accuracy']").click()
    assert listed(driver)[0] == 5
    for expected in (sorted(order), order):
        driver.find_element(By.XPATH, "//*[@id='headings']/th[starts-with(.,'run')]").click()
        assert listed(driver) == expected
    assert text(driver, "importance-says").startswith("6 runs with a result: too few to tell which setting matters")


def _sees_the_front(driver: Chrome) -> None:
    assert "On the Pareto front: 2, 4, 5." in text(driver, "tradeoff-note")
    front = next(trace for trace in traces(driver, "tradeoff-chart") if trace["name"] == "Pareto front")
    assert list(zip(front["x"], front["y"], strict=True)) == [(5, 0.7), (10, 0.9), (30, 0.95)]
    choose(driver, "tradeoff-x", "model.channels")
    assert "Pareto" not in text(driver, "tradeoff-note"), "nobody says which number of channels is better"
    choose(driver, "tradeoff-x", "test.loss")
    assert "On the Pareto front: 5." in text(driver, "tradeoff-note"), "it is the best in both"
    choose(driver, "tradeoff-x", "last solver.nfe_forward")


def _brushes_the_scatter(driver: Chrome, six: dict[int, tuple[float, float]], order: list[int]) -> None:
    wanted = [run_id for run_id in order if six[run_id][0] > 0.82 and six[run_id][1] < 35]
    start, end = (place_in(driver, "tradeoff-chart", *point) for point in ((7, 0.82), (35, 0.97)))
    drag(driver, start, end)
    wait_until(lambda: listed(driver) == wanted, seconds=20, told=f"{listed(driver)}, not {wanted}")
    assert text(driver, "selected") == "3 of 6 runs"
    assert drawn_runs(driver, order) == sorted(wanted)
    others = traces(driver, "scatter-chart")
    strong = [trace["customdata"][point] for trace in others for point in trace["selectedpoints"] or []]
    assert sorted(order[place] for place in strong) == sorted(wanted), "the other scatter shows the same runs"
    driver.find_element(By.ID, "clear").click()
    assert listed(driver) == order
    assert drawn_runs(driver, order) == sorted(order)


def _brushes_the_axes(driver: Chrome, order: list[int]) -> None:
    """Along the axis of the learning rate, from its upper end to its middle: 0.1 to 10^-3.5."""
    names = driver.execute_script(
        "return document.getElementById('parallel-chart').data[0].dimensions.map(d => d.name)"
    )
    assert names[-2:] == ["last solver.nfe_forward", "test.accuracy"]
    _drag_along_the_rate(driver, 0.5)
    wait_until(lambda: listed(driver) == [3, 2, 1], seconds=20, told=f"{listed(driver)}")
    script = "return arguments[0].data[0].dimensions.find(one => one.constraintrange).constraintrange"
    low, high = driver.execute_script(script, driver.find_element(By.ID, "parallel-chart"))
    assert (low, high) == pytest.approx((-3.5, -1), abs=0.05), "as far as the mouse went, and not to the next tick"
    assert drawn_runs(driver, order) == [1, 2, 3]
    front = next(trace for trace in traces(driver, "tradeoff-chart") if trace["name"] == "Pareto front")
    assert front["y"] == [0.7, 0.8, 0.85], "the front is that of the selected runs"
    driver.find_element(By.ID, "clear").click()
    assert listed(driver) == order


def _brushes_both(driver: Chrome, order: list[int]) -> None:
    """The scatter on 4, 5 and 6, then the learning rate on 1 to 4; then a click drops what the scatter has selected."""
    start, end = (place_in(driver, "tradeoff-chart", *point) for point in ((7, 0.88), (35, 0.97)))
    drag(driver, start, end)
    wait_until(lambda: listed(driver) == [6, 5, 4], seconds=20, told=f"{listed(driver)}")
    _drag_along_the_rate(driver, 0.65)
    wait_until(lambda: listed(driver) == [4], seconds=20, told=f"{listed(driver)}")
    choose(driver, "colour", "training.optimiser")
    assert listed(driver) == [4], "a change of colours drops no selection"
    left, top = place_in(driver, "tradeoff-chart", 20, 0.75)
    chain = ActionChains(driver)
    chain.w3c_actions.pointer_action.move_to_location(int(left), int(top))
    chain.w3c_actions.pointer_action.click()
    chain.perform()
    wait_until(lambda: listed(driver) == [4, 3, 2, 1], seconds=20, told=f"{listed(driver)}")
    driver.find_element(By.ID, "clear").click()
    assert listed(driver) == order
    choose(driver, "colour", "each")


def _drag_along_the_rate(driver: Chrome, share: float) -> None:
    """On the axis of the learning rate, from such a share of its height, counted from above, beyond its upper end."""
    driver.execute_script("document.getElementById('parallel-chart').scrollIntoView({block: 'center'})")
    names = driver.execute_script(
        "return document.getElementById('parallel-chart').data[0].dimensions.map(d => d.name)"
    )
    axes = driver.find_elements(By.CSS_SELECTOR, "#parallel-chart .axis-brush .background")
    assert len(axes) == len(names), "the lines are drawn, by WebGL"
    box = axes[names.index("training.lr")].rect
    middle, top = box["x"] + box["width"] / 2, box["y"] - driver.execute_script("return window.scrollY")
    drag(driver, (middle, top + share * box["height"]), (middle, top - 5))


def _ticks_runs(driver: Chrome, order: list[int]) -> None:
    boxes = driver.find_elements(By.CSS_SELECTOR, "#rows input")
    boxes[0].click()
    driver.find_elements(By.CSS_SELECTOR, "#rows input")[2].click()
    assert listed(driver) == order, "the others can still be ticked"
    assert drawn_runs(driver, order) == [4, 6]
    driver.find_element(By.ID, "clear").click()
    assert drawn_runs(driver, order) == sorted(order)


def _hovers(driver: Chrome) -> None:
    place = place_in(driver, "curves-chart", 3, 4 + 1 / 3)
    chain = ActionChains(driver)
    chain.w3c_actions.pointer_action.move_to_location(int(place[0]) - 30, int(place[1]) - 30)
    chain.w3c_actions.pointer_action.move_to_location(int(place[0]), int(place[1]))
    chain.perform()
    shown = wait_until(lambda: driver.find_elements(By.CSS_SELECTOR, "#curves-chart .hovertext"), seconds=20)
    assert "run 4: simple ODE-Net on digits" in shown[0].text
    assert "3: 4.3333" in shown[0].text


def _smooths(driver: Chrome) -> None:
    choose(driver, "metric", "training.loss")
    (raw, *_) = traces(driver, "curves-chart")
    assert raw["y"] == [1.0, 0.0, 1.0, 0.0, None]
    slide = "const slider = arguments[0]; slider.value = 0.5; slider.dispatchEvent(new Event('input'))"
    driver.execute_script(slide, driver.find_element(By.ID, "smoothing"))
    assert text(driver, "smoothed") == "0.50"
    faint, smoothed, *_ = traces(driver, "curves-chart")
    assert faint["y"] == raw["y"]
    # (0.5 s + 0.5 y) divided by 1 - 0.5^n, after Kingma & Ba 2015, section 3
    assert smoothed["y"][:-1] == pytest.approx([1, 1 / 3, 5 / 7, 1 / 3])


@pytest.mark.browser
@in_a_browser
def test_without_webgl_the_page_says_so_and_has_all_else(six: dict[int, tuple[float, float]], tmp_path: Path) -> None:
    page = write(tmp_path / "report.html")
    with opened(page, "--disable-3d-apis", width=1440) as driver:
        assert text(driver, "parallel-note").startswith("This browser has no WebGL")
        assert driver.find_element(By.ID, "parallel-note").is_displayed()
        assert not driver.find_element(By.ID, "parallel-chart").is_displayed()
        assert listed(driver) == sorted(six, reverse=True)
        assert "On the Pareto front: 2, 4, 5." in text(driver, "tradeoff-note")


@pytest.mark.browser
@in_a_browser
def test_stored_text_is_shown_as_text_and_runs_nothing(database: Store, tmp_path: Path) -> None:
    for run_id in (1, 2):
        document = run_of_settings(run_id, 1e-3 * run_id, 8, MARKUP if run_id == 1 else "adam")
        marks = {"name": HOSTILE, "tags": [HOSTILE]}
        document["config"][f"<b>key {run_id}</b>"] = HOSTILE
        database.runs.insert_one(document | {"omniboard": marks})
        database.metrics.insert_many(
            [series(run_id, HOSTILE, [1.0, 2.0]), series(run_id, "validation.loss", [2.0, 1.0])]
        )
    page = write(tmp_path / "report.html")
    assert "taken" not in page.read_text(), "all that is stored is packed"
    with opened(page) as driver:
        for chart, axis in (("scatter", "x"), ("tradeoff", "y")):
            choose(driver, f"{chart}-{axis}", "training.optimiser")
        choose(driver, "colour", "training.optimiser")
        choose(driver, "metric", HOSTILE[:59] + "…")
        assert driver.title == "2 runs"
        assert driver.find_elements(By.CSS_SELECTOR, "img, main b, td b, .legend b, svg a") == []
        assert HOSTILE[:30] in driver.find_element(By.ID, "rows").text
        ticks = driver.execute_script("return document.querySelector('#scatter-chart .xaxislayer-above').textContent")
        assert MARKUP[:21] in ticks, "Plotly, too, takes it for text"
        assert MARKUP in text(driver, "legend")


@pytest.mark.browser
@in_a_browser
def test_runs_that_failed_diverged_or_are_of_other_tasks_stand_beside_the_others(
    database: Store, tmp_path: Path
) -> None:
    database.runs.insert_many(
        [
            run_of_settings(1, 1e-3, 8),
            run_of_settings(2, 1.0, 8, status="FAILED", info={}, result=None),
            document_of(3, status="FAILED"),
            _density_run(4),
            run_of_settings(5, 1e-2, 8) | {"info": {"test": {"accuracy": math.nan}}, "result": math.nan},
        ]
    )
    database.metrics.insert_many(
        [
            series(1, "validation.loss", [1.0, 0.5]),
            series(2, "validation.loss", [1.0, math.nan, math.inf]),
            series(4, "validation.loss", [3.0, 2.5]),
        ]
    )
    page = write(tmp_path / "report.html")
    assert "Values that are no finite numbers are gaps in the curves: run 2." in page.read_text()
    assert "Without a point of any metric, and so without a curve: run 5, 3." in page.read_text()
    with opened(page) as driver:
        assert listed(driver) == [5, 4, 3, 2, 1]
        diverged = next(one for one in traces(driver, "curves-chart") if one["name"].startswith("run 2:"))
        assert diverged["y"] == [1.0, None, None, None]
        assert text(driver, "curves-note").startswith("3 curves; 2 of the selected runs have no validation.loss.")
        names = [option.get_attribute("value") for option in Select(driver.find_element(By.ID, "scatter-y")).options]
        assert {"test.accuracy", "test.nll", "task", "best validation.loss"} <= set(names)
        choose(driver, "scatter-y", "test.nll")
        assert text(driver, "scatter-note").startswith("1 of the 5 selected runs has both.")


def _density_run(run_id: int) -> dict[str, Any]:
    document = document_of(run_id, status="COMPLETED")
    return document | {
        "experiment": document["experiment"] | described("density"),
        "config": {
            "data": {"name": "two_moons"},
            "model": {"architecture": "cnf"},
            "training": {"lr": 1e-3},
            "seed": 0,
        },
        "info": {"test": {"nll": 1.5}},
        "result": 1.5,
    }


@pytest.mark.browser
@in_a_browser
@pytest.mark.parametrize("width", [1280, 1440])
def test_a_single_run_makes_a_page_too(width: int, database: Store, tmp_path: Path) -> None:
    database.runs.insert_one(run_of_settings(1, 1e-3, 8))
    page = write(tmp_path / "report.html", "1")
    with opened(page, width=width) as driver:
        assert listed(driver) == [1]
        assert text(driver, "curves-note") == "None of the runs has a point of a metric."
        assert "no two trainings" in text(driver, "importance-says")
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width


def test_a_sweep_has_its_trials_its_fresh_seeds_and_the_runs_that_it_took_over(
    database: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = sample_ledger(12, checks=2)
    state.trials[12].is_reused = True
    database.runs.insert_one(sweep_document(state, 12))
    for trial in state.trials.values():
        document = run_of_settings(trial.run_id, trial.suggestion["training.lr"], 8)
        if not trial.is_reused:
            document["info"]["sweep"] = {"id": 12, "trial": trial.number, "phase": "search"}
        database.runs.insert_one(document)
    for check in state.checks:
        document = run_of_settings(check.run_id, 1e-3, 8)
        document["info"]["sweep"] = {"id": 12, "trial": 3, "phase": "check"}
        database.runs.insert_one(document)
    page = write(tmp_path / "sweep.html", "--sweep", "12")
    assert capsys.readouterr().out.startswith("14 runs in ")
    assert "<title>Sweep 12</title>" in page.read_text()
    write(tmp_path / "sweep.html", "--sweep", "12", "kind=check")
    assert capsys.readouterr().out.startswith("2 runs in ")


@pytest.mark.slow
@pytest.mark.browser
@in_a_browser
def test_a_thousand_runs_of_twenty_metrics_are_below_five_megabytes_and_are_drawn(
    database: Store, tmp_path: Path
) -> None:
    store_runs(database, 1000, epochs=30, metrics=20)
    page = write(tmp_path / "report.html")
    assert page.stat().st_size < 5_000_000
    assert "20,000 curves" in page.read_text() or "of 20,000 are thinned" in page.read_text()
    with opened(page) as driver:
        assert text(driver, "selected") == "All 1,000 runs"
        assert len(listed(driver)) == 1000
        assert text(driver, "importance-says").startswith("400 of 1,000 runs; the forest explains ")
        best = json.loads(
            driver.execute_script("return JSON.stringify(document.getElementById('importance-chart').data[0].y)")
        )
        assert best[0] == "training.lr"


@pytest.mark.usefixtures("six")
def test_the_pages_example_in_python_writes_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run_example(ROOT / "docs" / "report.md")
    assert "<title>Digits" in (tmp_path / "digits.html").read_text()
