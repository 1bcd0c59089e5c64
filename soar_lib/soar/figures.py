"""Figures of a study: what its arms scored, how their students and teachers learned, its sweeps and its claims.

As in measure/plots.py a table goes in and a figure comes out. Tables are those of `passk.table`, `claims.claims` and
`study_tables`; fractions of 1 are drawn as percent or points. `styles` keeps an arm's colour the same in every figure.
"""

import math
from collections.abc import Iterable, Sequence
from textwrap import fill

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from soar_lib.measure import plots
from soar_lib.measure.claims import FAILS, HOLDS, MARGIN, UNDECIDED, Claim
from soar_lib.measure.plots import COLOURS, MARKERS, STYLE
from soar_lib.measure.tables import ARMS, title
from soar_lib.soar.claims import CLAIMS

Styles = dict[str, dict[str, str]]  # an arm's colour, marker and line
LINES = ("-", "--", ":", "-.")
UNITS = ("points", "ratio", "percent", "nats per token")  # of claims
VERDICTS = {HOLDS: COLOURS[2], FAILS: COLOURS[3], UNDECIDED: "#666666"}
# What a study's arms change (`soar_lib.study.ARMS`), for readers.
SETTINGS = {
    "grounded": "grounded reward", "intrinsic": "intrinsic reward", "no_promotion": "no promotion",
    "multi_turn": "two turns", "n_half": "n x 1/2", "tau_x1.5": "tau x 1.5", "tau_x2": "tau x 2", "r_half": "r x 1/2",
    "sampled_reward": "sampled reward", "samples_half": "samples x 1/2", "samples_quarter": "samples x 1/4",
    "rounds_x6": "rounds x 6",
}  # fmt: skip
# Columns that become axes: what they say, and the factor to their unit.
QUANTITIES = {
    "step": ("step (both phases)", 1), "round": ("round", 1), "reward": ("mean reward of the answers", 1),
    "top_reward": ("answers with the top reward (%)", 100), "signal": ("groups with unequal rewards (%)", 100),
    "length": ("length of the answers (tokens)", 1), "grad_norm": ("gradient norm", 1),
    "mean_reward": ("teacher reward (points)", 100), "baseline_accuracy": ("accuracy of the baseline (%)", 100),
}  # fmt: skip


def name(arm: str) -> str:
    """The name for readers of an arm of tables or of a study.

    >>> name("pq"), name("grounded_t_n_half"), name("tau_x2"), name("mine_too")
    ('PQ', 'Grounded-T, n x 1/2', 'tau x 2', 'mine too')
    """
    if arm in ARMS or arm in SETTINGS:
        return SETTINGS.get(arm) or title(arm)
    base = max((known for known in ARMS if arm.startswith(f"{known}_")), key=len, default="")
    setting = SETTINGS.get(arm.removeprefix(f"{base}_"))
    return f"{title(base)}, {setting}" if base and setting else title(arm)


def ordered(arms: Iterable[str]) -> list[str]:
    """Each arm once, in the order of `tables.ARMS`; others follow as they come."""
    known = list(ARMS)
    return sorted(dict.fromkeys(arms), key=lambda arm: known.index(arm) if arm in known else len(known))


def styles(arms: Sequence[str]) -> Styles:
    """The look of each arm: up to 28 differ in colour or line."""
    return {
        arm: {
            "color": COLOURS[index % 7], "marker": MARKERS[(index + index // 7) % 7], "ls": LINES[index // 7 % 4],
        }
        for index, arm in enumerate(dict.fromkeys(arms))
    }  # fmt: skip


# ------------------------------------------------------------------ lines over steps and rounds


def means(data: pd.DataFrame, x: str, y: str, smoothing: int = 1) -> pd.DataFrame:
    """The mean over seeds of each arm at each x: columns arm, x, y, sd (over seeds; NaN for one), seeds.

    `data` has the columns arm, seed, x, y and may have student. Every line is first smoothed by a centred moving
    average of `smoothing` points (fewer at its ends), then a seed's students are averaged, then seeds.
    """
    if data.empty:
        return pd.DataFrame(columns=["arm", x, y, "sd", "seeds"])
    wide = data.pivot(index=x, columns=[key for key in ("arm", "seed", "student") if key in data], values=y)
    smooth = wide.rolling(smoothing, center=True, min_periods=1).mean().where(wide.notna())
    seeds = smooth.T.groupby(level=["arm", "seed"]).mean()
    parts = []
    for arm in dict.fromkeys(data["arm"]):
        own = seeds.loc[arm]
        part = pd.DataFrame({y: own.mean(), "sd": own.std(), "seeds": own.count()}).dropna(subset=[y])
        parts.append(part.rename_axis(x).reset_index().assign(arm=arm))
    return pd.concat(parts, ignore_index=True)[["arm", x, y, "sd", "seeds"]]


def bands(data: pd.DataFrame, x: str, y: str, smoothing: int = 1, look: Styles | None = None) -> Figure:
    """One line per arm, the mean over seeds, with a band of one SD over seeds on each side; `data` as in `means`."""
    return lines(means(data, x, y, smoothing), x, y, smoothing, look)


def lines(frame: pd.DataFrame, x: str, y: str, smoothing: int = 1, look: Styles | None = None) -> Figure:
    """The figure of a table that `means` gave; `smoothing` is what it was smoothed by."""
    figure, (axes,) = plots.new_axes(size=(9.0, 4.4))
    draw_bands(axes, frame, x, y, look or styles(frame["arm"]))
    axes.set_xlabel(QUANTITIES.get(x, (x, 1))[0])
    axes.set_title(_smoothed("Mean over seeds, band: ± 1 SD over seeds", smoothing))
    side_legend(figure, axes)
    return figure


def _smoothed(text: str, smoothing: int) -> str:
    return f"{text}; moving average of {smoothing}" if smoothing > 1 else text


def draw_bands(axes: Axes, frame: pd.DataFrame, x: str, y: str, look: Styles) -> None:
    label, factor = QUANTITIES.get(y, (y, 1))
    for arm, part in frame.groupby("arm", sort=False):
        mean, sd, every = factor * part[y], factor * part["sd"], max(1, len(part) // 10)
        axes.fill_between(part[x], mean - sd, mean + sd, color=look[arm]["color"], alpha=0.15, lw=0)
        axes.plot(part[x], mean, **look[arm], ms=4, markevery=every, lw=1.5, label=name(arm))
    axes.set_ylabel(label)
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)


def side_legend(figure: Figure, axes: Axes, heading: str = "") -> None:
    """All arms beside the panels, where they hide nothing."""
    entries = axes.get_legend_handles_labels()
    figure.legend(*entries, title=heading, loc="outside right upper", fontsize=9, frameon=False)


def teacher_means(rounds: pd.DataFrame, smoothing: int = 1) -> pd.DataFrame:
    """The columns of `means` over rounds of mean_reward, and promotions: how many a seed had so far, in the mean.

    `rounds` has the columns of `study_tables.ROUNDS`.
    """
    counts = rounds.sort_values("round").groupby(["arm", "seed"])["promoted"].cumsum()
    promotions = means(rounds.assign(promotions=counts), "round", "promotions")
    rewards = means(rounds, "round", "mean_reward", smoothing)
    return rewards.merge(promotions[["arm", "round", "promotions"]], on=["arm", "round"], how="left")


def teachers(frame: pd.DataFrame, smoothing: int = 1, look: Styles | None = None) -> Figure:
    """Teachers' rewards above, promotions so far below, over the rounds; the table of `teacher_means`.

    A grounded reward is a gain in accuracy; an intrinsic one is not, so the two do not compare.
    """
    look = look or styles(frame["arm"])
    figure, (above, below) = plots.new_axes(2, (9.0, 5.6))
    draw_bands(above, frame, "round", "mean_reward", look)
    for arm, part in frame.groupby("arm", sort=False):
        below.step(part["round"], part["promotions"], **look[arm], ms=4, where="post", label=name(arm))
    above.set_title(_smoothed("Mean over seeds, band: ± 1 SD over seeds", smoothing))
    below.set(xlabel="round", ylabel="promotions so far, per seed")
    below.set_ylim(bottom=0)
    side_legend(figure, above)
    return figure


# ------------------------------------------------------------------ pass@k


def pass_at_k(data: pd.DataFrame, where: str = "hard test", look: Styles | None = None) -> Figure:
    """`plots.pass_at_k` for many arms: the legend beside it, and each arm in its own look."""
    figure, look = plots.pass_at_k(data), look or styles(data["arm"])
    figure.set_size_inches(9.0, 4.4)
    axes = figure.axes[0]
    for bars, (arm, part) in zip(axes.containers, data.groupby("arm", sort=False), strict=True):
        line, caps, ends = bars.lines
        line.set(color=look[arm]["color"], marker=look[arm]["marker"], ls=look[arm]["ls"])
        for cap in caps:
            cap.set(color=look[arm]["color"], markeredgecolor=look[arm]["color"])
        for stroke in ends:
            stroke.set_color(look[arm]["color"])
        bars.set_label(f"{name(arm)} ({part['seeds'].iloc[0]})")
    axes.get_legend().remove()
    axes.set(ylabel=f"pass@k on {where} (%)", title="Mean and 95 % intervals")
    side_legend(figure, axes, "arm (students)")
    return figure


def arms(data: pd.DataFrame, k: int | None = None, where: str = "", look: Styles | None = None) -> Figure:
    """pass@k of every arm at one k (None: the largest) with its interval, one row each, in the order of `tables.ARMS`.

    `data` has the columns `passk.COLUMNS`; names end in how many students were measured. Raises ValueError
    where nothing was measured at k.
    """
    part = _at(data, k)
    found, look = ordered(part["arm"]), look or styles(part["arm"])
    figure, (axes,) = _rows([len(found)])
    _points(axes, part.set_index("arm", drop=False).loc[found], [look[arm] for arm in found])
    axes.set(xlabel=_measured(part, where), title="Mean and 95 % intervals", ylabel="arm (students)")
    return figure


def sweeps(data: pd.DataFrame, k: int | None = None, where: str = "") -> Figure:
    """pass@k at one k (None: the largest) of swept settings below the unswept one, a panel for each kind of student.

    `data` has the columns `passk.COLUMNS`; an arm is a sweep of the arm whose name its own begins with. Line and
    shade are the unswept setting's mean and interval. Raises ValueError where nothing was measured at k.
    """
    part = _at(data, k)
    groups = [(base, _sweeps_of(base, part)) for base in ordered(part["arm"]) if not _unswept(base, part["arm"])]
    figure, panels = _rows([len(group) for _, group in groups], sharex=True)
    for axes, (base, group) in zip(panels, groups, strict=True):
        first = group.iloc[0]
        axes.axvspan(100 * first["low"], 100 * first["high"], color=COLOURS[0], alpha=0.1, lw=0)
        axes.axvline(100 * first["mean"], color=COLOURS[0], ls=":", lw=1)
        looks = styles([base, "sweep"])
        _points(axes, group, [looks[base], *[looks["sweep"]] * (len(group) - 1)])
        axes.set(title=name(base), ylabel="setting (students)")
    panels[-1].set_xlabel(_measured(part, where) + ", 95 % intervals")
    return figure


def _unswept(arm: str, among: Iterable[str]) -> str:
    """The arm of which this one is a sweep, "" where there is none."""
    return max((other for other in among if arm.startswith(f"{other}_")), key=len, default="")


def _sweeps_of(base: str, part: pd.DataFrame) -> pd.DataFrame:
    own = [arm for arm in part["arm"] if arm == base or _unswept(arm, part["arm"]) == base]
    return part.set_index("arm", drop=False).loc[sorted(own, key=lambda arm: arm != base)]


def _at(data: pd.DataFrame, k: int | None) -> pd.DataFrame:
    part = data[data["k"] == (data["k"].max() if k is None else k)]
    if part.empty:
        measured = ", ".join(str(one) for one in sorted(data["k"].unique())) or "none"
        raise ValueError(f"k = {k}: no arm was measured at it; measured: {measured}")
    return part


def _measured(part: pd.DataFrame, where: str) -> str:
    return f"pass@{part['k'].iloc[0]}{f' on {where}' if where else ''} (%)"


def _rows(counts: Sequence[float], sharex: bool = False) -> tuple[Figure, list[Axes]]:
    """Panels one under another, each as high as the number of its rows asks for."""
    with rc_context(STYLE):
        figure = Figure(figsize=(9.0, 1.1 + 0.5 * len(counts) + 0.32 * sum(counts)), layout="constrained")
        heights = [count + 0.5 for count in counts]
        return figure, list(figure.subplots(len(counts), 1, sharex=sharex, squeeze=False, height_ratios=heights)[:, 0])


def _points(axes: Axes, part: pd.DataFrame, looks: Sequence[dict[str, str]]) -> None:
    """One row per arm from above: mean and interval."""
    for place, (row, look) in enumerate(zip(part.itertuples(), looks, strict=True)):
        errors = [[100 * (row.mean - row.low)], [100 * (row.high - row.mean)]]
        axes.errorbar(100 * row.mean, place, xerr=errors, capsize=3, ms=6, **look | {"ls": ""})
    axes.set_yticks(range(len(part)), [f"{name(row.arm)} ({row.seeds})" for row in part.itertuples()], fontsize=9)
    axes.set_ylim(len(part) - 0.5, -0.5)
    axes.set_xlim(left=min(0, axes.get_xlim()[0]) if (part["low"] < 0).any() else 0)


# ------------------------------------------------------------------ claims


def forest(claims: pd.DataFrame, of: Sequence[Claim] = CLAIMS) -> Figure:
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
    figure, panels = _rows([1.5 * len(part) for _, part in parts])
    for axes, (unit, part) in zip(panels, parts, strict=True):
        _claims(axes, part)
        axes.set(xlabel=f"{unit}, 95 % intervals", ylabel="claim")
        if "nats" in unit:
            axes.locator_params(axis="x", nbins=6)  # small numbers have long names
    entries = {label: handle for axes in panels for handle, label in zip(*axes.get_legend_handles_labels())}
    figure.legend(entries.values(), entries.keys(), loc="outside upper center", ncols=6, fontsize=9, frameon=False)
    return figure


def _unit(claim: Claim) -> str:
    """One of `UNITS`. A claim that names none is about points or, if measured against another value than 0, a ratio."""
    named = next((unit for unit in UNITS if unit in claim.text), "")
    return named or ("ratio" if claim.null else "points")


def _known(text: str, of: Sequence[Claim]) -> Claim:
    """The claim that a row of the table is about; what stands in braces differs from run to run."""
    own = (claim for claim in of if text.startswith(claim.text.partition("{")[0]))
    return next(own, Claim(text, lambda study: None))


def _claims(axes: Axes, part: pd.DataFrame) -> None:
    part = part.assign(place=range(len(part)))
    for verdict, own in part.groupby("verdict", sort=False):
        errors, look = [own["ours"] - own["low"], own["high"] - own["ours"]], {"fmt": "o", "color": VERDICTS[verdict]}
        axes.errorbar(own["ours"], own["place"], xerr=errors, capsize=3, label=f"ours: {verdict}", **look)
    axes.plot(part["paper"], part["place"], "D", mfc="none", mec=COLOURS[6], ms=7, label="paper")
    axes.plot(part["bound"], part["place"], "|", color=COLOURS[6], ms=16, label="to be cleared")
    if part["refuted"].notna().any():
        axes.plot(part["refuted"], part["place"], "|", color=COLOURS[5], ms=16, mew=2, label="refuted above")
    for row in part.itertuples():
        said = f"{row.verdict} ({row.seeds} seeds)" if row.seeds else "not measured"
        beside = {"transform": axes.get_yaxis_transform(), "va": "center", "fontsize": 9}
        axes.text(1.01, row.place, said, color=VERDICTS[row.verdict], **beside)
    axes.set_yticks(part["place"], [fill(text, 56) for text in part["claim"]], fontsize=8)
    axes.set_ylim(len(part) - 0.5, -0.5)
