"""What a person meets on the dashboard's page: columns that fit, filters as typed, series that can be told apart."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo.database import Database
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from pipeline.dashboard.board import Board, prepare_dashboard
from pipeline.runs.query import Runs
from pipeline.runs.summary import summaries
from pipeline.tracking.embedded import EmbeddedStore
from pipeline.tracking.store import connect
from tests.helpers import browser
from tests.helpers.board_runs import record_run, run_of_each_task
from tests.helpers.waiting import wait_until

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(bool(browser.missing()), reason=f"not installed: {', '.join(browser.missing())}"),
]

FILTERS = "//*[contains(@class,'filters-select-container')]"
COMPARED = 6
"""So many runs with two series each: more than Omniboard has colours."""
CLIPPED = """
    const right = element => element.getBoundingClientRect().right;
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const clipped = [];
    while (texts.nextNode()) {
        const cell = texts.currentNode.parentElement.closest('[role=gridcell], [role=columnheader]');
        const text = document.createRange();
        text.selectNodeContents(texts.currentNode);
        if (cell && right(text) > right(cell)) clipped.push(texts.currentNode.data);
    }
    return clipped;
"""
"""The texts of cells and headings of which not all can be seen."""


@pytest.fixture(scope="module")
def store(store_home: Path) -> Iterator[Database[dict[str, Any]]]:
    """The session's store with a run of each task, and runs to compare."""
    database = connect(EmbeddedStore(store_home).start())
    for name in database.list_collection_names():
        database[name].delete_many({})
    run_of_each_task()
    record_run("density", {"data": {"name": "rings"}, "model": {"architecture": "cnf"}, "seed": 1}, 2.5)
    prepare_dashboard(database)
    yield database
    database.client.close()


@pytest.fixture(scope="module")
def open_page(
    store_home: Path, store: Database[dict[str, Any]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Board, Chrome]]:
    """A dashboard of this store, and a browser on it."""
    assert store.runs.count_documents({}) > 0
    with (
        Board(EmbeddedStore(store_home).start(), port=9300) as board,
        browser.logged_in_page(board, tmp_path_factory.mktemp("profile")) as page,
    ):
        yield board, page


@pytest.fixture
def page(open_page: tuple[Board, Chrome]) -> Chrome:
    """The list of runs as a browser shows it that has never been here, 1440 pixels wide."""
    board, page = open_page
    browser.resize(page, 1440, 900)
    origin = board.url.removesuffix("/sacred")
    page.get("about:blank")  # a page that is being left may write its choice of columns once more
    page.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "local_storage"})
    page.get(board.url)
    browser.wait_for(page, f"//*[@role='gridcell'][.='{COMPARED}\u00a0']")
    return page


def ids(page: Chrome) -> list[int]:
    """The runs in the list."""
    cells = page.find_elements("xpath", "//*[@role='gridcell']")
    texts = [str(cell.get_property("textContent")) for cell in cells]
    return sorted((int(text) for text in texts if re.fullmatch("\\d+\u00a0", text)), reverse=True)


def titles(page: Chrome) -> list[str]:
    """Above the columns."""
    return [header.text for header in page.find_elements("xpath", "//*[@role='columnheader']") if header.text]


def begin_filter(page: Chrome, column: str, operator: str) -> WebElement:
    """Choose a column and an operator, and wait for the values that the store suggests: the box to type one."""
    page.find_element("xpath", f"{FILTERS}//*[contains(@class,'filter-name')]//input").send_keys(column, Keys.ENTER)
    browser.wait_for(page, f"{FILTERS}//*[contains(@class,'col-xs-2')]//*[text()='==']").click()
    browser.wait_for(page, f"{FILTERS}//*[starts-with(@id,'react-select')][text()='{operator}']").click()
    value = page.find_element("xpath", f"{FILTERS}//*[contains(@class,'filter-value')]//input")
    ActionChains(page).click(value).perform()
    browser.wait_for(page, f"{FILTERS}//*[contains(@class,'filter-value')]//*[starts-with(@id,'react-select')]")
    return value


def add_filter(page: Chrome) -> str:
    """Press the button: the filter as the page then has it."""
    page.find_element("id", "add_filter").click()
    return browser.wait_for(page, "//*[contains(@class,'tags-container')]//span[contains(@class,'tag')]").text


def wait_for_runs(page: Chrome, expected: list[int]) -> None:
    wait_until(lambda: ids(page) == expected, seconds=20, told=f"the list has {ids(page)}")


# Columns


@pytest.mark.parametrize("width", [1440, 1280])
def test_the_columns_of_runs_of_all_tasks_fit_the_window_and_no_number_is_clipped(
    page: Chrome, store: Database[dict[str, Any]], width: int
) -> None:
    browser.resize(page, width, 700)
    first = ["Id", "Name", "Kind", "Status", "Model", "Data", "Accuracy", "NLL", "RMSE"]
    assert titles(page) == [*first, "Learning Rate", "Seed", "Tags", "Duration"]
    edges = "return [...document.querySelectorAll('[role=columnheader]')].map(one => one.getBoundingClientRect().right)"
    assert max(page.execute_script(edges)) <= width + 1  # the border of the table
    assert page.execute_script(CLIPPED) == []
    runs = Runs(store)
    for row in summaries(runs, runs.find()):
        cells = browser.row_of(page, row.run_id)
        assert (cells["Kind"], cells["Status"]) == (row.kind.name, row.status.value)
        assert (cells["Model"], cells["Data"]) == (row.model, row.data)
        assert (cells["Name"], cells["Seed"]) == (row.name or "", str(row.seed))
    assert browser.row_of(page, 1)["Tags"] == "paper"
    figures = {run_id: {key: browser.row_of(page, run_id)[key] for key in first[-3:]} for run_id in (1, 2, 3, 4)}
    none = {"Accuracy": "", "NLL": "", "RMSE": ""}
    assert figures == {
        1: none | {"Accuracy": "0.9722"},
        2: none | {"Accuracy": "0.9056"},
        3: none | {"NLL": "1.2346"},
        4: none | {"RMSE": "0.0001235"},
    }
    assert browser.row_of(page, 2)["Learning Rate"] == "3.162e-5"


def test_columns_that_none_of_the_listed_runs_has_stay_away_and_come_with_one_that_has(page: Chrome) -> None:
    assert {"Name", "Accuracy", "NLL", "RMSE"} <= set(titles(page))
    begin_filter(page, "Data", "==").send_keys("two_moons", Keys.ENTER)
    add_filter(page)
    wait_for_runs(page, [3])
    without = ["Id", "Kind", "Status", "Model", "Data", "NLL", "Learning Rate", "Seed", "Tags", "Duration"]
    assert titles(page) == without
    page.find_element("xpath", "//*[contains(@class,'tags-container')]//a[contains(@class,'is-delete')]").click()
    wait_until(lambda: "Accuracy" in titles(page), seconds=20)


def test_a_number_is_shown_whole_below_the_mouse(page: Chrome) -> None:
    assert browser.wait_for(page, "//*[@title='0.000031622776601683795']").text == "3.162e-5"


# Filters


def test_a_filter_has_the_number_that_was_typed_though_the_store_suggests_others(page: Chrome) -> None:
    begin_filter(page, "Accuracy", ">").send_keys("0.68", Keys.ENTER)
    assert add_filter(page) == "Accuracy > 0.68"
    wait_for_runs(page, [2, 1])


def test_what_was_typed_is_taken_without_enter_too(page: Chrome) -> None:
    begin_filter(page, "Accuracy", ">=").send_keys("0.91")
    assert add_filter(page) == "Accuracy >= 0.91"
    wait_for_runs(page, [1])


def test_typing_faster_than_the_store_suggests_takes_what_was_typed(page: Chrome) -> None:
    value = begin_filter(page, "NLL", "<")
    for letter in "2.4":
        value.send_keys(letter)
    value.send_keys(Keys.TAB)
    assert add_filter(page) == "NLL < 2.4"
    wait_for_runs(page, [3])


def test_a_suggestion_is_taken_where_it_is_chosen_and_finds_the_value_that_the_list_shows(page: Chrome) -> None:
    begin_filter(page, "Accuracy", "==").send_keys("0.9")
    browser.wait_for(page, f"{FILTERS}//*[starts-with(@id,'react-select')][text()='0.9722']").click()
    assert add_filter(page) == "Accuracy == 0.9722"
    wait_for_runs(page, [1])


def test_a_filter_of_several_values_has_those_typed_and_chosen(page: Chrome) -> None:
    value = begin_filter(page, "Data", "in")
    value.send_keys("digits", Keys.ENTER)
    value.send_keys("spirals")
    assert add_filter(page) == "Data in digits,spirals"
    wait_for_runs(page, [4, 2, 1])


# Comparing


def test_no_two_series_of_compared_runs_have_the_same_colour(page: Chrome) -> None:
    for number in range(COMPARED):
        browser.wait_for(page, f"//*[@test-attr='cell-row_selection-{number}']").click()
    page.find_element("id", "compare_runs").click()
    browser.wait_for(page, "//*[contains(@class,'metrics-compare-view')]//*[contains(@class,'scatterlayer')]")
    drawn = (
        "return [...document.querySelectorAll('.metrics-compare-view .scatterlayer .trace')]"
        ".map(trace => [trace.style.opacity, trace.querySelector('path.js-line').style.stroke])"
    )
    strokes = [stroke for opacity, stroke in page.execute_script(drawn) if float(opacity or 1) == 1]
    assert len(strokes) == len(set(strokes)) == 2 * COMPARED


# Last, as the list has a run more from here on


@pytest.mark.usefixtures("page")
def test_a_run_of_one_epoch_has_a_point_for_each_metric(open_page: tuple[Board, Chrome]) -> None:
    board, page = open_page
    config = {"data": {"name": "digits"}, "model": {"architecture": "simple", "body": "odenet"}, "seed": 3}
    run_id = record_run("classification", config, 0.5, losses=(2.0,))
    page.get(board.url)
    browser.open_run(page, run_id)
    browser.wait_for(page, "//*[name()='svg']//*[text()='validation.loss']")
    points = page.find_elements("css selector", ".scatterlayer .trace .points path")
    assert len([point for point in points if point.size["width"] > 2 and point.is_displayed()]) >= 2
