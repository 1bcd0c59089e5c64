"""The SvS explorer shows what the folder says, follows every control, and treats all text as text."""

import ipywidgets
import pytest
import svs_folder

from soar_lib.files import RunError
from soar_lib.measure import live
from soar_lib.svs import explorer as svs_views
from tests.measure.test_charts import series
from tests.measure.test_widgets import cells, charts, leaves, table

GONE = "Nothing to show"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return svs_folder.write(tmp_path_factory.mktemp("views") / "svs")


@pytest.fixture(scope="module")
def tables(folder):
    return svs_views.read(folder)


class Explorer:
    """The widget's tabs and their controls by name."""

    def __init__(self, folder):
        (self.tabs,) = svs_views.svs_explorer(folder).children
        self.written, self.curves = self.tabs.children
        self.choices = dict(zip(("arm", "seed", "only"), leaves(self.written.children[0]), strict=True))
        *controls, self.arms = leaves(self.curves.children[0])
        self.controls = dict(zip(("view", "x", "smoothing", "set"), controls, strict=True))

    def visible(self):
        return {key for key, control in self.controls.items() if control.layout.display != "none"}

    def pick(self, kind: str) -> list[list[str]]:
        """Click all circles of a kind of variants; the table below, its header first."""
        figure = self.written.children[1].children[1]
        trace = next(trace for trace in figure.data if trace.name.startswith(kind))
        trace._dispatch_on_selection(type("Points", (), {"point_inds": [*range(len(trace.x))]})(), None)
        return cells(self.written.children[2].children[1].value)


@pytest.fixture
def explorer(folder):
    return Explorer(folder)


# ------------------------------------------------------------------ variants


def test_every_variant_is_drawn_by_step_right_solutions_and_kind(explorer):
    assert explorer.tabs.titles == ("variants", "curves")
    said, chart = explorer.written.page()
    assert said.startswith("6 variants (all) by SvS, seed 0. A variant is paid if 1 to 3 of its 8 solutions")
    found = {name: points[:, 1].tolist() for name, points in series(chart.panels[0]).items()}
    assert found == {
        "valid, new (2)": [8, 3], "valid, near duplicate (1)": [3], "another answer or none (2)": [0, 1],
        "unreadable (1)": [-1],
    }  # fmt: skip
    hover = "\n".join(text for mark in chart.panels[0].marks for text in mark.hover)
    assert f"from: {svs_folder.FIRST.original} (answer 51); reward 1" in hover and "<script>51</script>" in hover
    assert not any("<script" in text for trace in live.figure(chart).data for text in trace.hovertext)


def test_picked_variants_stand_beside_their_originals(explorer):
    head, *found = explorer.pick("another")
    assert head == ["step", "original", "answer", "seed", "variant", "question", "exact judge", "right", "reward",
                    "gives away", "near duplicate of"]  # fmt: skip
    assert [row[5:] for row in found] == [
        [svs_folder.SUMS + "41 + 9 =", "its answer is 50", "0 of 8", "0", "–", "–"],
        ["<script>51</script>", "ill-posed", "1 of 8", "1", "answer", "–"],
    ]
    assert found[0][1] == svs_folder.FIRST.original and "<script>" not in explorer.written.children[2].children[1].value
    assert explorer.pick("unreadable")[1][5:8] == ["(unreadable)", "unreadable", "not solved: unreadable"]


def test_variants_of_one_kind_arm_and_seed(explorer):
    choose = explorer.choices
    assert [value for _, value in choose["arm"].options] == ["svs", "svs_guarded"]
    for only, count in (("reward", 3), ("leak", 1), ("duplicate", 1)):
        choose["only"].value = only
        assert explorer.written.page()[0].startswith(f"{count} variants (")
    choose["only"].value, choose["seed"].value = "", 1
    assert explorer.written.page()[0].startswith("1 variants (all) by SvS, seed 1")
    choose["arm"].value = "svs_guarded"
    assert "Nothing was written" in explorer.written.page()[0]  # by this seed


def test_every_control_changes_what_is_shown(explorer):
    for key, value in (("x", "rollouts"), ("smoothing", 1), ("view", "passes"), ("set", "test")):
        before = explorer.curves.children[1].children[0].to_dict()
        explorer.controls[key].value = value
        assert explorer.curves.children[1].children[0].to_dict() != before, key
    before, explorer.arms.value = explorer.curves.children[1].children[0].to_dict(), ("svs",)
    assert explorer.curves.children[1].children[0].to_dict() != before


def test_without_variants_the_page_says_so(tmp_path):
    folder = svs_folder.write(tmp_path / "svs")
    for arm in svs_folder.WRITTEN:
        (folder / arm / "result.json").unlink()
    explorer = Explorer(folder)
    assert "Nothing was written" in explorer.written.page()[0]
    explorer.choices["only"].value = "leak"
    assert "Nothing was written" in explorer.written.page()[0]


def test_variants_of_another_world_are_not_judged(tmp_path):
    tables = svs_views.read(svs_folder.write(tmp_path / "svs", question="Why?"))
    assert svs_views.judged("What?", "1", tables.judge) == "not judged: of another world"
    assert svs_views.judged("", "1", tables.judge) == "unreadable"


# ------------------------------------------------------------------ curves


def test_curves_show_the_chosen_arms_and_name_the_others(tables):
    page = svs_views.curves_page(tables, "test_entropy", ("base", "rlvr", "svs"), "rollouts")
    assert charts(page) and page[1] == "Not measured there: Base (no training)."
    head, *found = table(page)
    assert head[0] == "arm" and "nats" in head[3] and {row[0] for row in found} == {"RLVR", "SvS"}
    assert found[-1] == ["SvS", "3", "45", "0.360 ± 0.014", "2"]
    accuracy = table(svs_views.curves_page(tables, "accuracy", ("svs",)))
    assert accuracy[1] == ["SvS", "0", "0", "12.5 ± 17.7", "2"]
    assert table(svs_views.curves_page(tables, "entropy", ("svs",), smoothing=3))[1][3].startswith("0.460")


def test_pass_at_k_of_a_set(tables):
    head, *found = table(svs_views.curves_page(tables, "passes", ("base", "svs")))
    assert head == ["arm", "seeds", "rollouts each", "pass@1 (%)", "pass@4 (%)", "pass@8 (%)"]
    assert [row[:3] for row in found] == [["Base (no training)", "2", "0"], ["SvS", "2", "45"]]
    assert found[0][3] == "12.5 (12.5–12.5)"
    assert len(table(svs_views.curves_page(tables, "passes", ("svs",), set="test"))[0]) == 5
    assert GONE in svs_views.curves_page(tables, "passes", ("svs",), set="other")[0]


def test_nothing_chosen_and_nothing_measured(tables):
    assert svs_views.curves_page(tables, "entropy", ()) == ["Choose at least one arm."]
    assert GONE in svs_views.curves_page(tables, "entropy", ("base",))[0]


def test_controls_that_do_not_apply_are_hidden(explorer):
    shown = {}
    for view in svs_views.CURVES:
        explorer.controls["view"].value = view
        shown[view] = explorer.visible() - {"view"}
    assert shown == {
        "entropy": {"x", "smoothing"}, "test_entropy": {"x"}, "accuracy": {"x", "smoothing"}, "passes": {"set"},
    }  # fmt: skip


def test_the_runs_own_table_is_read_and_otherwise_computed(tables, tmp_path):
    folder = svs_folder.write(tmp_path / "svs")
    tables.numbers.assign(mean=0.5).to_csv(folder / "svs.csv", index=False)
    assert set(svs_views.read(folder).numbers["mean"]) == {0.5} != set(tables.numbers["mean"])


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(RunError, match="is no folder of an SvS run"):
        svs_views.svs_explorer(tmp_path)


def test_the_explorer_offers_all_arms_that_are_finished(explorer):
    assert isinstance(explorer.arms, ipywidgets.SelectMultiple)
    assert [value for _, value in explorer.arms.options] == list(svs_folder.ARMS)
    assert set(explorer.arms.value) == {"base", "rlvr", "svs"}
