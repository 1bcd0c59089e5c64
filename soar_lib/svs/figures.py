"""Figures of SvS and its controls: a table of `svs.report` goes in and a `Chart` comes out."""

from dataclasses import replace
from functools import partial

import pandas as pd

from soar_lib.measure import plots
from soar_lib.measure.charts import SHARE, Chart, Panel, arm_mark, bands
from soar_lib.measure.names import QUANTITIES, TABLE
from soar_lib.measure.plots import averaged, means
from soar_lib.measure.tables import name, percent, signed
from soar_lib.svs.settings import MAIN

CONTROLS = (*MAIN, "rlvr_equal_updates")  # arms of the static figure of entropy
THREE = ("base", "svs", "rlvr_equal_rollouts")  # arms of the static figure of pass@k
pass_at_k = partial(plots.pass_at_k, where="the hard set", seeds="seeds")  # of a table of `svs.report.passes`
AXES = {"step": "updates", "rollouts": "completions drawn for learning"}
MEASURES = TABLE["svs_shares"]


def along(data: pd.DataFrame, y: str, smoothing: int = 1) -> pd.DataFrame:
    """The mean of `y` over seeds, for each arm and each update where it was measured, from `svs.report.steps`: columns
    arm, step, rollouts (mean over seeds), y, sd, seeds; `smoothing` as in `measure.plots.means`."""
    known = data.dropna(subset=[y])
    spent = known.groupby(["arm", "step"])["rollouts"].mean()
    frame = means(known, "step", y, smoothing).join(spent, on=["arm", "step"])
    return frame[["arm", "step", "rollouts", y, "sd", "seeds"]]


def _curve(frame: pd.DataFrame, x: str, y: str, title: str = "") -> Panel:
    return replace(plots.curve(frame, x, y, title=title), x=AXES[x])


def curve(frame: pd.DataFrame, x: str, y: str, smoothing: int = 1) -> Chart:
    """One line per arm of a table of `along`, with a band of one SD over seeds on each side; x one of `AXES`."""
    return Chart([replace(_curve(frame, x, y, averaged(smoothing)), ylim=(0, None))])


def entropy(data: pd.DataFrame) -> Chart:
    """Entropy on the test problems and the share of them that is solved, each against the completions drawn, and one
    against the other: the way of each arm in `CONTROLS` from the untrained model. `data` is `svs.report.steps`."""
    chosen = data[data["arm"].isin(CONTROLS)]
    found = {y: along(chosen, y) for y in ("test_entropy", "test_pass_n")}
    both = found["test_entropy"].merge(found["test_pass_n"], on=["arm", "step"])
    across = [
        arm_mark(arm, own["test_entropy"], 100 * own["test_pass_n"]) for arm, own in both.groupby("arm", sort=False)
    ]
    label, _, limits = QUANTITIES["test_pass_n"]
    panels = [_curve(frame, "rollouts", y) for y, frame in found.items()]
    panels += [Panel(across, QUANTITIES["test_entropy"][0].replace("\n", " "), label)]
    return Chart(panels, size=(9.0, 9.0), legend="top", note=averaged())


def rows(data: pd.DataFrame) -> pd.DataFrame:
    """The arms of `svs.report.table` as text: completions that trained a seed, pass@k in percent with 95 % intervals on
    the hard set at every k of the paper (its number beside ours) and at the largest, entropy on test."""
    hard = [metric for metric in dict.fromkeys(data["metric"]) if metric.startswith("hard pass@")]
    known = {*data.loc[data["paper"].notna(), "metric"], max(hard, key=lambda metric: int(metric.partition("@")[2]))}
    found = []
    for arm, part in data.groupby("arm", sort=False):
        own = {row.metric: row for row in part.itertuples(index=False)}
        row = {"arm": name(arm), "completions": f"{part['rollouts'].iloc[0]:,}"}
        for metric in (metric for metric in hard if metric in known):
            one, k = own.get(metric), metric.removeprefix("hard ")
            row[f"{k}, %"] = percent(one.mean, one.low, one.high) if one else "–"
            if data.loc[data["metric"] == metric, "paper"].notna().any():
                row[f"paper's {k}"] = f"{100 * one.paper:.1f}" if one and pd.notna(one.paper) else "–"
        left = own["test entropy"]
        found.append(row | {"entropy on test, nats": signed(left.mean, left.low, left.high, 3)})
    return pd.DataFrame(found)


def shares(data: pd.DataFrame) -> Chart:
    """Shares of the written problems along the steps, a panel for each known measure, from `svs.report.variants`."""
    known = [measure for measure in MEASURES if data[measure].notna().any()]
    panels = [
        Panel(bands(means(data, "step", measure), "step", measure, 100, SHARE), "first step", "share (%)",
              MEASURES[measure], ylim=(-2, 102))
        for measure in known
    ]  # fmt: skip
    note = "first step of those counted together; mean over seeds, band: ± 1 SD; shares of the written problems"
    return Chart(panels, 2, (10.0, 5.8), shared="xy", note=note)
