"""The LADDER explorer shows what the run's folder says, follows every control, and treats all text as text."""

import re

import pytest

from soar_lib import files
from soar_lib.ladder import explorer as ladder_views
from soar_lib.ladder import report as ladder_report
from soar_lib.ladder.explorer import SHOWN
from soar_lib.ladder.variants import Variant, to_rows
from soar_lib.measure import live
from soar_lib.measure.charts import Chart
from tests.ladder.test_report import write_measured
from tests.measure.test_widgets import charts, leaves, table

TITLES = ("variant trees", "levels", "TTRL")


def own_trees(seed: int) -> list[dict]:
    """A tree of one level, and the trees of the test problems; the last one has nothing usable."""
    made = [
        ("one_level", Variant("n", "p", "p", 1, 0, "∫ 3 dx", "easier", 0.8, nearest="t1", distance=0.25)),
        ("ttrl", Variant("u", "t0", "t0", 1, 0, "<b>∫ 5 dx</b>", "easier", 1.0, "Emmy", ("swap it",))),
        ("ttrl", Variant("v", "t0", "u", 2, 1, "∫ x/0 dx", "easier", 1.0, rejected="unsolvable: <i>")),
        ("ttrl", Variant("w", "t1", "t1", 1, 0, "∫ y dx", "easier", 1.0, rejected="test problem")),
    ]
    return [row for tree, variant in made for row in to_rows([variant], tree, seed)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = write_measured(tmp_path_factory.mktemp("ladder"))
    rows = files.read_jsonl(path / "problems.jsonl")
    rows += [row for seed in range(3) for row in own_trees(seed)]
    rows = [row for row in rows if not (row["tree"] == "ladder" and row["seed"] == 2 and row["id"] == "e")]
    scores = [row for row in files.read_jsonl(path / "scores.jsonl") if (row["run"], row["problem"]) != ("seed2", "e")]
    files.write_text_atomic(path / "problems.jsonl", files.jsonl(rows))
    files.write_text_atomic(path / "scores.jsonl", files.jsonl(scores))
    for part in ("train", "test"):
        problems = files.read_jsonl(path / f"hard_{part}.jsonl")
        questions = [row | {"question": f"Find ∫ {row['id']} & <more> dx"} for row in problems]
        files.write_text_atomic(path / f"hard_{part}.jsonl", files.jsonl(questions))
    ladder_report.write(path)
    return path


@pytest.fixture(scope="module")
def run(folder):
    return ladder_views.read(folder)


class Explorer:
    """The widget's tabs: controls by name, and what each shows."""

    def __init__(self, folder):
        (self.tabs,) = ladder_views.ladder_explorer(folder).children
        assert self.tabs.titles == TITLES
        controls = [leaves(tab.children[0]) for tab in self.tabs.children]
        self.controls = [{control.description: control for control in own} for own in controls]

    def choose(self, tab: int, **values) -> list:
        for name, value in values.items():
            self.controls[tab][name].value = value
        return self.tabs.children[tab].page()


def shown(page) -> str:
    """All that a page says, its charts' points and tables included."""
    return repr([part.panels if isinstance(part, Chart) else str(part) for part in page])


def test_every_control_changes_what_its_tab_shows(folder):
    explorer = Explorer(folder)
    moves = (
        {"seed": 2, "variants": "usable", "kind": "ttrl", "problem": "t1"},
        {"kind": "ttrl", "seeds": (0,)},
        {"problem": "t1", "seed": 2, "arm": "base_ttrl"},
    )
    for tab, values in enumerate(moves):
        assert {*values} == {*explorer.controls[tab]}
        for name, value in values.items():
            before = shown(explorer.choose(tab))
            assert shown(explorer.choose(tab, **{name: value})) != before, (tab, name)


def test_problems_to_choose_from_are_those_of_the_kind_of_tree(folder):
    explorer = Explorer(folder)
    control = explorer.controls[0]["problem"]
    assert [value for _, value in control.options] == ["p"] and control.options[0][0] == "p: p & <more> dx"
    explorer.choose(0, kind="ttrl")
    assert [value for _, value in control.options] == ["t0", "t1"] and control.value == "t0"


def test_pointing_at_a_variant_says_all_that_is_known_of_it(run):
    said, chart, _, counts = ladder_views.tree_page(run, "ladder", 0, "p")
    assert said == "Problem p, to learn from: Find ∫ p & <more> dx"
    assert counts.astype(str).values.tolist()[0][:4] == ["1", "3", "2", "1"] and counts.iloc[0, -1] == "0.50"
    known = {key: text for mark in chart.panels[0].marks[1:] for key, text in zip(mark.keys, mark.hover, strict=True)}
    assert {*known} == {"p", *"abcdefg"} and known["p"] == "Find ∫ p & <more> dx"
    solved = [re.findall(r"samples right before LADDER: (\d of \d), after: (\d of \d)", known[one]) for one in "ade"]
    assert solved == [[("2 of 4", "4 of 4")], [("0 of 4", "2 of 4")], [("0 of 4", "4 of 4")]]
    every = "\n".join(known.values())
    assert "repeats another: a" in every and "cannot be checked: letters" in every
    assert all(words in every for words in ("nothing that can be read", "is a test problem", "no question"))
    (_, chart, *_) = ladder_views.tree_page(run, "one_level", 0, "p")
    hover = chart.panels[0].marks[-1].hover[0]
    assert "nearest test problem, at distance 0.25: Find ∫ t1 &" in hover and "at temperature 0.8" in hover
    assert "before LADDER" not in hover


def test_picked_variants_are_listed_with_their_children(run):
    said, rows = ladder_views.picked(run, ["a"], "ladder", 0, "p")
    assert rows["question"].tolist()[0] == "∫ x dx" and rows["written from"].tolist()[0] == "Find ∫ p & <more> dx"
    assert set(rows["written from"][1:]) == {"∫ x dx"} and len(rows) > 1


def test_what_is_shown_keeps_the_parents(run):
    assert SHOWN["usable"] + SHOWN["rejected"] == SHOWN["all"]
    own = run.of("ladder", 0, "p")
    ids = {name: "".join(ladder_views.with_parents(own, fates)["id"]) for name, fates in SHOWN.items()}
    assert ids == {"all": "abcdefg", "usable": "ade", "rejected": "abcfg"}
    assert ladder_views.tree_page(run, "ttrl", 0, "t1", "usable") == ["No variant of this tree is usable."]
    assert ladder_views.tree_page(run, "ladder", 0, "t0") == [ladder_views.NO_TREE]


def test_text_of_models_is_escaped(run):
    _, chart, *_ = ladder_views.tree_page(run, "ttrl", 0, "t0")
    texts = "\n".join(text for trace in live.figure(chart).data for text in trace.hovertext or ())
    assert "&lt;b&gt;∫ 5 dx&lt;/b&gt;" in texts and "<b>" not in texts and "cannot be checked: &lt;i&gt;" in texts
    assert "as Emmy; suggested: swap it" in texts


def test_levels_of_the_chosen_seeds(run):
    rows = table(ladder_views.levels_page(run, [0, 1], "ladder"))
    assert rows[0] == ["level", "model", "variants", "right (%)"]
    assert [row[0] + row[1][:6] + row[2] for row in rows[1:]] == ["1before2", "1after 2", "2before4", "2after 4"]
    assert [row[3].split()[0] for row in rows[1:]] == ["50.0", "100.0", "0.0", "75.0"]
    assert table(ladder_views.levels_page(run, [2], "ladder"))[-1][2:] == ["1", "50.0 (one run)"]
    assert {*run.known} == {(0, 1), (2,)}
    assert ladder_views.levels_page(run, [], "ladder") == ["Choose at least one seed."]


def test_ttrl_of_one_problem(run):
    page = ladder_views.ttrl_page(run, "ladder_ttrl", 0, "t0")
    steps, tree = charts(page)
    assert len(steps.panels) == 2 and tree.panels[0].marks[-1].name == "usable (1)"
    rows = {tuple(row[:2]): row[2:] for row in table(page)[1:]}
    assert rows["LADDER, then TTRL", "probes at any step"] == ["3 of 3", "100"]
    assert rows["LADDER, then TTRL", "samples"] == ["4 of 4", "100"]
    assert rows["LADDER", "samples"] == ["9 of 11", "40"]
    assert ladder_views.ttrl_page(run, "ladder_ttrl", 0, "t1")[-1] == "No usable variant: nothing was trained."
    assert ladder_views.ttrl_page(run, "base_ttrl", 9, "t0") == ["This run has no TTRL without LADDER."]


def test_a_run_without_variants_says_so_in_every_tab(tmp_path):
    path = write_measured(tmp_path)
    kept = [row for row in files.read_jsonl(path / "scores.jsonl") if row["arm"] in ("base", "originals")]
    kept = [row for row in kept if row["set"] == "hard_test"]
    files.write_text_atomic(path / "scores.jsonl", files.jsonl(kept))
    (path / "problems.jsonl").write_text("")
    ladder_report.write(path)
    trees, levels, ttrl = (tab.page() for tab in Explorer(path).tabs.children)
    assert trees == [ladder_views.NO_TREE] and "was not measured" in levels[0]
    assert ttrl == ["This run has no LADDER, then TTRL."]


def test_a_folder_without_a_finished_run_is_refused(tmp_path):
    with pytest.raises(files.RunError, match="holds no finished LADDER run"):
        ladder_views.ladder_explorer(tmp_path)
