"""Figures of a LADDER run: a table of `ladder.report` goes in and a `Chart` comes out."""

from itertools import count
from statistics import fmean

import pandas as pd

from soar_lib.measure import plots
from soar_lib.measure.charts import SHARE, Chart, Mark, Panel, arm_mark, bands, estimates, stacked
from soar_lib.measure.names import COLOURS, FATE_LOOKS, OTHERS, TIMES, TREES
from soar_lib.measure.tables import name, percent


def rows(data: pd.DataFrame) -> pd.DataFrame:
    """`ladder.report.table` as text: our number with its 95 % interval, the paper's (a dash where it has none), and the
    completions for one test problem and for all."""
    found = [
        [
            name(row.arm), row.metric, percent(row.mean, row.low, row.high),
            "–" if pd.isna(row.paper) else f"{100 * row.paper:.0f}", row.seeds, f"{row.rollouts:,}", f"{row.in_sum:,}",
        ]
        for row in data.itertuples(index=False)
    ]  # fmt: skip
    return pd.DataFrame(found, columns=["arm", "measure", "ours, %", "paper, %", "seeds", "completions", "in sum"])


def arms(data: pd.DataFrame) -> Chart:
    """Every number of `ladder.report.table` with its 95 % interval, the paper's as a hollow diamond."""
    names = [f"{name(row.arm)}, {row.metric} ({row.seeds})" for row in data.itertuples()]
    label = "right on the test problems (%), 95 % intervals"
    panel = Panel(estimates(data), label, "arm, measure (seeds)", xlim=(-2, 102), rows=names)
    return Chart([panel], size=(9.0, 1.4 + 0.36 * len(data)), legend="top")


def levels(data: pd.DataFrame) -> Chart:
    """Accuracy on the variants by level, before and after LADDER, with 95 % intervals, from `ladder.report.levels`."""
    marks = []
    for index, (arm, part) in enumerate(data.groupby("arm", sort=False)):
        x = part["level"] + 0.05 * (2 * index - 1)  # beside each other, so that intervals do not hide one another
        ends = {end: 100 * part[end] for end in ("low", "high")}
        said = [f"{TIMES[arm]}\nlevel {r.level}: {percent(r.mean, r.low, r.high)} % right" for r in part.itertuples()]
        marks.append(arm_mark(arm, x, 100 * part["mean"], name=TIMES[arm], hover=said, **ends))
    ticks = {level: f"{level}\n({count})" for level, count in data.groupby("level")["problems"].max().items()}
    axes = {"x": "level of the variant (variants)", "y": "right answers (%)", "ylim": (0, 102), "ticks": ticks}
    return Chart([Panel(marks, **axes, title="Accuracy on the trees' variants, 95 % intervals")])


def variants(data: pd.DataFrame) -> Chart:
    """What became of the variants, a bar for each kind of tree and level, from `ladder.report.trees`."""
    counts = data[list(FATE_LOOKS)].reset_index(drop=True)
    names = [f"{TREES[row.tree]}, level {row.level} ({row.prompts:,})" for row in data.itertuples()]
    marks = stacked(100 * counts.div(counts.sum(axis=1), axis=0), FATE_LOOKS)
    axes = {"x": "share of what the prompts gave (%)", "y": "kind of tree, level (prompts)", "xlim": (0, 100)}
    return Chart([Panel(marks, **axes, rows=names)], size=(9.0, 1.6 + 0.42 * len(data)), legend="top")


def ttrl(data: pd.DataFrame) -> Chart:
    """Right probes after each step, test problems solved so far, reward on the variants, from `ladder.report.ttrl`."""
    x, reward = "step of TTRL (0: before the first)", data.groupby("arm", sort=False)
    right = bands(data, "step", "right", 100, SHARE)
    solved = bands(data, "step", "solved", 100, SHARE, ("solved_low", "solved_high"))
    title = "Mean over test problems and seeds, 95 % intervals"
    panels = [
        Panel(right, x, "right probes (%)", title, ylim=(0, 102)),
        Panel(solved, x, "solved at any step so far (%)", ylim=(0, 102)),
        Panel([arm_mark(arm, part["step"], part["reward"]) for arm, part in reward], x, "reward on the variants"),
    ]
    return Chart(panels, size=(9.0, 8.0), shared="x")


def curves(metrics: pd.DataFrame, smoothing: int = 5) -> Chart:
    """The share of answers with the top reward along the steps, one line per arm, from rows of a run's metrics.csv."""
    return plots.curves(metrics, "step", "top_reward", smoothing=smoothing)


def tree(data: pd.DataFrame, root: str = "the problem") -> Chart:
    """The tree of one problem from left to right: each variant in the colour of what became of it, the root in black.
    `data` has the columns id, parent, level and fate (a key of `FATE_LOOKS`), parents before their children, and
    perhaps said, the text shown on pointing at a variant. Picking a variant gives its id."""
    heights, top = _places(data), data["parent"].iloc[0]
    points = {node: (level, heights[node]) for node, level in zip(data["id"], data["level"], strict=True)}
    points |= {node: (0, height) for node, height in heights.items() if node not in points}
    x, y = [], []  # every edge, and a gap after it
    for node, parent in zip(data["id"], data["parent"], strict=True):
        x += [points[parent][0], points[node][0], float("nan")]
        y += [points[parent][1], points[node][1], float("nan")]
    marks = [Mark(x, y, colour="#bbbbbb", line="-", hover=[""] * len(x))]
    marks += [Mark(*[[part] for part in points[top]], "the problem", marker="s", size=8, hover=[root], keys=[top])]
    for fate, (text, colour) in FATE_LOOKS.items():
        own = data[data["fate"] == fate]
        if len(own):
            places = zip(*(points[node] for node in own["id"]))
            hover = list(own["said"] if "said" in own else own["id"])
            look = {"marker": "o", "size": 6, "hover": hover, "keys": list(own["id"])}
            marks.append(Mark(*map(list, places), f"{text} ({len(own)})", colour, **look))
    deepest = int(data["level"].max())
    axes = {"ticks": {level: str(level) for level in range(deepest + 1)}, "xlim": (-0.2, deepest + 0.2), "bare": "y"}
    panel = Panel(marks, "level", **axes, ylim=(max(heights.values()) + 1, -1))
    return Chart([panel], size=(9.0, 1.2 + 0.1 * max(24, len(heights))))


def _places(data: pd.DataFrame) -> dict[str, float]:
    """The height of each node: leaves one under another in the order written, parents in the middle of their own."""
    children, leaves = data.groupby("parent", sort=False)["id"].apply(list).to_dict(), count()
    places: dict[str, float] = {}

    def put(node: str) -> float:
        places[node] = fmean([put(child) for child in children.get(node, [])] or [next(leaves)])
        return places[node]

    put(data["parent"].iloc[0])
    return places


def one_problem(data: pd.DataFrame) -> Chart:
    """TTRL on one test problem: right probes above, the reward below, from its rows of `ladder.report.probes`."""
    x, share = "step of TTRL (0: before the first)", 100 * data["right"] / data["probes"]
    colours = [COLOURS[2] if right else COLOURS[4] for right in data["right"]]
    said = [f"step {row.step}: {row.right} of {row.probes} probes right" for row in data.itertuples()]
    right = [Mark(data["step"], share, line=":", colour=OTHERS, hover=[""] * len(data))]
    right += [Mark(data["step"], share, colour=colours, marker="o", size=6, hover=said)]
    reward = [Mark(data["step"], data["reward"], colour=COLOURS[1], line="-", marker="o")]
    panels = [Panel(right, x, "right probes (%)", ylim=(-8, 108)), Panel(reward, x, "reward on the variants")]
    return Chart(panels, size=(9.0, 4.6), shared="x", legend="")
