"""Write the results and times of README.md and figures/README.md anew from figures/data (`python -m tools.readme`)."""

import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from soar_lib.ladder import figures as ladder_plots
from soar_lib.measure.methods import method_rows
from soar_lib.measure.tables import name
from soar_lib.soar.figures import beside
from soar_lib.svs import figures as svs_plots

SHOWN = ("base", "hard_only", "base_t", "intrinsic_t", "grounded_t", "pq", "ps")  # the arms of README's table
FRONT = ("world_arms", "study_arms", "soar_paper")  # and the CSVs in figures/data that it is made of
DOCUMENTS = (Path("README.md"), Path("figures") / "README.md")

# Their tables by their marks: the CSV in figures/data, and how it becomes text.
MARKED: dict[str, tuple[str, Callable[[pd.DataFrame], pd.DataFrame]]] = {
    "ladder": ("ladder_arms", ladder_plots.rows),
    "svs": ("svs_arms", svs_plots.rows),
    "methods": ("methods", method_rows),
}


def markdown(frame: pd.DataFrame) -> str:
    """A table of text as Markdown, one line per row."""
    lines = [list(frame.columns), ["---"] * len(frame.columns), *frame.fillna("").astype(str).values.tolist()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def fill(text: str, table: str, name: str = "results") -> str:
    """`text` with the Markdown table between its marks replaced. Raises ValueError where the marks are missing."""
    marked = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)", re.DOTALL)
    filled, count = marked.subn(lambda match: f"{table}\n", text)
    if count != 1:
        raise ValueError(f"README.md: needs the marks <!-- {name} --> and <!-- end of {name} --> once")
    return filled


def front(world: pd.DataFrame, ours: pd.DataFrame, paper: pd.DataFrame) -> pd.DataFrame:
    """pass@32 in percent, a row for each arm of SHOWN: ours on the second world (Grounded-T without promotion) and on
    the first, and the paper's on each of its sets; a dash where an arm was not run."""
    world = world[world["arm"] != "grounded_t"].replace({"arm": {"grounded_t_no_promotion": "grounded_t"}})
    table = pd.concat([beside(world, paper[:0], "nano2"), beside(ours[ours["arm"].isin(SHOWN)], paper)])
    table["source"] = table["source"].str.replace(r", \d+ students?$", "", regex=True)  # the second world's arms differ
    wide = table.pivot(index="arm", columns="source", values="pass@32")
    return wide.reindex(index=map(name, SHOWN), columns=table["source"].unique()).fillna("–").reset_index()


def fill_times(text: str, measured: pd.DataFrame | None) -> str:
    """`text` with the last cell of each notebook's row saying how long it took (columns notebook, minutes)."""
    for row in () if measured is None else measured.itertuples(index=False):
        line = re.compile(rf"^(\| \[\w+\]\(notebooks/{re.escape(row.notebook)}\) \|.*\|).*\|$", re.MULTILINE)
        text = line.sub(rf"\g<1> {max(1, round(row.minutes))} minute{'s' if row.minutes >= 1.5 else ''} |", text)
    return text


def filled(text: str, data: Path) -> str:
    """A document with all its marked tables and times as the CSVs in `data` have them."""
    if (data / "notebooks.csv").exists():
        text = fill_times(text, pd.read_csv(data / "notebooks.csv"))
    tables = {mark: rows(pd.read_csv(data / f"{file}.csv")) for mark, (file, rows) in MARKED.items() if _in(text, mark)}
    if _in(text, "results"):
        tables["results"] = front(*(pd.read_csv(data / f"{file}.csv") for file in FRONT))
    for mark, table in tables.items():
        text = fill(text, markdown(table), mark)
    return text


def _in(text: str, mark: str) -> bool:
    return f"<!-- {mark} -->" in text


def main() -> None:
    for document in DOCUMENTS:
        document.write_text(filled(document.read_text(), Path("figures") / "data"))


if __name__ == "__main__":
    main()
