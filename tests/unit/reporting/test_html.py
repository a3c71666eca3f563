"""Pages as HTML: whatever a store holds is text on them."""

import pytest
from jinja2 import UndefinedError

from pipeline.reporting.html import render
from pipeline.reporting.text_table import TextTable

SCRIPT = "<script>alert('1')</script>"
ESCAPED = "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;"


def comparison_page(**values: object) -> str:
    """The page of a comparison in which every text is a script."""
    table = TextTable(SCRIPT, ("run", SCRIPT), (("7", SCRIPT),), "rl", note=SCRIPT)
    texts = dict.fromkeys(("title", "subtitle", "curves_caption"), SCRIPT)
    tables = dict.fromkeys(("results", "tests", "cost", "config", "runs"), table)
    matrix = {"label": SCRIPT, "figure": None, "caption": SCRIPT}
    lists = {"cautions": [SCRIPT], "conditions": [SCRIPT], "matrices": [matrix]}
    return render("comparison.html.j2", **{**texts, **tables, **lists, "curves": None, **values})


def sweep_page(trials: TextTable, **values: object) -> str:
    texts = dict.fromkeys(("title", "subtitle", "space", "objectives", "result"), SCRIPT)
    tables = dict.fromkeys(("best", "checks", "failures"), TextTable(SCRIPT, (), (), ""))
    lists: dict[str, object] = {"cautions": [], "conditions": [SCRIPT], "commands": [SCRIPT], "views": []}
    lists |= {"front": None, "evaluations": None}
    return render("sweep.html.j2", **{**texts, **tables, **lists, "trials": trials, "run_link": None, **values})


def test_text_of_every_kind_is_escaped() -> None:
    trials = TextTable(SCRIPT, ("run", SCRIPT), ((SCRIPT, "1"),), "rl", note=f"`{SCRIPT}`")
    comparison, sweep = comparison_page(), sweep_page(trials)
    assert "<script" not in comparison + sweep
    # The title is there twice, each of five tables has four texts, and there are three sentences.
    assert comparison.count(ESCAPED) == 2 + 1 + 5 * 4 + 3
    assert f"<code>{ESCAPED}</code>" in sweep


def test_only_numbers_of_runs_are_links_and_their_addresses_stay_within_their_quotes() -> None:
    trials = TextTable("", ("trial", "run"), (("1", "7"), ("2", "–")), "rr")
    html = sweep_page(trials, run_link=lambda run: f'http://board/?a&b="{run}')
    assert html.count("<a ") == 1
    assert '<a href="http://board/?a&amp;b=&#34;7" rel="noreferrer">7</a>' in html
    assert "<a " not in sweep_page(trials)


def test_what_is_between_backticks_is_code_and_a_single_backtick_stays() -> None:
    html = comparison_page(cautions=["`odenet <b>` and `c`, but 5` more"])
    assert "<li><code>odenet &lt;b&gt;</code> and <code>c</code>, but 5` more</li>" in html


def test_headings_may_break_after_a_dot() -> None:
    html = comparison_page(config=TextTable("", ("training.lr<",), (("1",),), "r"))
    assert '<th scope="col" class="r">training.<wbr>lr&lt;</th>' in html


def test_a_template_is_not_filled_in_by_halves() -> None:
    with pytest.raises(UndefinedError, match="title"):
        render("comparison.html.j2")
