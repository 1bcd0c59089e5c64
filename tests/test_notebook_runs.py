"""The notebooks on the smoke preset: all run in a fresh kernel, then JupyterLab in a real browser runs each that has a
widget, a control moves, and what is shown follows. One file, so that both share a workplace: what the kernel has
computed, such as the study, the browser reads. The kernel comes first, since an open browser holds the event loop."""

import os
import re

import browser
import nbformat
import pytest
from execute import STILL, WIDGET, strip

from tests.lessons import FOLDER, LESSONS, NAMES, code_cells, play, read

# What code that shows a widget names.
MADE = re.compile(r"\bipywidgets\b|(_explorer|_browser|\bquestion_map|live_timeline)\(")
INTERACTIVE = [name for name in LESSONS if any(MADE.search(cell.source) for cell in code_cells(name))]
PICTURES = browser.ROOT / "build" / "browser"
DEAD = """import ipywidgets
ipywidgets.VBox([ipywidgets.IntSlider(max=3), ipywidgets.HTML("<p>always the same</p>")])"""
BROKEN = """slider = ipywidgets.IntSlider(max=3)
slider.observe(lambda change: 1 / 0, "value")
ipywidgets.VBox([slider, ipywidgets.HTML("<p>never reached</p>")])"""
DRAWN = """import io
import matplotlib.pyplot as plt
import pandas as pd
steps, figure, table = ipywidgets.IntSlider(max=3), ipywidgets.Image(), ipywidgets.HTML()
def draw(change=None):
    plt.figure(figsize=(2, 1)); plt.plot(range(steps.value + 2))
    plt.savefig(buffer := io.BytesIO()); plt.close()
    figure.value, table.value = buffer.getvalue(), pd.DataFrame([steps.value]).to_html()
steps.observe(draw, "value"); draw()
ipywidgets.VBox([steps, figure, table])"""


@pytest.mark.parametrize("name", NAMES)
def test_runs_twice_in_one_fresh_kernel_on_the_smoke_preset(name, site, monkeypatch):
    """All cells from top to bottom, and once more, as a reader does who changed something. Under every widget that
    is a cell's result stands what a reader without a kernel sees."""
    notebook = read(name)
    notebook.cells += [nbformat.from_dict(cell) for cell in read(name).cells]
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell{number}"
    outputs = play(notebook, (site / "notebooks" / name).parent, monkeypatch)
    results = [output["data"]["text/plain"] for output in outputs if "data" in output]
    checks = [text for text in results if re.search(r"^'\w+: (right|not written yet)'$", text)]
    expected = "right" if name.startswith("solutions/") else "not written yet"
    assert len(checks) == (0 if name.startswith("teaching/") else 6) and all(expected in text for text in checks)
    widgets = [o.data for o in outputs if o.output_type == "execute_result" and WIDGET in o.data]
    assert all({"image/png", "text/html"} & {*data} for data in widgets)
    strip(notebook)
    assert WIDGET not in nbformat.writes(notebook) and "(a widget" not in nbformat.writes(notebook)


@pytest.fixture(scope="module")
def pictures():
    PICTURES.mkdir(parents=True, exist_ok=True)
    return PICTURES


def require_browser() -> None:
    """Skip where there is no browser, or fail if SOAR_REQUIRE_BROWSER is set."""
    reason = browser.missing()
    if reason:
        (pytest.fail if os.environ.get("SOAR_REQUIRE_BROWSER") else pytest.skip)(reason)


@pytest.fixture(scope="module")
def chromium():
    require_browser()
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser.executable())  # without a sandbox, so root may
        yield started
        started.close()


@pytest.fixture(scope="module")
def lab(chromium, site, tmp_path_factory):
    with browser.serve(site, tmp_path_factory.mktemp("lab"), SOAR_PRESET="smoke") as running:
        yield running


def emptied(name: str) -> nbformat.NotebookNode:
    """A notebook without outputs, so that whatever its page shows comes from this run."""
    notebook = read(name)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return notebook


def errors(notebook: nbformat.NotebookNode) -> list[str]:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return [f"{output.ename}: {output.evalue}" for output in outputs if output.output_type == "error"]


def test_scan_finds_every_notebook_whose_outputs_hold_a_widget():
    assert INTERACTIVE and {name for name in LESSONS if STILL in (FOLDER / name).read_text()} <= set(INTERACTIVE)


@pytest.mark.parametrize("name", INTERACTIVE)
def test_notebook_runs_and_its_widgets_follow_their_controls(name, chromium, lab, pictures):
    file = lab.folder / "notebooks" / name
    nbformat.write(emptied(name), file)
    with browser.opened(chromium, lab, file, pictures) as notebook:
        saved = browser.run_all(notebook)
        cells = [cell for cell in saved.cells if cell.cell_type == "code"]
        assert not errors(saved)
        assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
        # A widget is a cell's result; what else comes as one is a progress bar.
        results = [o for cell in cells for o in cell.outputs if o.output_type == "execute_result" and WIDGET in o.data]
        found = browser.widgets(notebook.page)
        assert found and len(found) >= len(results)
        for number, widget in enumerate(found, start=1):
            browser.picture(widget, pictures / f"{file.stem}.widget{number}.before.png")
            kinds, changed = browser.follow_controls(widget)
            browser.picture(widget, pictures / f"{file.stem}.widget{number}.after.png")
            assert changed == kinds, f"widget {number}: moving its controls changes only {changed or 'nothing'}"
        if "live_timeline(" in "".join(cell.source for cell in cells):
            timelines_are_drawn(notebook.page, pictures)
        assert notebook.troubles == []


def timelines_are_drawn(page, pictures) -> None:
    """The charts that runs redraw, which `widgets` leaves out since they have no control: a point for each of smoke's
    two rounds, and the lines of the rewards and of their average."""
    plain = page.locator(browser.WIDGET).filter(has_not=page.locator(browser.CONTROLS))
    found = plain.filter(has=page.locator(".trace.scatter"))
    for number in range(2):  # SOAR's run, and the one to watch
        timeline = found.nth(number)
        timeline.scroll_into_view_if_needed()
        timeline.locator(".trace.scatter path.point").nth(1).wait_for()
        assert timeline.locator(".trace.scatter path.js-line").count() >= 2
        browser.picture(timeline, pictures / f"timeline{number + 1}.png")


def test_dead_controls_and_errors_are_noticed(chromium, lab, pictures):
    """The checks above can fail: a control that does nothing, a callback that raises, a cell that raises."""
    cells = [nbformat.v4.new_code_cell(source) for source in (DEAD, BROKEN, DRAWN, "import nothing_of_this_name", "1")]
    file = lab.folder / "notebooks" / "broken.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=read(LESSONS[0]).metadata), file)
    with browser.opened(chromium, lab, file, pictures) as notebook:
        saved = browser.run_all(notebook)
        assert [error.split(":")[0] for error in errors(saved)] == ["ModuleNotFoundError"]
        assert saved.cells[-1].execution_count is None
        assert any("nothing_of_this_name" in trouble for trouble in notebook.troubles)
        dead, broken, drawn = browser.widgets(notebook.page)
        assert browser.follow_controls(dead, seconds=2) == ({"text"}, set())
        assert not any("ZeroDivisionError" in trouble for trouble in notebook.troubles)
        assert browser.follow_controls(broken, seconds=2) == ({"text"}, set())
        assert browser.follow_controls(drawn) == ({"figures", "tables"}, {"figures", "tables"})
        assert any("ZeroDivisionError" in trouble for trouble in notebook.troubles)
        with notebook.page.expect_console_message():
            notebook.page.evaluate("() => console.error('from the page')")
        with notebook.page.expect_event("pageerror"):
            notebook.page.evaluate("() => void setTimeout(() => { throw new Error('from a script') })")
        assert all(any(words in line for line in notebook.troubles) for words in ("from the page", "from a script"))


def test_without_a_browser_tests_skip_and_say_how_to_get_one(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("SOAR_REQUIRE_BROWSER", raising=False)
    with pytest.raises(pytest.skip.Exception, match="install"):
        require_browser()
    monkeypatch.setenv("SOAR_REQUIRE_BROWSER", "1")
    with pytest.raises(pytest.fail.Exception, match="install"):
        require_browser()
