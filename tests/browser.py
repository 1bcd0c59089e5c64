"""JupyterLab in a real browser: the server, the page of one notebook, its widgets and their controls.

The browser is the system's chromium, driven by Playwright; what a page shows is asked of the page, never of the kernel.
"""

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat

if TYPE_CHECKING:  # Playwright may be absent; then nothing below is called
    from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, WebSocket

ROOT = Path(__file__).parents[1]
SECONDS = 300  # for whatever must happen in the end; a busy machine is slow, not wrong
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
TRACEBACK = b"Traceback (most recent call last)"
# No news and no question about them: the notice covers the page and asks the network. All cells are in the page at
# once: else the last ones come when the browser has time, and plots out of sight are not drawn.
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "notebook-extension/tracker": {"windowingMode": "none"},
}

WIDGET = ".jp-Cell-outputArea > .jp-OutputArea-child > .jp-OutputArea-output:has(.jupyter-widgets)"
SLIDER, CHOICE = ".noUi-handle", "select"
BUTTONS = ".widget-toggle-button:not(.mod-active), input[type=checkbox], input[type=radio]:not(:checked)"
CONTROLS = f":is({SLIDER}, {CHOICE}, {BUTTONS})"
TABS = ".jupyter-widget-tab > .lm-TabBar .lm-TabBar-tab"

# What a widget shows, as {kind: content}: its figures and tables, or its text if it has no figure. Controls, whose own
# text changes as they move, are left out.
SHOWN = """async widget => {
    const draw = async image => {
        await image.decode();
        const canvas = document.createElement('canvas');
        [canvas.width, canvas.height] = [image.naturalWidth, image.naturalHeight];
        canvas.getContext('2d').drawImage(image, 0, 0);
        return canvas.toDataURL();
    };
    const figures = [];
    for (const image of widget.querySelectorAll('img')) figures.push(await draw(image));
    for (const canvas of widget.querySelectorAll('canvas')) figures.push(canvas.toDataURL());
    for (const drawing of widget.querySelectorAll('svg')) figures.push(drawing.outerHTML);
    const tables = [...widget.querySelectorAll('table')].map(table => table.textContent);
    const copy = widget.cloneNode(true);
    copy.querySelectorAll('.widget-inline-hbox:not(.widget-html, .widget-htmlmath, .widget-label), button')
        .forEach(control => control.remove());
    if (!figures.length) return {text: copy.textContent};
    return tables.length ? {figures: figures.join(), tables: tables.join()} : {figures: figures.join()};
}"""
FINISHED = """cells => {
    const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')].map(prompt => prompt.textContent);
    if (prompts.length < cells) return false;
    return prompts.some(text => /[0-9]/.test(text)) && !prompts.some(text => text.includes('*'));
}"""


@dataclass(frozen=True)
class Lab:
    """A running JupyterLab: its address (ends in /), its token and the folder it serves."""

    url: str
    token: str
    folder: Path


@dataclass
class Opened:
    """A notebook's page, what went wrong in it so far, and all that its console said."""

    page: "Page"
    file: Path
    troubles: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)


def executable() -> str | None:
    """Path of the system's chromium, or None."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


def missing() -> str | None:
    """Why no browser test can run here and what to do about it, or None."""
    if not find_spec("playwright"):
        return "playwright is not installed: run `pip install -e '.[test]'`"
    if not executable():
        return f"none of {', '.join(BROWSERS)} is installed: run `apt-get install chromium`, or your system's like"
    return None


@contextmanager
def serve(folder: Path, home: Path, **environment: str) -> Iterator[Lab]:
    """JupyterLab on `folder` at a free port of this machine; its configuration, data and log lie in `home`.

    Raises RuntimeError with the server's log if it ends instead of answering.
    """
    for name, values in SETTINGS.items():
        path = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(values))
    own = {f"JUPYTER_{kind.upper()}_DIR": str(home / kind) for kind in ("config", "data", "runtime")}
    own |= {"JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces")}
    own |= {"IPYTHONDIR": str(home / "ipython"), "JUPYTER_TOKEN": secrets.token_hex(16), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--port=0"]
    command += [f"--ServerApp.root_dir={folder}", "--LabApp.extension_manager=readonly"]
    with (home / "jupyter.log").open("w") as log:
        process = subprocess.Popen(command, env={**os.environ, **own, **environment}, stdout=log, stderr=log)
    try:
        yield Lab(_address(process, home), own["JUPYTER_TOKEN"], folder)
    finally:
        process.terminate()
        try:
            process.wait(SECONDS)
        finally:
            process.kill()


def _address(process: subprocess.Popen, home: Path) -> str:
    """The server's address, from the file it writes once it listens."""
    path, deadline = home / "runtime" / f"jpserver-{process.pid}.json", time.monotonic() + SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            return json.loads(path.read_text())["url"]
        except (FileNotFoundError, json.JSONDecodeError):  # not there, or half written
            time.sleep(0.1)
    raise RuntimeError(f"JupyterLab does not listen:\n{(home / 'jupyter.log').read_text()}")


@contextmanager
def opened(browser: "Browser", lab: Lab, file: Path, pictures: Path) -> Iterator[Opened]:
    """The page of a notebook below the lab's folder, with its kernel ready; leaves a picture and the console's text."""
    context = browser.new_context(viewport={"width": 1280, "height": 1000})
    context.set_default_timeout(1000 * SECONDS)
    page = context.new_page()
    notebook = Opened(page, file)
    _listen(notebook)
    try:
        path = file.relative_to(lab.folder).as_posix()
        page.goto(f"{lab.url}lab/workspaces/{file.stem}/tree/{path}?token={lab.token}")
        page.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for()
        yield notebook
    finally:
        page.screenshot(path=pictures / f"{file.stem}.png")
        (pictures / f"{file.stem}.console.txt").write_text("\n".join(notebook.console + notebook.troubles))
        _end_kernels(page, lab)
        context.close()


def _listen(notebook: Opened) -> None:
    """Note what the console says, what scripts raise, and the tracebacks that the kernel sends, from callbacks too.

    Every error counts: the pinned JupyterLab itself reports none. Its warnings, as of a slow start, do not.
    """

    def said(message: "ConsoleMessage") -> None:
        line = f"{message.type}: {message.text} ({message.location.get('url')})"
        (notebook.troubles if message.type == "error" else notebook.console).append(line)

    def received(frame: str | bytes) -> None:
        data = frame.encode() if isinstance(frame, str) else frame
        if TRACEBACK in data:
            notebook.troubles.append(f"kernel: {data[data.index(TRACEBACK) :].decode(errors='replace')}")

    def connected(socket: "WebSocket") -> None:
        socket.on("framereceived", received)

    notebook.page.on("console", said)
    notebook.page.on("pageerror", lambda error: notebook.troubles.append(f"script: {error}"))
    notebook.page.on("websocket", connected)


def _end_kernels(page: "Page", lab: Lab) -> None:
    """End the kernels, whose memory the next notebook may need."""
    request, headers = page.context.request, {"Authorization": f"token {lab.token}"}
    for kernel in request.get(f"{lab.url}api/kernels", headers=headers).json():
        request.delete(f"{lab.url}api/kernels/{kernel['id']}", headers=headers)


def run_all(notebook: Opened) -> nbformat.NotebookNode:
    """Run all cells from the menu, save, and return the saved notebook."""
    cells = [cell for cell in nbformat.read(notebook.file, as_version=4).cells if cell.cell_type == "code"]
    _choose(notebook.page, "Run", "Run All Cells")
    notebook.page.wait_for_function(FINISHED, arg=len(cells))
    before, deadline = notebook.file.stat().st_mtime_ns, time.monotonic() + SECONDS
    _choose(notebook.page, "File", "Save Notebook")
    notebook.page.locator(".lm-TabBar-tab.jp-mod-current.jp-mod-dirty").wait_for(state="detached")
    while notebook.file.stat().st_mtime_ns == before and time.monotonic() < deadline:  # till then it may be an autosave
        notebook.page.wait_for_timeout(100)
    return nbformat.read(notebook.file, as_version=4)


def _choose(page: "Page", menu: str, item: str) -> None:
    page.get_by_role("menuitem", name=menu, exact=True).click()
    page.locator(".lm-Menu-itemLabel").get_by_text(item, exact=True).click()  # its role's name has the shortcut too


def widgets(page: "Page") -> list["Locator"]:
    """The outputs of cells that are widgets with a control, in the notebook's order."""
    return page.locator(WIDGET).filter(has=page.locator(CONTROLS)).all()


def picture(widget: "Locator", path: Path) -> None:
    """Save what a widget shows, when all of it is drawn: cells above it take their height as they come into view."""
    widget.scroll_into_view_if_needed()
    _steady(widget)
    widget.screenshot(path=path)


def follow_controls(widget: "Locator", seconds: float = 20) -> tuple[set[str], set[str]]:
    """(the kinds of content that a widget shows, those that changed) while its controls are moved one after another,
    tab by tab.

    Stops when every kind has changed. A control has `seconds` to change something; some need not, such as a choice
    between two topics with the same first problem.
    """
    shown = _steady(widget)
    kinds, changed = set(shown), set()
    for control in _reachable(widget):
        if changed == kinds:
            break
        if not move(control):
            continue
        deadline = time.monotonic() + seconds
        while (now := _steady(widget)) == shown and time.monotonic() < deadline:
            pass
        changed |= {kind for kind in kinds if now.get(kind) != shown[kind]}
        shown |= now
    return kinds, changed


def _reachable(widget: "Locator") -> Iterator["Locator"]:
    """The controls that are to be seen, those of each tab once it is open; a widget without tabs has one page."""
    for tab in widget.locator(TABS).all() or [None]:
        if tab:
            tab.click()
        yield from (control for control in widget.locator(CONTROLS).all() if control.is_visible())


def _steady(widget: "Locator") -> dict[str, str]:
    """What a widget shows, once two looks in a row agree: it may still be drawing."""
    before, now, deadline = None, widget.evaluate(SHOWN), time.monotonic() + SECONDS
    while now != before:
        assert time.monotonic() < deadline, "the widget never comes to rest"
        widget.page.wait_for_timeout(250)
        before, now = now, widget.evaluate(SHOWN)
    return now


def move(control: "Locator") -> bool:
    """Move a slider by one step, choose the next option, press a button; False if there is nothing else to choose."""
    if control.evaluate(f"element => element.matches('{SLIDER}')"):
        low, now, high = (float(control.get_attribute(f"aria-value{name}")) for name in ("min", "now", "max"))
        control.press("ArrowRight" if now < high else "ArrowLeft")
        return low < high
    if control.evaluate(f"element => element.matches('{CHOICE}')"):
        chosen, options = control.evaluate("element => [element.selectedIndex, element.options.length]")
        control.select_option(index=(chosen + 1) % options)
        return options > 1
    control.click()
    return True
