"""Charts in a real browser: pointing, the legend, zooming, selecting, a slider; a model's text stays text; no error."""

import re
import time

import browser
import nbformat
import pytest

from tests.lessons import LESSONS, read
from tests.test_notebook_runs import chromium, errors, lab, pictures  # noqa: F401  fixtures

NASTY = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 2'> $$\\frac{1}{2}$$ &amp; %{x}"
PAGE = f"""from soar_lib.measure import widgets
from soar_lib.measure.charts import Chart, Mark, Panel
from soar_lib.problems.filtering import Outcome
from soar_lib.records import Problem

nasty = {NASTY!r}

def page(number):
    said = {{"hover": [nasty] * 3, "keys": ["a", "b", "c"]}}
    first = Mark([1, 2, 3], [1, number, 1], nasty, "#0072B2", "-", "o", size=12, **said)
    ends = {{"low": [2, 2, 2], "high": [4, 4, 4]}}
    second = Mark([1, 2, 3], [3, 3, 3], "second", "#D55E00", marker="s", size=12, **ends)
    rows = widgets.problem_table(Problem(nasty, nasty, nasty, nasty, nasty), Outcome(nasty, nasty, None, 1, 1, 1, 1), 1)
    return [Chart([Panel([first, second], nasty, "y", nasty, ylim=(0, 6))]), f"number {{number}} {{nasty}}", rows]

def detail(keys, number):
    return [f"picked {{sorted(keys)}}"]

widgets.explorer({{"number": widgets.slider("n", 1, 5, 2)}}, page, detail=detail)"""
REAL = """from soar_lib.soar.explorer import ablation_explorer
from soar_lib.ladder.explorer import ladder_explorer
from soar_lib.soar import report
from soar_lib.soar.question_map import question_map
from soar_lib.soar.run_explorer import vendi_explorer
from soar_lib.svs.explorer import svs_explorer
REFERENCE = "../runs/reference/"
"""
EXPLORERS = {
    "ablations": 'ablation_explorer(REFERENCE + "study")',
    "vendi": 'vendi_explorer(report.problems(REFERENCE + "study"))',
    "map": 'question_map(REFERENCE + "study", most=50)',
    "ladder": 'ladder_explorer(REFERENCE + "ladder")',
    "svs": 'svs_explorer(REFERENCE + "svs")',
}
LISTED = re.compile("picked")
POINTS = ".trace path.point"


@pytest.fixture(scope="module")
def notebook(chromium, lab, pictures):  # noqa: F811
    """A page with a chart by hand, and the explorers of the committed runs, all run."""
    cells = [nbformat.v4.new_code_cell(source) for source in (PAGE, REAL, *EXPLORERS.values())]
    file = lab.folder / "notebooks" / "charts.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=read(LESSONS[0]).metadata), file)
    with browser.opened(chromium, lab, file, pictures) as page:
        assert not errors(browser.run_all(page))
        yield page
        assert page.troubles == []


@pytest.fixture
def widget(notebook):
    found = browser.widgets(notebook.page)[0]
    found.scroll_into_view_if_needed()
    found.locator(POINTS).first.wait_for()
    return found


def point_at(widget, number: int) -> str:
    """Move the mouse onto a point until something is said of it, since a page that takes its shape moves it away."""
    point, label = (widget.locator(one) for one in (POINTS, ".hoverlayer .hovertext"))
    point, label = point.filter(visible=True).nth(number), label.first
    widget.page.mouse.move(5, 5)
    label.wait_for(state="hidden")
    deadline = time.monotonic() + browser.SECONDS
    while not label.is_visible() and time.monotonic() < deadline:
        point.scroll_into_view_if_needed()
        box = point.bounding_box()
        widget.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=4)
        widget.page.wait_for_timeout(500)
    return label.text_content()


def test_pointing_shows_a_models_text_as_text(widget, pictures):  # noqa: F811
    said = point_at(widget, 0)
    assert "<script>window.hacked = 1</script>" in said and "$$\\frac{1}{2}$$" in said and "&amp; %{x}" in said
    assert "second" in point_at(widget, 3) and "(2 to 4)" in point_at(widget, 3)
    widget.screenshot(path=pictures / "charts.pointing.png")
    page = widget.page
    assert page.evaluate("() => window.hacked === undefined")
    assert widget.locator("img, script, .MathJax, mjx-container").count() == 0
    for text in ("p", "table"):
        assert NASTY in widget.locator(f".widget-html {text}").first.text_content()


def test_the_legend_hides_a_series_and_shows_it_again(widget):
    toggle, visible = widget.locator(".legendtoggle").nth(1), widget.locator(".scatterlayer .trace")
    assert visible.count() == 2
    for count in (1, 2):
        toggle.click()
        widget.page.wait_for_function(
            "([element, count]) => element.querySelectorAll('.scatterlayer .trace').length === count",
            arg=[widget.element_handle(), count],
        )


def test_a_box_around_points_lists_them_and_a_slider_redraws(widget, pictures):  # noqa: F811
    page, plot = widget.page, widget.locator(".nsewdrag").first
    widget.hover()
    widget.locator('.modebar-btn[data-title="Box Select"]').click()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + 2, box["y"] + box["height"] - 3)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.55, steps=8)
    page.mouse.up()
    widget.get_by_text("picked ['a', 'b']").wait_for()
    widget.screenshot(path=pictures / "charts.selected.png")
    before = widget.locator(POINTS).nth(1).get_attribute("transform")
    browser.move(widget.locator(browser.SLIDER))
    widget.get_by_text("number 3").wait_for()
    assert widget.locator(POINTS).nth(1).get_attribute("transform") != before
    assert widget.get_by_text("picked").count() == 0


def test_dragging_zooms(widget):
    page, plot = widget.page, widget.locator(".nsewdrag").first
    widget.hover()
    widget.locator('.modebar-btn[data-title="Zoom"]').click()
    ticks = widget.locator(".xtick").all_text_contents()
    box = plot.bounding_box()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.3 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.7 * box["height"], steps=8)
    page.mouse.up()
    page.wait_for_function(
        "([element, old]) => [...element.querySelectorAll('.xtick')].map(t => t.textContent).join() !== old",
        arg=[widget.element_handle(), ",".join(ticks)],
    )


@pytest.mark.parametrize("name", EXPLORERS)
def test_explorers_of_the_committed_runs_say_what_is_pointed_at(notebook, pictures, name):  # noqa: F811
    explorer = browser.widgets(notebook.page)[1 + [*EXPLORERS].index(name)]
    browser.picture(explorer, pictures / f"charts.{name}.png")
    explorer.locator(POINTS).first.wait_for()
    last = explorer.locator(POINTS).filter(visible=True).count() - 1
    assert point_at(explorer, last)
    assert explorer.locator(".legendtoggle").count() > 1
    if name in ("map", "ladder", "svs"):  # those that list what is picked
        assert explorer.get_by_text(LISTED).count() == 0
        notebook.page.mouse.down()
        notebook.page.mouse.up()
        explorer.get_by_text(LISTED).first.wait_for()
        browser.picture(explorer, pictures / f"charts.{name}.picked.png")
