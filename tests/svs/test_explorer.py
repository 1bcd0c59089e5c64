"""The SvS explorer shows what the folder says, follows every control, and treats all text as text."""

from html import unescape

import ipywidgets
import pytest
import svs_folder

from soar_lib.runs import RunError
from soar_lib.svs import explorer as svs_views
from soar_lib.svs.figures import LOOK
from tests.measure.test_widgets import cells

GONE = "Nothing to show"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return svs_folder.write(tmp_path_factory.mktemp("views") / "svs")


@pytest.fixture(scope="module")
def tables(folder):
    return svs_views.read(folder)


class Explorer:
    """The widget's controls by name, and its two pages."""

    def __init__(self, folder):
        (self.tabs,) = svs_views.svs_explorer(folder).children
        top, self.written = self.tabs.children[0].children
        self.choices = dict(zip((*svs_views.LEVELS, "only"), top.children, strict=True))
        top, self.page = self.tabs.children[1].children
        choices, self.arms = top.children
        self.controls = dict(zip(("view", "x", "smoothing", "set"), choices.children, strict=True))

    def visible(self):
        return {key for key, control in self.controls.items() if control.layout.display != "none"}


@pytest.fixture
def explorer(folder):
    return Explorer(folder)


# ------------------------------------------------------------------ variants


def test_an_original_stands_beside_its_variants(explorer):
    page = explorer.written.value
    assert explorer.tabs.titles == ("variants", "curves")
    assert svs_folder.FIRST.original in unescape(page) and "<code>51</code>" in page
    assert "right solutions in this step: 2 of 8" in page and "4 of 4 variants<" in page
    head, *found = cells(page)
    assert head == ["seed", "variant", "question", "exact judge", "right", "reward", "gives away", "near duplicate of"]
    assert found == [
        ["1", "1", svs_folder.SUMS + "9 + 42 =", "valid", "3 of 8", "1", "–", "original"],
        ["1", "2", svs_folder.SUMS + "41 + 9 =", "its answer is 50", "0 of 8", "0", "–", "–"],
        ["6", "1", "<script>51</script>", "ill-posed", "1 of 8", "1", "answer", "–"],
        ["6", "2", "(unreadable)", "unreadable", "not solved: unreadable", "0", "–", "–"],
    ]
    assert "<script>" not in page


def test_every_choice_offers_what_the_ones_before_it_left(explorer):
    choose = explorer.choices
    assert [value for _, value in choose["arm"].options] == ["svs", "svs_guarded"]
    assert [value for _, value in choose["step"].options] == [0, 2]
    assert [value for _, value in choose["problem"].options] == ["p0", "p1"]
    choose["problem"].value = "p1"
    choose["step"].value = 2  # the problem is there too and stays chosen
    assert choose["problem"].value == "p1" and "3 of 8" in explorer.written.value
    choose["seed"].value = 1
    assert [value for _, value in choose["step"].options] == [1] and choose["problem"].value == "p1"
    choose["arm"].value = "svs_guarded"
    assert [choose[level].value for level in ("seed", "step", "problem")] == [0, 1, "p0"]
    assert "at least 1 of 8" in explorer.written.value
    assert cells(explorer.written.value)[1][4:] == ["not solved: leak", "0", "hint", "–"]


def test_variants_of_one_kind(explorer):
    only = explorer.choices["only"]
    for kind, questions in (("reward", 2), ("leak", 1), ("duplicate", 1)):
        only.value = kind
        assert len(cells(explorer.written.value)) == questions + 1 and f"{questions} of 4" in explorer.written.value
    explorer.choices["problem"].value = "p1"
    assert "0 of 1 variants (near duplicates)" in explorer.written.value and not cells(explorer.written.value)


def test_every_control_changes_what_is_shown(explorer):
    for level, value in (("only", "leak"), ("problem", "p1"), ("step", 2), ("seed", 1), ("arm", "svs_guarded")):
        before = explorer.written.value
        explorer.choices[level].value = value
        assert explorer.written.value != before, level
    for key, value in (("x", "rollouts"), ("smoothing", 1), ("view", "passes"), ("set", "test")):
        before = explorer.page.value
        explorer.controls[key].value = value
        assert explorer.page.value != before, key
    before, explorer.arms.value = explorer.page.value, ("svs",)
    assert explorer.page.value != before


def test_without_variants_the_page_says_so(tmp_path):
    folder = svs_folder.write(tmp_path / "svs")
    for arm in svs_folder.WRITTEN:
        (folder / arm / "result.json").unlink()
    explorer = Explorer(folder)
    assert "Nothing was written" in explorer.written.value
    explorer.choices["only"].value = "leak"
    assert "Nothing was written" in explorer.written.value


def test_variants_of_another_world_are_not_judged(tmp_path):
    tables = svs_views.read(svs_folder.write(tmp_path / "svs", question="Why?"))
    assert svs_views.judged("What?", "1", tables.judge) == "not judged: of another world"
    assert svs_views.judged("", "1", tables.judge) == "unreadable"


# ------------------------------------------------------------------ curves


def test_curves_show_the_chosen_arms_and_name_the_others(tables):
    page = svs_views.curves_page(tables, "test_entropy", ("base", "rlvr", "svs"), "rollouts")
    assert page.startswith('<img alt="entropy on the test problems"')
    assert "Not measured there: Base (no training)." in page
    head, *found = cells(page)
    assert head[0] == "arm" and "nats" in head[3] and {row[0] for row in found} == {"RLVR", "SvS"}
    assert found[-1] == ["SvS", "3", "45", "0.360 ± 0.014", "2"]
    accuracy = cells(svs_views.curves_page(tables, "accuracy", ("svs",)))
    assert accuracy[1] == ["SvS", "0", "0", "12.5 ± 17.7", "2"]
    assert cells(svs_views.curves_page(tables, "entropy", ("svs",), smoothing=3))[1][3].startswith("0.460")


def test_pass_at_k_of_a_set(tables):
    head, *found = cells(svs_views.curves_page(tables, "passes", ("base", "svs")))
    assert head == ["arm", "seeds", "rollouts each", "pass@1 (%)", "pass@4 (%)", "pass@8 (%)"]
    assert [row[:3] for row in found] == [["Base (no training)", "2", "0"], ["SvS", "2", "45"]]
    assert found[0][3] == "12.5 (12.5–12.5)"
    assert len(cells(svs_views.curves_page(tables, "passes", ("svs",), set="test"))[0]) == 5
    assert GONE in svs_views.curves_page(tables, "passes", ("svs",), set="other")


def test_nothing_chosen_and_nothing_measured(tables):
    assert "Choose at least one arm" in svs_views.curves_page(tables, "entropy", ())
    assert GONE in svs_views.curves_page(tables, "entropy", ("base",))


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
    assert set(explorer.arms.value) == {"base", "rlvr", "svs"} <= LOOK.keys()
