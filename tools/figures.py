"""Which figures and tables the project has: each picture in figures/ is drawn from one CSV in figures/data.

`python -m tools.figures` (or `make figures`) computes and draws them all again from the committed runs in
runs/reference and, where a command of its own wrote the CSV, from figures/data.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pandas as pd

from soar_lib.files import read_problems, setting
from soar_lib.ladder import figures as ladder_plots
from soar_lib.ladder import report as ladder_report
from soar_lib.measure import passk, plots
from soar_lib.measure.charts import ROOT, SHARE, Chart, Drawing, Mark, Panel, Tables, arm_mark, save_all
from soar_lib.measure.claims import judged
from soar_lib.measure.methods import by_completions
from soar_lib.measure.names import COLOURS, LINES, MAIN, MARKERS
from soar_lib.measure.tables import name as named
from soar_lib.records import HARD_TEST, TRANSFER, Score
from soar_lib.soar import claims, question_map
from soar_lib.soar import figures as study_plots
from soar_lib.soar import report as study_tables
from soar_lib.svs import figures as svs_plots
from soar_lib.svs import report as svs_report
from tools.payoff import figure as payoff
from tools.structure import chart as structure
from tools.world_study import of_plain, of_world

REFERENCE = Path("runs") / "reference"
MAPPED = ("grounded", "intrinsic")  # whose questions the static map shows


def of_study(folder: str | Path) -> Tables:
    """Every figure and table of a study. Raises RunError where the folder holds none."""
    folder, scores = Path(folder), claims.read_study(folder).scores
    ks, threshold = setting(folder, "evaluate.ks", list[int]), setting(folder, "soar.threshold", float)
    grounded = [path for arm, _, path in study_tables.runs_of(folder) if arm == "grounded"]
    main = passk.table(scores, ks, MAIN)
    return {
        **study_plots.of_runs(folder / "filter", grounded, main, threshold),
        "soar_topics": (_topics(folder, scores, max(ks)), by_topic),
        **_arms(folder, scores, ks),
        **_written(folder),
    }


def _topics(folder: Path, scores: list[Score], k: int) -> pd.DataFrame:
    topics = {problem.id: problem.topic for problem in read_problems(folder / "filter", HARD_TEST)}
    chosen = [score for score in scores if score.arm in MAIN and score.problem in topics]
    return topics_table(chosen, topics, k)


def _arms(folder: Path, scores: list[Score], ks: list[int]) -> Tables:
    """What the arms scored, and the claims."""
    k, curves = max(ks), study_tables.curves(folder)
    swept = study_tables.swept(folder)
    runs = {score.run for score in scores if score.arm in swept}
    arms = [name for name in dict.fromkeys(score.arm for score in scores) if name not in swept]
    return {
        "claims": (claims.claims(folder), partial(plots.forest, of=claims.CLAIMS)),
        "comparisons": (claims.comparisons(folder), None),
        "study_arms": (passk.table(scores, ks, arms), partial(plots.arms, k=k)),
        "study_transfer": (passk.table(scores, ks, arms, set=TRANSFER), partial(plots.arms, k=k)),
        "study_sweeps": (
            passk.table([score for score in scores if score.run in runs], ks, ["grounded_t", "intrinsic_t", *swept]),
            partial(plots.arms, k=k),
        ),
        "study_curves": (
            _mean_curves(curves[curves["arm"].isin(MAIN)]),
            lambda data: plots.curves(data, "step", "top_reward", smoothing=5, border=study_tables.border(curves)),
        ),
    }


def _mean_curves(curves: pd.DataFrame) -> pd.DataFrame:
    """Students' training curves, their means per seed: one row per arm, seed and step."""
    values = ["reward", "top_reward", "signal"]
    return curves.groupby(["arm", "seed", "step"], sort=False)[values].mean().reset_index().round(5)


def _written(folder: Path) -> Tables:
    """What the teachers wrote: diversity, quality, and both against the rewards."""
    problems, sampled = study_tables.problems(folder), study_tables.sampled(folder)
    mapped = question_map.points(problems[problems["arm"].isin(MAPPED) & (problems["seed"] == 0)])
    return {
        "diversity_rounds": (study_tables.diversity_table(problems), study_plots.vendi_by_round),
        "diversity_arms": (study_tables.diversity_table(sampled), study_plots.vendi_by_arm),
        "diversity_gain": (study_plots.vendi_gain_table(problems), study_plots.vendi_against_gain),
        "quality_nano": (study_tables.quality_by_arm(sampled), _quality_bars),
        "quality_rounds": (study_tables.quality_by_round(problems), study_plots.quality_by_round),
        "question_map": (mapped, question_map_on_paper),
    }


def _quality_bars(data: pd.DataFrame) -> Chart:
    """Ours beside the paper's Table 7, where it is at hand."""
    path = ROOT / "data" / "quality_paper.csv"
    return study_plots.quality_bars(data, pd.read_csv(path) if path.exists() else None)


def question_map_on_paper(data: pd.DataFrame, by: str = "round") -> Chart:
    """The map of questions, a panel for each arm. `by` is one of `question_map.COLOUR_BY`."""
    arms, panels = list(dict.fromkeys(data["arm"])), []
    for arm in arms:
        own = (data["arm"] == arm).to_numpy()
        drawn = question_map.panel(data, own, by)
        marks = [Mark(**vars(mark) | {"name": mark.name.rpartition(" (")[0]}) for mark in drawn.marks]
        title = f"{named(arm)} ({question_map.counted(own.sum())})"
        panels.append(Panel(**vars(drawn) | {"marks": marks, "title": title}))
    columns = min(2, len(panels))
    size = (1.0 + 4.6 * columns, 1.2 + 3.9 * -(-len(panels) // columns))
    return Chart(panels, columns, size, shared="xy", heading=by, note=f"{question_map.made(data)}\n{question_map.HOW}")


def of_ladder(folder: str | Path) -> Tables:
    """Every figure and table of a LADDER run."""
    variants, scores = ladder_report.read_variants(folder), ladder_report.read_scores(folder)
    return {
        "ladder_arms": (ladder_report.table(folder), ladder_plots.arms),
        "ladder_claims": (ladder_report.claims(folder), partial(plots.forest, of=ladder_report.CLAIMS)),
        "ladder_levels": (ladder_report.levels(variants, scores), ladder_plots.levels),
        "ladder_variants": (ladder_report.trees(variants), ladder_plots.variants),
        "ladder_ttrl": (ladder_report.ttrl(folder), ladder_plots.ttrl),
    }


def of_svs(folder: str | Path) -> Tables:
    """Every figure and table of an SvS run. Raises RunError where the folder holds none."""
    study, numbers = svs_report.read(folder), svs_report.table(folder)
    return {
        "svs_arms": (numbers, None),
        "svs_pass_at_k": (svs_report.passes(numbers[numbers["arm"].isin(svs_plots.THREE)]), svs_plots.pass_at_k),
        "svs_claims": (judged(study, svs_report.CLAIMS), partial(plots.forest, of=svs_report.CLAIMS)),
        "svs_curves": (svs_report.steps(folder), svs_plots.entropy),
        "svs_kinds": (svs_report.kinds(folder), None),
        "svs_variants": (svs_report.variants(folder, 5).round(5), svs_plots.shares),
    }


def of_real(folder: str | Path) -> Tables:
    """Rounds and arms of the run on a real model; what a model must look at is in tables of tools/real.py."""
    folder = Path(folder)
    scores = passk.read_scores([folder / "evaluate"])
    return {
        "real_timeline": (
            study_plots.rounds_table([folder / "soar"]),
            partial(study_plots.timeline, threshold=setting(folder / "soar", "threshold", float)),
        ),
        "real_arms": (passk.table(scores, setting(folder / "evaluate", "ks", list[int])), plots.pass_at_k),
    }


def base_accuracy(data: pd.DataFrame) -> Chart:
    """Accuracy of the untrained model by depth, one line per family; columns family, depth, accuracy."""
    marks = [
        Mark(part["depth"], 100 * part["accuracy"], family.replace("_", " "), **_line(i))
        for i, (family, part) in enumerate(data.groupby("family", sort=True))
    ]
    axes = {"x": "depth (steps of the worked solution)", "y": "right answers at temperature 1 (%)", "ylim": SHARE}
    return Chart([Panel(marks, **axes, title="The shipped model before any reinforcement learning")])


def _line(place: int) -> dict[str, str]:
    return {"colour": COLOURS[1 + place], "line": LINES[place % 4], "marker": MARKERS[place % 7]}


# The committed runs: the folder's name in `REFERENCE`, and the figures and tables that it gives.
RUNS: dict[str, Callable[[Path], Tables]] = {
    "study": of_study, "study2": of_world, "study2_plain": of_plain, "ladder": of_ladder, "svs": of_svs,
    "real": of_real,
}  # fmt: skip
# Figures drawn from a CSV that a command wrote; the name is that of the CSV and of the picture.
FROM_TABLES: dict[str, Drawing] = {
    "nano_base_accuracy": base_accuracy, "real_map": question_map_on_paper, "methods": by_completions,
    "structure": structure, "payoff": payoff,
}  # fmt: skip


def draw_all(root: str | Path = ROOT, reference: str | Path = REFERENCE) -> list[Path]:
    """Draw every figure for which there is data; returns the pictures' paths."""
    tables: Tables = {}
    for name, of_run in RUNS.items():
        if any((Path(reference) / name).rglob("config.json")):
            tables |= of_run(Path(reference) / name)
    for name, figure in FROM_TABLES.items():
        path = Path(root) / "data" / f"{name}.csv"
        if path.exists():
            tables[name] = (pd.read_csv(path), figure)
    return save_all(tables, root)


def topics_table(scores: list[Score], topics: dict[str, str], k: int, seed: int = 0) -> pd.DataFrame:
    """pass@k of each arm on the problems of each topic alone; `topics` says a problem id's. Columns topic, problems
    (how many were measured) and those of `passk.COLUMNS`."""
    parts = {}
    for topic in sorted({topics[score.problem] for score in scores}):
        own = [score for score in scores if topics[score.problem] == topic]
        parts[topic, len({score.problem for score in own})] = passk.table(own, [k], seed=seed)
    return pd.concat(parts, names=["topic", "problems"]).reset_index(["topic", "problems"]).reset_index(drop=True)


def by_topic(data: pd.DataFrame) -> Chart:
    """pass@k of each arm by topic with its interval; see `topics_table`."""
    groups, topics = data.groupby("arm", sort=False), list(dict.fromkeys(data["topic"]))
    marks = []
    for index, (arm, part) in enumerate(groups):
        x = part["topic"].map(topics.index) + 0.12 * (index - (len(groups) - 1) / 2)
        ends = {end: 100 * part[end] for end in ("low", "high")}
        marks.append(arm_mark(arm, x, 100 * part["mean"], line="", size=6, **ends))
    counts = data.groupby("topic")["problems"].first()
    ticks = {i: f"{topic.replace('_', chr(10))}\n({counts[topic]})" for i, topic in enumerate(topics)}
    axes = {"x": "topic (test problems)", "y": f"pass@{data['k'].iloc[0]} on hard test (%)"}
    return Chart([Panel(marks, **axes, title="Mean and 95 % intervals", ticks=ticks, ylim=(-2, 102))], size=(9.0, 4.4))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tools.figures", description="Draw every figure again.")
    parser.add_argument("--figures", type=Path, default=ROOT, help="folder of the pictures, with data/ in it")
    parser.add_argument("--reference", type=Path, default=REFERENCE, help="folder of the runs, as runs/reference is")
    arguments = parser.parse_args()
    for path in draw_all(arguments.figures, arguments.reference):
        print(path)


if __name__ == "__main__":
    main()
