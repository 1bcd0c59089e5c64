"""The explorer shows what the study's folder says, follows every control, and treats all text as text."""

from dataclasses import asdict
from html import unescape

import pandas as pd
import pytest

from soar_lib.files import RunError, jsonl, write_json
from soar_lib.measure import passk
from soar_lib.measure.names import look
from soar_lib.measure.tables import name, percent, signed
from soar_lib.records import HARD_TEST, TRANSFER
from soar_lib.soar import claims, explorer
from soar_lib.soar.explorer import ALL, VIEWS, Selection
from soar_lib.soar.settings import SoarConfig
from tests.measure.test_charts import series
from tests.measure.test_widgets import charts, leaves, table

SUMS = "State the final answer to the following arithmetic problem: "
WRITTEN = {0: [(SUMS + "42 + 9 =", "51"), (SUMS + "42 + 9 =", "41")], 1: [("<script>alert(1)</script>", "<b>7</b>")]}
RIGHT = {"base": 0, "hard_only": 1, "pq": 3, "grounded_t": 2}  # right answers of 4 on problem a; one more on b
NOTHING = "Choose at least one arm and one seed."


def write_study(folder, arms=("grounded", "n_half"), seeds=(0, 1)):
    """A study's folder with what the explorer reads: SOAR runs of two rounds and evaluations with one student a run."""
    folder.mkdir(exist_ok=True)
    write_json(folder / "config.json", {"arms": list(arms), "evaluate": {"ks": [1, 4]}})
    for arm in arms:
        own = seeds[:1] if arm == "n_half" else seeds
        for seed in own:
            write_run(folder / arm / f"seed{seed}", seed)
        measured = ["pq"] if arm == "n_half" else list(RIGHT)
        write_evaluation(folder / arm / "evaluate", arm, own, measured, "n_half" if arm == "n_half" else "")


def write_run(folder, seed):
    folder.mkdir(parents=True)
    write_json(folder / "config.json", asdict(SoarConfig(seed=seed)))
    rounds = [
        {
            "round": number, "rewards": [[reward], [reward - 0.02]], "baseline_accuracy": 0.1, "mean_reward": reward,
            "moving_average": reward, "promoted": number > seed, "chosen": None,
        }
        for number, reward in ((1, 0.02 + seed / 100), (2, 0.06))
    ]  # fmt: skip
    problems = [
        {"round": number, "dataset": dataset, "question": question, "answer": answer, "reward": 0.015 * number - 0.02}
        for number in (1, 2)
        for dataset, pairs in WRITTEN.items()
        for question, answer in pairs[: 2 if number == 1 else 1]
    ]
    (folder / "rounds.jsonl").write_text(jsonl(rounds))
    (folder / "problems.jsonl").write_text(jsonl(problems))


def write_evaluation(folder, arm, seeds, measured, label):
    folder.mkdir(parents=True)
    write_json(folder / "config.json", {"arms": measured, "label": label, "synthetic_steps": 2})
    runs = [f"{arm}/seed{seed}" for seed in seeds]
    pd.DataFrame({"run": runs, "seed": seeds}).to_csv(folder / "sources.csv", index=False)
    rows = [
        {
            "arm": f"{name}_{label}" if label else name, "run": run, "student": 0, "problem": problem, "n": 4,
            "c": max(0, RIGHT[name] + more - source), "rollouts": 64, "set": set,
        }
        for name in measured
        for source, run in enumerate(runs)
        for set, problems in (("hard_test", "ab"), ("transfer", "cd"))
        for more, problem in enumerate(problems)
        if set == "hard_test" or name != "grounded_t"
    ]  # fmt: skip
    (folder / "scores.jsonl").write_text(jsonl(rows))
    metrics = [
        {
            "phase": phase, "step": step, "arm": name, "source": source, "student": 0, "signal": 0.25 * source,
            "reward": 10 * RIGHT[name] + 8 * step + source, "top_reward": 0.125 * step, "length": 9, "grad_norm": 1.5,
        }
        for name in measured if name != "base"
        for source in range(len(seeds))
        for phase in ("synthetic", "hard")
        for step in (0, 1)
    ]  # fmt: skip
    pd.DataFrame(metrics).to_csv(folder / "metrics.csv", index=False)
    (folder / "pass_at_k.csv").write_text("")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explorer") / "study"
    write_study(folder)
    return folder


class Explorer:
    """The parts of the widget: controls by name, what is shown, and what the buttons do."""

    def __init__(self, folder, **settings):
        self.widget = explorer.ablation_explorer(folder, **settings)
        *parts, self.said, students, teachers, seeds = leaves(self.widget.children[0])
        keys = ("view", "k", "other", "smoothing", "rounds", "CSV", "LaTeX")
        self.controls = dict(zip(keys, parts, strict=True))
        self.buttons = {kind: self.controls.pop(kind) for kind in ("CSV", "LaTeX")}
        self.controls |= {"students": students, "teachers": teachers, "seeds": seeds}

    def choose(self, **values):
        for key, value in values.items():
            self.controls[key].value = value

    def press(self, kind):
        assert self.buttons[kind].description == f"Export {kind}"
        self.buttons[kind].click()
        return self.said.value

    @property
    def page(self):
        return self.widget.page()

    @property
    def table(self):
        return table(self.page)

    @property
    def drawn(self):
        """The names of the series of the page's chart."""
        (chart,) = charts(self.page)
        return list(series(chart.panels[0]))

    def visible(self):
        return {name for name, control in self.controls.items() if control.layout.display != "none"}


# ------------------------------------------------------------------ arms


def test_pass_at_k_follows_arms_seeds_k_and_set(study):
    shown = Explorer(study)
    scores = claims.read_study(study).scores

    def row(arm, runs, ks, set=HARD_TEST):
        own = [score for score in scores if score.arm == arm and score.run in runs]
        found = passk.table(own, ks, set=set)
        values = [percent(one.mean, one.low, one.high) for one in found.itertuples()]
        return [name(arm), str(found["seeds"][0]), "64", *values]

    both, first = ("seed0", "seed1"), ("seed0",)
    main = ["base", "hard_only", "pq", "grounded_t"]
    assert shown.visible() == {"view", "students", "seeds", "k"} and charts(shown.page)
    assert shown.controls["students"].value == (*main,)  # of the arms there are; the sweep is not among the first
    assert len({look(arm)["colour"] for arm in explorer.FIRST}) == len(explorer.FIRST)
    assert shown.drawn == [f"{name(arm)} (2)" for arm in main]
    assert shown.table == [
        ["arm", "students", "rollouts each", "pass@1 (%)", "pass@4 (%)"], *(row(arm, both, [1, 4]) for arm in main),
    ]  # fmt: skip
    shown.choose(students=("pq_n_half", "pq"), seeds=(0,))
    assert shown.table[1:] == [row("pq", first, [1, 4]), row("pq_n_half", first, [1, 4])]
    shown.choose(k=4)
    assert shown.table == [["arm", "students", "rollouts each", "pass@4 (%)"], row("pq", first, [4]), shown.table[2]]
    shown.choose(view="transfer", students=("pq", "grounded_t"), seeds=(1,))
    assert shown.table[1:] == [row("pq", ("seed1",), [4], TRANSFER)]
    assert shown.page[1].startswith("Not shown: Grounded-T; no finished evaluation has scores on the transfer set")


def numbers(tables, chosen):
    return explorer.seen(tables, chosen)[0]


def test_intervals_are_computed_once_and_not_where_the_study_has_them(study, tmp_path, monkeypatch):
    calls = []

    def counted(scores, ks, **settings):
        calls.append((scores[0].arm, ks))
        return table_of(scores, ks, **settings)

    table_of = passk.table
    monkeypatch.setattr(passk, "table", counted)
    tables, chosen = explorer.read(study), Selection("pass_at_k", ("base", "pq"), (0, 1), k=4)
    first = numbers(tables, chosen)
    assert calls == [("base", [4]), ("pq", [4])]
    assert numbers(tables, chosen).equals(first) and len(calls) == 2
    wider = Selection("pass_at_k", ("pq", "hard_only"), (0, 1, 7), k=ALL)  # a seed without runs changes nothing
    numbers(tables, wider)
    assert calls[2:] == [("pq", [1]), ("hard_only", [1, 4])]
    finished = tmp_path / "study"
    write_study(finished)
    table = passk.table(claims.read_study(study).scores, [1, 4]).assign(rollouts=77)
    table.to_csv(finished / "pass_at_k.csv", index=False)
    del calls[:]
    tables = explorer.read(finished)
    assert numbers(tables, wider)["rollouts"].tolist() == [77] * 4 and not calls
    assert numbers(tables, Selection("pass_at_k", ("pq",), (1,), k=4))["rollouts"].tolist() == [64]
    assert numbers(tables, Selection("transfer", ("pq",), (0, 1), k=4))["rollouts"].tolist() == [64]


def test_training_curves_follow_arms_seeds_and_smoothing(study):
    shown = Explorer(study)
    shown.choose(view="reward", smoothing=1)
    assert shown.visible() == {"view", "students", "seeds", "smoothing"} and charts(shown.page)
    rows = [  # two steps of the synthetic phase, two of the hard one; seeds lie 1 apart
        [name(arm), str(step), f"{10 * RIGHT[arm] + 8 * (step % 2) + 0.5} ± 0.7", "2"]
        for arm in ("hard_only", "pq", "grounded_t")
        for step in range(4)
    ]
    assert shown.table == [["arm", "step", "mean reward of the answers", "seeds"], *rows]
    assert shown.page[1].startswith("Not shown: Base (no training); these arms have no training curves")
    shown.choose(students=("pq",), seeds=(1,), smoothing=3)
    assert [row[2] for row in shown.table[1:]] == ["35.0"] * 4  # each phase by itself
    shown.choose(view="top_reward", smoothing=1)
    assert [row[2] for row in shown.table[1:]] == ["0.0", "12.5", "0.0", "12.5"]
    shown.choose(view="signal", seeds=(0, 1))
    assert [row[2] for row in shown.table[1:]] == ["12.5 ± 17.7"] * 4


def test_teachers_follow_arms_seeds_smoothing_and_rounds(study):
    shown = Explorer(study)
    shown.choose(view="teachers", smoothing=1)
    assert shown.controls["teachers"].value == ("grounded",) and shown.controls["rounds"].max == 2  # no sweep at first
    shown.choose(teachers=("grounded", "n_half"))
    assert shown.visible() == {"view", "teachers", "seeds", "smoothing", "rounds"} and charts(shown.page)
    assert shown.table == [
        ["arm", "round", "promotions", "teacher reward (points)", "seeds"],
        ["grounded reward", "1", "0.5", "2.5 ± 0.7", "2"], ["grounded reward", "2", "1.5", "6.0 ± 0.0", "2"],
        ["n x 1/2", "1", "1.0", "2.0", "1"], ["n x 1/2", "2", "2.0", "6.0", "1"],
    ]  # fmt: skip
    shown.choose(teachers=("grounded",), seeds=(1,), rounds=(2, 2))
    assert shown.table[1:] == [["grounded reward", "2", "1.0", "6.0", "1"]]
    shown.choose(smoothing=3)  # over all rounds, also those that are not shown
    assert shown.table[1:] == [["grounded reward", "2", "1.0", "4.5", "1"]]
    shown.choose(teachers=("n_half",))
    assert shown.page == [f"Nothing to show: {VIEWS['teachers']['empty']}"]


def test_empty_choices_give_a_sentence(study, tmp_path):
    shown = Explorer(study, export=tmp_path)
    shown.choose(students=(), teachers=())
    for view in VIEWS:
        shown.choose(view=view)
        assert shown.page == [NOTHING]
        assert "nothing was written" in shown.press("CSV") and "nothing was written" in shown.press("LaTeX")
    shown.choose(seeds=(), students=("pq",), teachers=("grounded",))
    for view in VIEWS:
        shown.choose(view=view)
        assert shown.page == [NOTHING]
    shown.choose(seeds=(0, 1))
    for view in VIEWS:
        shown.choose(view=view)
        assert charts(shown.page) and len(shown.table) > 1
    assert not list(tmp_path.iterdir())


def test_exports_hold_the_table_that_is_shown(study, tmp_path):
    shown = Explorer(study, export=tmp_path / "new" / "<place>")
    shown.choose(students=("base", "pq"), k=4)
    said = shown.press("CSV")
    path = tmp_path / "new" / "<place>" / "ablation_pass_at_k.csv"
    assert f"Written: {path}" in unescape(said) and "<place>" not in said
    own = [score for score in claims.read_study(study).scores if score.arm in ("base", "pq")]
    pd.testing.assert_frame_equal(pd.read_csv(path), passk.table(own, [4]))
    shown.choose(view="reward", students=("pq",), seeds=(1,), smoothing=1)
    assert "Written" not in shown.said.value  # what was said of another table is gone
    assert "ablation_reward.tex" in shown.press("LaTeX")
    assert (path.parent / "ablation_reward.tex").read_text().splitlines() == [
        r"\begin{tabular}{lrrr}", r"\toprule", r"arm & step & mean reward of the answers & seeds \\", r"\midrule",
        r"PQ & 0 & 31.0 & 1 \\", r"PQ & 1 & 39.0 & 1 \\", r"PQ & 2 & 31.0 & 1 \\", r"PQ & 3 & 39.0 & 1 \\",
        r"\bottomrule", r"\end{tabular}",
    ]  # fmt: skip
    assert sorted(file.name for file in path.parent.iterdir()) == ["ablation_pass_at_k.csv", "ablation_reward.tex"]


def test_an_export_that_cannot_be_written_says_so(study, tmp_path):
    (tmp_path / "file").write_text("")
    said = Explorer(study, export=tmp_path / "file" / "below").press("CSV")
    assert "cannot be written" in said and "name another folder as export" in said


def points(found):
    return signed(*(100 * value for value in (found.difference, found.low, found.high)))


def test_paired_gaps_are_those_of_the_paired_test_on_the_chosen_seeds(study):
    shown = Explorer(study)
    shown.choose(view="gaps", k=4)
    assert shown.visible() == {"view", "students", "seeds", "k", "other"}
    assert shown.controls["other"].value == "hard_only"
    scores = claims.read_study(study).scores
    found = {arm: passk.compare(scores, arm, "hard_only", 4) for arm in ("base", "pq", "grounded_t")}
    assert shown.table == [
        ["arm", "pass@4, points", "p", "seeds"],
        *([f"{name(arm)} minus Hard-Only", points(c), passk.p_text(c.p), "2"] for arm, c in found.items()),
    ]
    shown.choose(students=("pq", "pq_n_half"), other="grounded_t", seeds=(0,))
    assert [row[0] for row in shown.table[1:]] == ["PQ minus Grounded-T", "PQ, n x 1/2 minus Grounded-T"]
    shown.choose(students=("grounded_t",))
    assert shown.page == [f"Nothing to show: {VIEWS['gaps']['empty']}"]


# ------------------------------------------------------------------ the folder, and text as text


def test_an_unfinished_study_shows_what_there_is(tmp_path):
    write_json(tmp_path / "config.json", {"arms": ["grounded"], "evaluate": {"ks": [1, 4]}})
    shown = Explorer(tmp_path)
    for view in VIEWS:
        shown.choose(view=view)
        assert shown.page == [NOTHING]
    write_run(tmp_path / "grounded" / "seed0", 0)
    shown = Explorer(tmp_path)
    assert shown.page == [NOTHING]
    shown.choose(view="teachers")
    assert charts(shown.page) and len(shown.table) == 3


def test_a_folder_without_a_study_is_refused(tmp_path):
    with pytest.raises(RunError, match="is no study's folder"):
        explorer.ablation_explorer(tmp_path)
