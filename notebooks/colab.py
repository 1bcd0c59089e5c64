"""Put into the lessons what Colab needs: a badge that opens the notebook there, and lines in the setup cell that install
the package there and do nothing elsewhere.

    python notebooks/colab.py                  all lessons
    python notebooks/colab.py 05_ladder.ipynb  some of them

The repository's public address has one place, `Repository` under [project.urls] in pyproject.toml. Without it there is no
badge, and the setup cell installs the checkout in whose notebooks/ it runs.
"""

import argparse
import re
import tomllib
from pathlib import Path

import nbformat

FOLDER = Path(__file__).parent
IMAGE = "https://colab.research.google.com/assets/colab-badge.svg"
GITHUB = "https://github.com/"
BADGE = "[![Open in Colab]"
SETUP = 'if "google.colab" in str(get_ipython())'  # the shell's class is Colab's own there
AFTER = "from pathlib import Path\n"  # the last import of the standard library in a setup cell


def address(project: Path = FOLDER.parent / "pyproject.toml") -> str:
    """The repository's public address, empty where the project states none."""
    urls = tomllib.loads(project.read_text())["project"].get("urls", {})
    return urls.get("Repository", "").rstrip("/").removesuffix(".git")


def badge(name: str, url: str) -> str:
    """The badge of a lesson, empty where the repository is not on GitHub, from which Colab opens notebooks.

    >>> badge("01_filtering.ipynb", "https://github.com/owner/soar").endswith("/owner/soar/blob/main/notebooks/01_filtering.ipynb)")
    True
    """
    if not url.startswith(GITHUB):
        return ""
    place = f"{url.removeprefix(GITHUB)}/blob/main/notebooks/{name}"
    return f"{BADGE}({IMAGE})](https://colab.research.google.com/github/{place})"


def setup(url: str) -> str:
    """The lines of the setup cell; with an address they also fetch the repository, whose figures and runs lessons read."""
    if not url:
        return f"{SETUP}:\n    %pip install -q ..\n"
    fetch = f"    !test -d soar || git clone -q {url} soar; pip install -q ./soar\n"
    return f'{SETUP} and not Path("../notebooks").is_dir():\n{fetch}    %cd -q soar/notebooks\n'


def fit(notebook: nbformat.NotebookNode, name: str, url: str) -> nbformat.NotebookNode:
    """The notebook with the badge and the setup lines that belong to it, in place of those it has. Raises ValueError
    where the setup cell has no `from pathlib import Path`."""
    notebook = nbformat.from_dict(notebook)
    first, code = notebook.cells[0], next(cell for cell in notebook.cells if cell.cell_type == "code")
    text = re.sub(rf"\A{re.escape(BADGE)}.*\n\n", "", first.source)
    first.source = "\n\n".join(part for part in (badge(name, url), text) if part)
    source = re.sub(rf"^{re.escape(SETUP)}.*\n(?:    .*\n)+", "", code.source, flags=re.MULTILINE)
    if AFTER not in source:
        raise ValueError(f"{name}: its setup cell lacks {AFTER.strip()!r}, behind which the lines for Colab belong")
    code.source = source.replace(AFTER, AFTER + setup(url), 1)
    return notebook


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="lessons, relative to notebooks/ (default: all)")
    for name in parser.parse_args().names or sorted(path.name for path in FOLDER.glob("*.ipynb")):
        fitted = fit(nbformat.read(FOLDER / name, as_version=4), name, address())
        nbformat.write(fitted, FOLDER / name)


if __name__ == "__main__":
    main()
