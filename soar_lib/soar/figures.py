"""Figures of SOAR's runs, of how teachers earned, and of what they write: its diversity (SOAR Table 1, appendix E) and
its quality (Table 7). A table of `passk.table` or `soar.report` goes in and a `Chart` comes out; fractions of 1 are
drawn as percent or points. Diversity tables of several embeddings may be put one under another: each gets its panel."""

import math
import re
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import pandas as pd
from scipy.stats import spearmanr

from soar_lib.measure import diversity, plots
from soar_lib.measure.charts import Chart, Mark, Panel, Tables, arm_mark, stacked
from soar_lib.measure.diversity import Embedding
from soar_lib.measure.names import COLOURS, LABEL_LOOKS, ordered
from soar_lib.measure.quality import LABELS
from soar_lib.measure.tables import name, percent
from soar_lib.soar import report
from soar_lib.soar.study import ARMS

ROUNDS = ["run", *report.ROUNDS[2:]]
GAINING = ("grounded", "no_promotion", "multi_turn")  # arms paid by their students' gain, with data sets of one size
GAIN_COLUMNS = ["arm", "seed", "round", "dataset", "n", "embedding", "q", "vendi", "reward"]


def of_runs(filtered: str | Path, soar: Iterable[Path], table: pd.DataFrame, threshold: float) -> Tables:
    """The figures of a filter run, SOAR runs with one promotion threshold, and the table of their evaluation."""
    return {
        "filtering_nano": (plots.filtering_table(filtered), plots.filtering),
        "soar_rounds": (rounds_table(soar), partial(timeline, threshold=threshold)),
        "soar_nano": (table, plots.pass_at_k),
    }


def rounds_table(folders: Iterable[str | Path]) -> pd.DataFrame:
    """One row per run and round; rewards are gains in accuracy (fractions of 1)."""
    return pd.DataFrame([row for folder in folders for row in report.rounds_of(Path(folder))], columns=ROUNDS)


def timeline(data: pd.DataFrame, threshold: float | None = None, shown: int | None = None) -> Chart:
    """Teacher reward, its moving average and promotions over the rounds of `rounds_table`, one panel per run."""
    parts = data.groupby("run", sort=False) if len(data) else [("", data)]
    rules = [("y", 100 * threshold, "promotion threshold")] if threshold is not None else []
    rules += [("x", shown, "round shown below")] if shown is not None else []
    panels = [
        Panel(_rewards(part), "round", "gain (points)", _title(run), rules=rules,
              xlim=(0.5, max(2, 2, *part["round"]) + 0.5))
        for run, part in parts
    ]  # fmt: skip
    height = 1.1 + (2.4 if len(panels) == 1 else 1.7) * len(panels)
    return Chart(panels, size=(8.0, height), shared="x", legend="top")


def _title(run: str) -> str:
    """What a reader calls a run: its arm and seed in a study, else the teacher of the run."""
    found = re.fullmatch(r"(\w+)/seed(\d+)", run)
    return f"{name(found[1]).capitalize()}, seed {found[2]}" if found else "What the teacher earned, round by round"


def _rewards(part: pd.DataFrame) -> list[Mark]:
    x, promoted = part["round"], part[part["promoted"].astype(bool)]
    points = 100 * part[["mean_reward", "lowest", "highest", "moving_average"]]
    said = [
        f"round {row.round}: mean reward {100 * row.mean_reward:+.2f} points\ndata sets: {100 * row.lowest:+.2f} to "
        f"{100 * row.highest:+.2f}\nbaseline {100 * row.baseline_accuracy:.1f} %{', promoted' * bool(row.promoted)}"
        for row in part.itertuples()
    ]
    return [
        Mark(x, points["mean_reward"], "mean reward, band: all data sets", COLOURS[1], "-", "o", low=points["lowest"],
             high=points["highest"], ends="band", hover=said, keys=list(x)),
        Mark(x, points["moving_average"], "moving average", COLOURS[4], "--", keys=list(x)),
        Mark(promoted["round"], 100 * promoted["moving_average"], "promotion", marker="*", size=12,
             keys=list(promoted["round"])),
    ]  # fmt: skip


def teacher_means(rounds: pd.DataFrame, smoothing: int = 1) -> pd.DataFrame:
    """`plots.means` of the mean_reward of `soar.report.rounds`, and promotions: their mean number per seed so far."""
    counts = rounds.sort_values("round").groupby(["arm", "seed"])["promoted"].cumsum()
    promotions = plots.means(rounds.assign(promotions=counts), "round", "promotions")
    rewards = plots.means(rounds, "round", "mean_reward", smoothing)
    return rewards.merge(promotions[["arm", "round", "promotions"]], on=["arm", "round"], how="left")


def teachers(frame: pd.DataFrame, smoothing: int = 1) -> Chart:
    """`teacher_means`: rewards above, promotions below. Grounded ones are gains in accuracy, intrinsic ones are not."""
    steps = [arm_mark(arm, p["round"], p["promotions"], step=True) for arm, p in frame.groupby("arm", sort=False)]
    above = plots.curve(frame, "round", "mean_reward", title=plots.averaged(smoothing))
    below = Panel(steps, "round", plots.QUANTITIES["promotions"][0], ylim=(0, None))
    return Chart([above, below], size=(9.0, 5.6), shared="x")


def beside(ours: pd.DataFrame, paper: pd.DataFrame, model: str = "nano") -> pd.DataFrame:
    """One row per arm and source: pass@k in percent, ours with 95 % intervals, the paper's as mean ± SD over seeds.
    `ours` has the columns of `passk.COLUMNS` (fractions), `paper` those of figures/data/soar_paper.csv (percent). The
    paper's numbers are of another model on other problems: what compares is the order of the arms."""
    rows = []
    for arm in dict.fromkeys(ours["arm"]):
        mine, theirs = ours[ours["arm"] == arm], paper[paper["arm"] == arm]
        cells = {f"pass@{r.k}": percent(r.mean, r.low, r.high) for r in mine.itertuples(index=False)}
        students = mine["seeds"].iloc[0]
        rows.append({"arm": name(arm), "source": f"{model}, {students} student{'s' if students > 1 else ''}", **cells})
        for source, part in theirs[theirs["k"].isin(mine["k"])].groupby("set", sort=False):
            cells = {f"pass@{r.k}": f"{r.mean} ± {r.sd}" for r in part.itertuples(index=False)}
            rows.append({"arm": name(arm), "source": f"paper, {source.upper()}", **cells})
    return pd.DataFrame(rows)


def vendi_by_round(data: pd.DataFrame) -> Chart:
    """Vendi Score of each round's problems, of `soar.report.diversity_table`: each arm's mean and one SD over seeds.
    Sweeps have a panel of their own: one of six times the rounds would leave the others a tenth of the width."""
    sweep = data["arm"].map(lambda arm: ARMS[arm].sweep)
    panels = [
        plots.mean_curve(part, "round", "vendi", label=_score(part),
                         title=f"{embedding}; {_sizes(part)} problems of each round\nmean and ± 1 SD over seeds")
        for (embedding, _), part in data.groupby(["embedding", sweep], sort=False)
    ]  # fmt: skip
    return Chart(panels, size=(9.0, 1.2 + 3.2 * len(panels)))


def vendi_by_arm(data: pd.DataFrame) -> Chart:
    """Vendi Score of the problems that each teacher wrote for the evaluation, one row each: seeds faint, means full.
    `data` is a table of `soar.report.diversity_table`."""
    arms, panels = ordered(data["arm"]), []
    for embedding, part in data.groupby("embedding", sort=False):
        marks = []
        for place, (arm, own) in enumerate((arm, part[part["arm"] == arm]) for arm in arms):
            said = [f"{name(arm)}, seed {row.seed}: {row.vendi:.2f}" for row in own.itertuples()]
            marks += [arm_mark(arm, own["vendi"], [place] * len(own), name="", line="", opacity=0.4, hover=said)]
            marks += [arm_mark(arm, [own["vendi"].mean()], [place], name="", line="", size=9)]
        title = f"{embedding}; {_sizes(part)} problems of each seed\nfaint: seeds, full: their mean"
        panels.append(Panel(marks, _score(part), "arm", title, xlim=(0, None), rows=list(map(name, arms))))
    return Chart(panels, size=(9.0, 0.6 + len(panels) * (1.2 + 0.3 * len(arms))), legend="")


def _score(part: pd.DataFrame) -> str:
    return f"Vendi Score (q = {' and '.join(f'{q:g}' for q in sorted(part['q'].unique()))})"


def _sizes(part: pd.DataFrame) -> str:
    return " or ".join(map(str, sorted(part["size"].unique())))


def quality_by_round(data: pd.DataFrame) -> Chart:
    """Well-posed and correct problems along the rounds, of `soar.report.quality_by_round`; sweeps are left out."""
    return plots.curves(data[~data["arm"].map(lambda arm: ARMS[arm].sweep)], "round", ("well_posed", "correct"))


def vendi_gain_table(
    problems: pd.DataFrame, embed: Embedding | None = None, arms: tuple[str, ...] = GAINING, q: float = 1.0
) -> pd.DataFrame:
    """One row per data set of the outer loop, columns `GAIN_COLUMNS`: the Vendi Score of its questions and its reward,
    the gain in accuracy of students trained on it (a fraction of 1), of `soar.report.problems`; `embed` None: character
    n-grams. Raises ValueError where data sets differ in size, since their scores do not compare."""
    chosen = problems[problems["arm"].isin(arms)].reset_index(drop=True)
    if chosen.empty:
        return pd.DataFrame(columns=GAIN_COLUMNS)
    embed, rows = embed or diversity.tfidf(), []
    vectors = embed.encode(list(chosen["question"]))
    for key, own in chosen.groupby(GAIN_COLUMNS[:4], sort=False).indices.items():
        score = diversity.vendi(vectors[own], q)
        rows.append([*key, len(own), embed.name, q, score, float(chosen["reward"].iloc[own[0]])])
    found = pd.DataFrame(rows, columns=GAIN_COLUMNS)
    if found["n"].nunique() > 1:
        sizes = found.groupby("arm", sort=False)["n"].unique()
        said = "; ".join(f"{arm}: {', '.join(map(str, own))}" for arm, own in sizes.items())
        raise ValueError(f"data sets of {said} problems do not compare; name arms whose sets have one size")
    return found


def vendi_against_gain(data: pd.DataFrame) -> Chart:
    """A data set's gain against its Vendi Score, coloured by arm; `data` is a table of `vendi_gain_table`. The title
    has Spearman's rho over all data sets, and within rounds, where all data sets of a round share their baseline and
    reward set: both numbers are then taken as differences from their round's means."""
    panels = []
    for embedding, part in data.groupby("embedding", sort=False):
        marks = [_data_sets(arm, own) for arm, own in part.groupby("arm", sort=False)]
        title = f"{embedding}\nSpearman's rho {_rho(part)}\nwithin rounds {_rho(within_rounds(part))}"
        label = f"{_score(part)} of a data set of {' or '.join(map(str, part['n'].unique()))} problems"
        panels.append(Panel(marks, label, "gain in accuracy (points)", title))
    return Chart(panels, size=(9.0, 1.2 + 3.4 * len(panels)), shared="x", heading="arm: rho")


def _data_sets(arm: str, own: pd.DataFrame) -> Mark:
    said = [
        f"{name(arm)}, seed {row.seed}, round {row.round}, data set {row.dataset}\nVendi Score {row.vendi:.2f}, gain "
        f"{100 * row.reward:+.2f} points"
        for row in own.itertuples()
    ]
    look = {"name": f"{name(arm)}: {_rho(own)}", "line": "", "opacity": 0.6, "hover": said}
    return arm_mark(arm, own["vendi"], 100 * own["reward"], **look)


def within_rounds(data: pd.DataFrame) -> pd.DataFrame:
    """The table of `vendi_gain_table`, vendi and reward minus their means in the same arm, seed and round."""
    values = ["vendi", "reward"]
    return data.assign(**data[values] - data.groupby(["arm", "seed", "round"])[values].transform("mean"))


def rank_correlation(data: pd.DataFrame) -> float:
    """Spearman's rho of vendi and reward; NaN where one of them is constant."""
    if min(data["vendi"].nunique(), data["reward"].nunique()) < 2:
        return math.nan
    return float(spearmanr(data["vendi"], data["reward"]).statistic)


def _rho(data: pd.DataFrame) -> str:
    rho = rank_correlation(data)
    return f"{'undefined' if math.isnan(rho) else f'{rho:+.2f}'} (n = {len(data)})"


def quality_bars(data: pd.DataFrame, paper: pd.DataFrame | None = None) -> Chart:
    """Shares of the quality labels of each arm of `soar.report.quality_by_arm`, with 95 % intervals of `correct` and of
    all well-posed ones. Beneath, paler, what `paper` says (figures/data/quality_paper.csv, SOAR Table 7 as printed,
    where not all columns add up to 100: another model, other problems, a language model as judge)."""
    theirs = paper if paper is not None else data[:0]
    bars = [(arm, source, table[table["arm"] == arm].set_index("measure")) for arm in ordered(data["arm"])
            for source, table in (("", data), (", paper", theirs)) if (table["arm"] == arm).any()]  # fmt: skip
    shares, marks = pd.DataFrame([part["percent"] for *_, part in bars], index=range(len(bars))), []
    for source, opacity in (("", 1.0), (", paper", 0.45)):
        looks = {label: LABEL_LOOKS[label] for label in LABELS}
        marks += stacked(shares[[said == source for _, said, _ in bars]], looks, least=5, opacity=opacity)
    for measure, offset in (("correct", 0.28), ("well_posed", -0.28)):
        ours = [(place, part.loc[measure]) for place, (_, source, part) in enumerate(bars) if not source]
        x, low, high = ([row[column] for _, row in ours] for column in ("percent", "low", "high"))
        marks.append(Mark(x, [place + offset for place, _ in ours], marker="|", size=3, low=low, high=high, ends="x"))
    rows = [f"{name(arm)}{source} (n = {part['n'].iloc[0]})" for arm, source, part in bars]
    panel = Panel(marks, "share of the judged problems (%)", "arm (judged problems)", rows=rows, xlim=(0, 100))
    return Chart([panel], size=(9.0, 1.6 + 0.42 * len(bars)), legend="top")
