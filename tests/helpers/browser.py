"""A real browser on a running dashboard or a written page, for the tests that look at what a person sees."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

from selenium.common.exceptions import NoSuchElementException, StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support import expected_conditions as expected

from pipeline.dashboard.board import Board
from tests.helpers.waiting import wait_until

WAIT_SECONDS = 20


def missing() -> list[str]:
    """The programs of the browser tests that are not installed."""
    return [name for name in ("node", "npm", "chromium", "chromedriver") if shutil.which(name) is None]


@contextlib.contextmanager
def headless(profile: Path, *switches: str) -> Iterator[Chrome]:
    """Headless Chromium with a fresh profile in `profile`, and with more command line switches."""
    options = ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for switch in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--enable-unsafe-swiftshader",  # WebGL without a GPU
        "--window-size=1700,900",
        f"--user-data-dir={profile}",
        *switches,
    ):
        options.add_argument(switch)
    driver = Chrome(options=options, service=ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


@contextlib.contextmanager
def logged_in_page(board: Board, profile: Path) -> Iterator[Chrome]:
    """The list of runs, after the login."""
    with headless(profile) as driver:
        driver.get(board.url.replace("http://", f"http://{board.user}:{board.password}@"))
        driver.get(board.url)
        yield driver


def resize(driver: Chrome, width: int, height: int) -> None:
    """Give the page a window of so many pixels."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def assert_page_fits(page: Path, images: int) -> None:
    """A page shows all of its `images` and needs no scrolling sideways, in wide windows and on phones."""
    with headless(page.parent / "profile") as driver:
        driver.get(page.as_uri())
        for width in (1400, 390):
            resize(driver, width, 900)
            assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        widths = driver.execute_script("return [...document.images].map(image => image.naturalWidth)")
        assert len(widths) == images
        assert min(widths) > 500
        assert driver.get_log("browser") == []


def wait_for(driver: Chrome, xpath: str) -> WebElement:
    """The first visible element at `xpath`, which may take a while to appear."""
    appears = expected.visibility_of_element_located((By.XPATH, xpath))

    def visible() -> WebElement | None:
        with contextlib.suppress(NoSuchElementException):
            return appears(driver) or None
        return None

    found: WebElement = wait_until(visible, seconds=WAIT_SECONDS, told=f"nothing visible at {xpath}")
    return found


def row_of(driver: Chrome, run_id: int) -> dict[str, str]:
    """What the list shows of a run, by column title; columns beyond the window's edge are not there yet."""
    wait_for(driver, _row(run_id))
    titles = driver.find_elements(By.XPATH, "//*[@role='columnheader']")
    cells = driver.find_elements(By.XPATH, f"{_row(run_id)}//*[@role='gridcell']")
    return {title.text: cell.text.strip() for title, cell in zip(titles, cells, strict=True) if title.text}


def open_run(driver: Chrome, run_id: int) -> None:
    """Expand the run in the list of runs."""
    wait_for(driver, f"{_row(run_id)}//*[starts-with(@test-attr,'cell-row_expander')]").click()


def show_columns(driver: Chrome, *titles: str) -> None:
    """Have the list show these columns too."""
    menu = "//*[contains(@class,'show-hide-columns')]"
    click(driver, f"{menu}//button[contains(.,'Show/Hide Columns')]")
    for title in titles:
        click(driver, f"{menu}//label[normalize-space(.)='{title}']")
        wait_for(driver, f"//*[@role='columnheader'][contains(.,'{title}')]")
    click(driver, f"{menu}//button[contains(.,'Show/Hide Columns')]")


def click(driver: Chrome, xpath: str) -> None:
    """Click what is there; once more where the page has just made it anew."""

    def has_clicked() -> bool:
        try:
            wait_for(driver, xpath).click()
        except StaleElementReferenceException:
            return False
        return True

    wait_until(has_clicked)


def _row(run_id: int) -> str:
    # A hard space ends the ids, which tells them from other numbers.
    cell = f"//*[contains(@class,'public_fixedDataTableCell_cellContent')][.='{run_id}\u00a0']"
    return f"{cell}/ancestor::*[contains(@class,'fixedDataTableRowLayout_main')][1]"
