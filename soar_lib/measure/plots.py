"""Charts that several methods share: curves with bands, rows of estimates, pass@k, claims, filtering. A table
(fractions of 1) goes in and a `Chart` (percent) comes out; which figures the project has is said in tools/figures.py.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from soar_lib.measure.charts import Chart, Mark, Panel, arm_mark, bands, estimates, paper, row_size
from soar_lib.measure.claims import FAILS, FLOOR, HOLDS, MARGIN, UNDECIDED, Claim
from soar_lib.measure.names import COLOURS, QUANTITIES, ordered
from soar_lib.measure.tables import name

UNITS = ("points", "ratio", "percent", "nats per token")  # of claims
VERDICTS = {HOLDS: COLOURS[2], FAILS: COLOURS[4], UNDECIDED: "#666666", FLOOR: "#bbbbbb"}


def means(data: pd.DataFrame, x: str, y: str, smoothing: int = 1, border: float | None = None) -> pd.DataFrame:
    """The mean over seeds of each arm at each x: columns arm, x, y, sd (over seeds; NaN for one), seeds; `data` has
    arm, seed, x, y and may have student. A centred moving average of `smoothing` points first smooths every line (fewer
    at its ends, none across `border`, where a phase begins); then students are averaged, then seeds."""
    if data.empty:
        return pd.DataFrame(columns=["arm", x, y, "sd", "seeds"])
    lines = [key for key in ("arm", "seed", "student") if key in data]
    data = data.assign(phase=data[x] >= (math.inf if border is None else border))
    wide = data.pivot(index=x, columns=[*lines, "phase"], values=y)
    smooth = wide.rolling(smoothing, center=True, min_periods=1).mean().where(wide.notna())
    seeds, parts = smooth.T.groupby(level=["arm", "seed"]).mean(), {}
    for arm in data["arm"].unique():
        own = seeds.loc[arm]
        parts[arm] = pd.DataFrame({y: own.mean(), "sd": own.std(), "seeds": own.count()})
    return pd.concat(parts, names=["arm", x]).dropna(subset=[y]).reset_index()


def averaged(smoothing: int = 1) -> str:
    """The title of a figure of `means`: what its lines and bands show."""
    return "Mean over seeds, band: ± 1 SD over seeds" + (f"; moving average of {smoothing}" if smoothing > 1 else "")


def curve(frame: pd.DataFrame, x: str, y: str, border: float | None = None, title: str = "", label: str = "") -> Panel:
    """One line per arm of a table of `means`, with a band of one SD over seeds on each side. `QUANTITIES` names the
    axes (`label` renames y); a vertical line at `border` shows where two phases meet."""
    known, factor, limits = QUANTITIES.get(y, (y, 1, None))
    rules = [("x", border - 0.5, "phases meet")] if border else []
    return Panel(bands(frame, x, y, factor, limits), QUANTITIES.get(x, (x,))[0], label or known, title, rules=rules)


def mean_curve(data: pd.DataFrame, x: str, y: str, title: str = "", label: str = "", **more) -> Panel:
    """The panel that `curve` draws of the means of `data`; `more` are arguments of `means`: smoothing, border."""
    return curve(means(data, x, y, **more), x, y, more.get("border"), title, label)


def curves(data: pd.DataFrame, x: str, columns: str | Sequence[str], smoothing: int = 1, **more) -> Chart:
    """A panel for each column over x, one line per arm; `smoothing` is that of `means`, `more` goes to `mean_curve`."""
    columns = [columns] if isinstance(columns, str) else columns
    titles = [averaged(smoothing)] + [""] * (len(columns) - 1)
    panels = [mean_curve(data, x, y, title, smoothing=smoothing, **more) for y, title in zip(columns, titles)]
    return Chart(panels, size=(9.0, 4.4 if len(columns) == 1 else 1.0 + 2.4 * len(columns)), shared="x")


def pass_at_k(data: pd.DataFrame, where: str = "hard test", seeds: str = "students") -> Chart:
    """pass@k of each arm with its interval; `data` has `passk.COLUMNS`, `seeds` says what its seeds count."""
    marks, arms = [], data.groupby("arm", sort=False)
    for index, (arm, part) in enumerate(arms):
        # Markers of one k stand beside each other, so that intervals do not hide one another.
        places = part["k"] * 1.04 ** (index - (len(arms) - 1) / 2)
        mark = arm_mark(arm, places, 100 * part["mean"], low=100 * part["low"], high=100 * part["high"])
        said = [
            f"{name(arm)}\npass@{row.k}: {100 * row.mean:.1f} % ({100 * row.low:.1f} to {100 * row.high:.1f})\n"
            f"{row.seeds} {seeds}, {row.rollouts:,} rollouts each"
            for row in part.itertuples()
        ]
        marks.append(replace(mark, name=f"{mark.name} ({part['seeds'].iloc[0]})", hover=said))
    ticks = {k: str(k) for k in sorted(data["k"].unique().tolist())}
    axes = {"x": "k (samples per problem)", "y": f"pass@k on {where} (%)", "ticks": ticks, "log": True}
    return Chart([Panel(marks, **axes, title="Mean and 95 % intervals", ylim=(0, None))], heading=f"arm ({seeds})")


def arms(data: pd.DataFrame, k: int | None = None, where: str = "") -> Chart:
    """pass@k of every arm at one k (None: the largest), one row each, in the order of `measure.names.STUDENTS`; `data`
    has `passk.COLUMNS`. Arms of one or two students have no interval. Raises ValueError where k was not measured."""
    part = data[data["k"] == (data["k"].max() if k is None else k)].drop(columns="paper", errors="ignore")
    if part.empty:
        measured = ", ".join(map(str, sorted(data["k"].unique()))) or "none"
        raise ValueError(f"k = {k}: no arm was measured at it; measured: {measured}")
    part = part.set_index("arm", drop=False).loc[ordered(part["arm"])]
    rows = [f"{name(row.arm)} ({row.seeds})" for row in part.itertuples()]
    label = f"pass@{part['k'].iloc[0]}{f' on {where}' if where else ''} (%)"
    title = "Mean and 95 % intervals"
    panel = Panel(estimates(part, 2), label, "arm (students)", title, xlim=(0, None), rows=rows)
    return Chart([panel], **row_size([len(part)]), legend="")


def gaps(data: pd.DataFrame, other: str, where: str = "hard test") -> Chart:
    """Arms minus the arm `other`, paired, one row each; `data` is a table of `passk.gaps`."""
    rows = [f"{name(row.arm)} ({row.seeds} seed{'s' * (row.seeds > 1)})" for row in data.itertuples()]
    label = f"points of pass@{data['k'].iloc[0]} on {where} above {name(other)}"
    title = f"Gap to {name(other)} on the same problems and seeds, 95 % intervals"
    panel = Panel(estimates(data), label, "arm (seeds in common)", title, rows=rows, rules=[("x", 0, "")])
    return Chart([panel], **row_size([len(rows)]), legend="")


def forest(claims: pd.DataFrame, of: Sequence[Claim]) -> Chart:
    """A table of claims (`claims.COLUMNS`), one row each: our number and interval in the verdict's colour, the paper's
    as a hollow diamond, and a bar that the interval must clear for the claim to hold; an interval above the second bar
    refutes a claim of no effect. `of` are the claims of the rows; other rows count as points above 0."""
    known = [_known(text, of) for text in claims["claim"]]
    data = claims.assign(
        bound=[claim.null + MARGIN * claim.no_effect for claim in known],
        refuted=[claim.null if claim.no_effect else math.nan for claim in known],
        # A claim that names none is about points or, if measured against another value than 0, a ratio.
        unit=[next((u for u in UNITS if u in claim.text), "ratio" if claim.null else "points") for claim in known],
        row=[f"{row.claim}\n{f'{row.verdict} ({row.seeds} seeds)' if row.seeds else 'not measured'}"
             for row in claims.itertuples()],
    )  # fmt: skip
    parts = [(unit, data[data["unit"] == unit]) for unit in UNITS if (data["unit"] == unit).any()]
    panels = [Panel(_claims(part), f"{unit}, 95 % intervals", "claim", rows=list(part["row"])) for unit, part in parts]
    return Chart(panels, **row_size([1.7 * len(part) for _, part in parts]), legend="top")


def _known(text: str, of: Sequence[Claim]) -> Claim:
    """The claim that a row of the table is about; what stands in braces differs from run to run."""
    own = (claim for claim in of if text.startswith(claim.text.partition("{")[0]))
    return next(own, Claim(text, lambda measured: None))


def _claims(part: pd.DataFrame) -> list[Mark]:
    part = part.assign(place=range(len(part)))
    marks = [
        Mark(own["ours"], own["place"], f"ours: {verdict}", VERDICTS[verdict], marker="o", size=6, low=own["low"],
             high=own["high"], ends="x")
        for verdict, own in part.groupby("verdict", sort=False)
    ]  # fmt: skip
    marks += [replace(paper(part["paper"], part["place"]), name="paper")]
    bar = {"marker": "|", "size": 16}
    marks += [Mark(part["bound"], part["place"], "to be cleared", **bar)]
    if part["refuted"].notna().any():
        marks += [Mark(part["refuted"], part["place"], "refuted above", COLOURS[6], **bar)]
    return marks


def filtering_table(*folders: str | Path) -> pd.DataFrame:
    """Problems and how many were never solved (hard), by topic and level (0: none stated), of filter runs."""
    from soar_lib.problems.filtering import read_outcomes  # it waits for the engine

    outcomes = pd.DataFrame([outcome for folder in folders for outcome in read_outcomes(Path(folder))])
    outcomes["level"] = outcomes["level"].fillna(0).astype(int)
    cells = outcomes.groupby(["topic", "level"])["right"]
    return cells.agg(problems="size", hard=lambda right: int((right == 0).sum())).reset_index()


def filtering(data: pd.DataFrame) -> Chart:
    """Share of problems that stay unsolved, by topic and level; columns topic, level, problems, hard."""
    levels, topics = sorted(data["level"].unique().tolist()), sorted(data["topic"].unique())
    cells = data.assign(x=data["level"].map(levels.index), y=data["topic"].map(topics.index))
    cells["share"], marks = 100 * cells["hard"] / cells["problems"], []
    for dark, own in cells.groupby(cells["share"] > 40):
        # From light grey to dark blue.
        shades = [[240 + (end - 240) * value / 100 for end in (0, 50, 95)] for value in own["share"]]
        colours = ["#" + "".join(f"{round(part):02x}" for part in shade) for shade in shades]
        said = [f"{name(r.topic)}, level {r.level}: {r.hard} of {r.problems} never solved" for r in own.itertuples()]
        look = {"colour": colours, "marker": "s", "size": 26, "ink": "white" if dark else "black"}
        marks.append(Mark(own["x"], own["y"], **look, text=[f"{value:.0f}" for value in own["share"]], hover=said))
    axes = {"x": "level as the source states it", "y": "topic", "ticks": dict(enumerate(map(str, levels)))}
    panel = Panel(marks, **axes, rows=[*map(name, topics)], title="Never solved (%)", xlim=(-0.6, len(levels) - 0.4))
    return Chart([panel], size=(2.6 + 0.55 * len(levels), 1.4 + 0.5 * len(topics)), legend="")
