"""Figures that several methods share: filtering, means over seeds, pass@k, arms in rows, claims.

A table goes in and a figure comes out; the parts are those of measure/drawing.py.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soar_lib.measure import drawing
from soar_lib.measure.claims import FAILS, HOLDS, MARGIN, UNDECIDED, Claim
from soar_lib.measure.drawing import COLOURS, Looks, looks, panels
from soar_lib.runs import read_jsonl

UNITS = ("points", "ratio", "percent", "nats per token")  # of claims
VERDICTS = {HOLDS: COLOURS[2], FAILS: COLOURS[3], UNDECIDED: "#666666"}


# ------------------------------------------------------------------ filtering


def filtering_table(*folders: str | Path) -> pd.DataFrame:
    """Problems and how many were never solved, by topic and level (0: the source states none), of filter runs."""
    outcomes = pd.DataFrame([row for folder in folders for row in read_jsonl(Path(folder) / "outcomes.jsonl")])
    outcomes["level"] = outcomes["level"].fillna(0).astype(int)
    cells = outcomes.groupby(["topic", "level"])["right"]
    return cells.agg(problems="size", hard=lambda right: int((right == 0).sum())).reset_index()


def filtering(data: pd.DataFrame) -> Figure:
    """Share of problems that stay unsolved, by topic and level; columns topic, level, problems, hard."""
    share = data.assign(share=data["hard"] / data["problems"]).pivot(index="topic", columns="level", values="share")
    figure, (axes,) = panels(size=(1.6 + 0.62 * len(share.columns), 1.4 + 0.42 * len(share)))
    image = axes.imshow(share.to_numpy(), vmin=0, vmax=1, cmap="cividis", aspect="auto")
    for row, column in zip(*share.notna().to_numpy().nonzero()):
        value = share.iat[row, column]
        colour = "white" if value < 0.6 else "black"
        axes.text(column, row, f"{100 * value:.0f}", ha="center", va="center", color=colour, fontsize=9)
    axes.set_xticks(range(len(share.columns)), [f"{level:g}" for level in share.columns])
    axes.set_yticks(range(len(share)), share.index)
    axes.grid(False)
    axes.set(xlabel="level as the source states it", ylabel="topic", title="Problems never solved (%)")
    figure.colorbar(image, ax=axes, label="share never solved")
    return figure


# ------------------------------------------------------------------ arms


def lines(
    frame: pd.DataFrame, x: str, y: str, axis: tuple[str, float], smoothing: int = 1, look: Looks | None = None
) -> Figure:
    """One line per arm of a table of `drawing.means`, with a band of one SD over seeds on each side.

    `axis` is what the y axis says and the factor to its unit; `smoothing` is what the table was smoothed by.
    """
    figure, (axes,) = panels()
    drawing.draw_means(axes, frame, x, y, look or looks(frame["arm"]), axis[1])
    axes.set(xlabel=x, ylabel=axis[0], title=drawing.averaged(smoothing))
    drawing.side_legend(figure, axes)
    return figure


def pass_at_k(data: pd.DataFrame, where: str = "hard test", look: Looks | None = None, seeds="students") -> Figure:
    """pass@k of each arm with its interval, the legend beside it; the columns of `passk.COLUMNS`, whose seeds count
    `seeds`."""
    figure, (axes,) = panels()
    draw_passes(axes, data, look or looks(data["arm"]), where)
    axes.set_title("Mean and 95 % intervals")
    drawing.side_legend(figure, axes, f"arm ({seeds})")
    return figure


def draw_passes(axes: Axes, data: pd.DataFrame, look: Looks, where: str = "hard test", seeds: str = "") -> None:
    """The same on given axes, without title and legend."""
    arms = data.groupby("arm", sort=False)
    for index, (arm, part) in enumerate(arms):
        own = look[arm] | {"label": f"{look[arm]['label']} ({part['seeds'].iloc[0]}{seeds})"}
        # Markers of one k stand beside each other, so that intervals do not hide one another.
        places = part["k"] * 1.04 ** (index - (len(arms) - 1) / 2)
        axes.errorbar(places, 100 * part["mean"], yerr=drawing.whiskers(part), capsize=3, ms=5, **own)
    ks = sorted(data["k"].unique())
    axes.set_xscale("log", base=2)
    axes.set_xticks(ks, [str(k) for k in ks])
    axes.set_ylim(bottom=0)
    axes.set(xlabel="k (samples per problem)", ylabel=f"pass@k on {where} (%)")


# ------------------------------------------------------------------ claims


def forest(claims: pd.DataFrame, of: Sequence[Claim]) -> Figure:
    """The table of claims (`claims.COLUMNS`), one row each: our number with its interval in the verdict's colour, the
    paper's as a hollow diamond, and as a bar the value that the interval must clear for the claim to hold. A claim of
    no effect has a second bar, in light blue, above which the interval refutes it.

    Every unit has its own panel; `of` are the claims that the rows are about, and rows about none of them count as
    points above 0.
    """
    known = [_known(text, of) for text in claims["claim"]]
    bounds = [claim.null + MARGIN * claim.no_effect for claim in known]
    refuted = [claim.null if claim.no_effect else math.nan for claim in known]
    data = claims.assign(bound=bounds, refuted=refuted, unit=[_unit(claim) for claim in known])
    parts = [(unit, data[data["unit"] == unit]) for unit in UNITS if (data["unit"] == unit).any()]
    figure, found = row_panels([1.5 * len(part) for _, part in parts])
    for axes, (unit, part) in zip(found, parts, strict=True):
        _claims(axes, part)
        axes.set(xlabel=f"{unit}, 95 % intervals", ylabel="claim")
        if "nats" in unit:
            axes.locator_params(axis="x", nbins=6)  # small numbers have long names
    entries = {label: handle for axes in found for handle, label in zip(*axes.get_legend_handles_labels())}
    drawing.top_legend(figure, entries.values(), entries.keys(), ncols=6)
    return figure


def row_panels(counts: Sequence[float], **grid) -> tuple[Figure, list[Axes]]:
    """Panels one under another, each as high as the number of its rows asks for."""
    size = (9.0, 1.1 + 0.5 * len(counts) + 0.32 * sum(counts))
    return panels(len(counts), size=size, height_ratios=[count + 0.5 for count in counts], **grid)


def _unit(claim: Claim) -> str:
    """One of `UNITS`. A claim that names none is about points or, if measured against another value than 0, a ratio."""
    named = next((unit for unit in UNITS if unit in claim.text), "")
    return named or ("ratio" if claim.null else "points")


def _known(text: str, of: Sequence[Claim]) -> Claim:
    """The claim that a row of the table is about; what stands in braces differs from run to run."""
    own = (claim for claim in of if text.startswith(claim.text.partition("{")[0]))
    return next(own, Claim(text, lambda measured: None))


def _claims(axes: Axes, part: pd.DataFrame) -> None:
    part = part.assign(place=range(len(part)))
    for verdict, own in part.groupby("verdict", sort=False):
        errors, look = [own["ours"] - own["low"], own["high"] - own["ours"]], {"fmt": "o", "color": VERDICTS[verdict]}
        axes.errorbar(own["ours"], own["place"], xerr=errors, capsize=3, label=f"ours: {verdict}", **look)
    axes.plot(part["paper"], part["place"], **drawing.PAPER)
    axes.plot(part["bound"], part["place"], "|", color=COLOURS[6], ms=16, label="to be cleared")
    if part["refuted"].notna().any():
        axes.plot(part["refuted"], part["place"], "|", color=COLOURS[5], ms=16, mew=2, label="refuted above")
    for row in part.itertuples():
        said = f"{row.verdict} ({row.seeds} seeds)" if row.seeds else "not measured"
        beside = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 9}
        axes.text(1.01, row.place, said, color=VERDICTS[row.verdict], **beside)
    drawing.name_rows(axes, [fill(text, 56) for text in part["claim"]], fontsize=8)
