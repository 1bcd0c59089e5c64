"""The numbers, commands and links of README.md, GUIDE.md and figures/README.md are those of the project."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest
import tiny

from soar_lib import files
from soar_lib.cli.arguments import HELP, KINDS, parser, settings, study_settings
from soar_lib.ladder.report import CLAIMS as LADDER_CLAIMS
from soar_lib.measure.claims import FAILS, HOLDS, UNDECIDED, over_seeds
from soar_lib.measure.tables import claim_rows
from soar_lib.records import SyntheticProblem
from soar_lib.soar.claims import CLAIMS, VALUES
from soar_lib.svs.report import CLAIMS as SVS_CLAIMS
from tools import payoff
from tools.readme import DOCUMENTS, MARKED, fill, fill_times, filled

ROOT = Path(__file__).parents[1]
README, GUIDE = (ROOT / "README.md").read_text(), (ROOT / "GUIDE.md").read_text()
DATA = ROOT / "figures" / "data"
TEXTS = {document: (ROOT / document).read_text() for document in DOCUMENTS}
LINKED = {**TEXTS, Path("GUIDE.md"): GUIDE}


def test_every_marked_table_is_that_of_its_csv():
    assert [filled(text, DATA) for text in TEXTS.values()] == list(TEXTS.values())
    marks = re.findall(r"<!-- (?!end of )(.+?) -->", "".join(TEXTS.values()))
    assert sorted(marks) == sorted(["results", *MARKED])  # each once


def test_a_table_that_differs_from_its_csv_is_noticed():
    changed = README.replace("| Hard-Only | 0.2", "| Hard-Only | 90.2")
    assert changed != README and filled(changed, DATA) == README


def test_the_readme_is_a_front_door():
    """A picture and two commands on the first screen, one table of at most ten rows of results, and the rest linked."""
    lines = README.splitlines()
    assert len(lines) <= 120 and "![" in "\n".join(lines[:16]) and "make demo" in "\n".join(lines[:26])
    rows = README.split("<!-- results -->")[1].split("<!-- end of results -->")[0].strip().splitlines()
    assert 3 <= len(rows) - 2 <= 10


def test_no_claim_is_left_out():
    """Every claim is in its CSV; figures/README.md has the numbers of SOAR's and of all that are decided."""
    text = " ".join(TEXTS[Path("figures/README.md")].split())
    for name, claims in {"claims": CLAIMS, "ladder_claims": LADDER_CLAIMS, "svs_claims": SVS_CLAIMS}.items():
        table = pd.read_csv(DATA / f"{name}.csv")
        assert len(table) == len(claims)
        shown = table if name == "claims" else table[table["verdict"].isin([HOLDS, FAILS])]
        ours = claim_rows(shown)["ours"].str.removesuffix(")")
        assert {number for number in ours if number not in text} == set() and len(ours) >= 5
    world = pd.read_csv(DATA / "world_claims.csv")
    primary = claim_rows(world[world["holm"].notna()])["ours"].str.removesuffix(")")
    assert {number for number in primary if number not in text} == set()
    assert len(primary) == sum(claim.primary for claim in VALUES)


def test_what_is_said_of_the_second_worlds_teachers_is_in_the_tables():
    """README.md and figures/README.md: values in points; shares and skills of the first and the last five rounds."""
    text = " ".join(TEXTS[Path("figures/README.md")].split())
    value = pd.read_csv(DATA / "world_values.csv").groupby("arm")["value"].mean() * 100
    paid, cheap, untrained = (f"{value[arm]:.1f}" for arm in ("no_promotion", "intrinsic", "untrained"))
    assert f"{paid} points with the grounded reward, {untrained} untrained" in text and f"value is {cheap}" in text
    front = " ".join(README.split())
    assert f"worth {paid} points of accuracy to a fresh student, an untrained teacher's {untrained}" in front
    assert f"an intrinsically rewarded one's {cheap}." in front
    rounds = pd.read_csv(DATA / "world_rounds.csv")
    spans = [rounds[rounds["round"].between(*span)].groupby("arm").mean() for span in ((1, 5), (36, 40))]
    (before, after), other = (span.loc["no_promotion"] for span in spans), spans[1].loc["intrinsic"]
    for name in ("useful", "decoy"):
        shares = (f"{100 * part[name]:.0f} %" for part in (before, after, other))
        said = "from {} (first five rounds) to {} (last five) with the grounded reward and to {} with the intrinsic one"
        assert (said if name == "useful" else "decoys from {} to {} and to {}").format(*shares) in text
    assert f"fall from {before['skills']:.1f} to {after['skills']:.1f} effective skills of five" in text
    assert f"the intrinsic one's stay at {other['skills']:.1f}." in text


def test_what_is_said_of_the_prior_without_decoys_is_in_its_tables():
    """figures/README.md, README.md, notebook 3: values and their gaps, shares of the first and last rounds, pass@32."""
    value = 100 * pd.read_csv(DATA / "plain_values.csv").pivot(index="seed", columns="arm", values="value").dropna()
    rounds = pd.read_csv(DATA / "plain_rounds.csv").groupby("arm")
    text = " ".join(TEXTS[Path("figures/README.md")].split())
    progress, cheap, untrained = (f"{value[arm].mean():.1f}" for arm in ("no_promotion", "intrinsic", "untrained"))
    assert f"on the four common seeds are {progress} and {cheap} points, the untrained one's {untrained}:" in text
    assert len(value) == 4
    gains = (over_seeds((value[arm] - value["untrained"]).tolist()) for arm in ("no_promotion", "intrinsic"))
    first, second = (f"{gain.ours:.1f} ({gain.low:.1f} to {gain.high:.1f})" for gain in gains)
    assert f"gains of {first} and {second}." in text
    useful = {arm: part.set_index("round")["useful"].sort_index() for arm, part in rounds}
    before, after, low, high = (
        f"{100 * useful[arm].loc[span].mean():.0f}"
        for arm in ("no_promotion", "intrinsic") for span in (slice(1, 5), slice(36, 40))
    )  # fmt: skip
    assert f"{before} % to {after} % with the grounded reward, with the intrinsic one from {low} % to {high} %" in text
    claimed = pd.read_csv(DATA / "plain_claims.csv").set_index("claim")
    rows = {name.partition(" (")[0]: row for name, row in claimed.iterrows()}
    said = {name: f"{row['ours']:.1f} ({row['low']:.1f} to {row['high']:.1f})" for name, row in rows.items()}
    pays, better = "Training the teacher pays", "Progress is the better pay"
    students = "Grounded-T without promotion beats Intrinsic-T"
    assert said[pays] == first and rows[pays]["verdict"] == rows[better]["verdict"] == UNDECIDED
    assert f"the first is undecided, and so is progress minus disagreement, {said[better]}." in text
    solved = 100 * pd.read_csv(DATA / "plain_arms.csv").query("k == 32").set_index("arm")["mean"]
    best, paid, base, hard = (
        f"{solved[arm]:.0f} %" for arm in ("intrinsic_t", "grounded_t_no_promotion", "base_t", "hard_only")
    )
    assert f"intrinsic teacher reach {best}, those of the grounded one {paid}, a gap of {said[students]};" in text
    assert rows[students]["verdict"] == FAILS and f"Base-T's reach {base}, Hard-Only's {hard}." in text
    front = " ".join(README.split())
    assert f"its students reach {best} pass@32, those of pay for progress {paid} (four runs)." in front
    notebook = (ROOT / "notebooks" / "03_ablations.ipynb").read_text(encoding="utf-8")
    assert f"from {low} to {high} %, and the value on the four seeds that both have is {cheap} points" in notebook
    assert f"against {untrained} untrained; pay for progress reaches {progress}, no clear lead" in notebook
    assert f"and its students {paid} pass@32" in notebook
    assert f"where those of pay for disagreement reach {best}:" in notebook


def _short(claim: str) -> str:
    """What two worlds' claims have in common: most runs of the second are without promotion."""
    return claim.partition(" (")[0].replace(" without promotion", "").removesuffix(" in the mean")


def _decided(name: str) -> set[str]:
    table = pd.read_csv(DATA / name)
    return {_short(claim) for claim in table.loc[table["verdict"].isin([HOLDS, FAILS]), "claim"]}


def test_what_was_explored_in_the_second_world_is_in_its_tables():
    """figures/README.md and notebook 4: claims that are no primary ones, and how far Vendi Scores fall."""
    text = " ".join(TEXTS[Path("figures/README.md")].split())
    for name in ("world", "plain"):
        claimed = pd.read_csv(DATA / f"{name}_claims.csv")
        explored = claim_rows(claimed[claimed["holm"].isna()])["ours"].str.removesuffix(")")
        assert {one for one in explored if one not in text} == set() and len(explored) >= 3, name
    decided = [_decided(name) for name in ("claims.csv", "world_claims.csv", "plain_claims.csv")]
    first = {_short(claim) for claim in pd.read_csv(DATA / "claims.csv")["claim"]}
    assert len(first) == 14 and len(first & set.union(*decided)) == 11 and "**Eleven of the fourteen claims**" in text
    fallen = []
    for name in ("world", "plain"):
        table = pd.read_csv(DATA / f"{name}_diversity.csv").groupby(["arm", "round"])["vendi"].mean()
        fallen += [f"{100 - 100 * table[arm, 40] / table[arm, 1]:.0f} %" for arm in ("intrinsic", "no_promotion")]
    said = "falls by {}, of the grounded one's by {}; without decoys by {} and {}."
    assert said.format(*fallen) in text
    notebook = (ROOT / "notebooks" / "04_diversity.ipynb").read_text(encoding="utf-8")
    assert "falls by {} with decoys and by {} without".format(*fallen[::2]) in notebook


@pytest.mark.parametrize("path", ["figures/README.md", "notebooks/03_ablations.ipynb", "README.md"])
def test_what_is_said_of_promotions_is_in_the_tables(path):
    """Values on the seeds that all have; what data sets earned after the first promotion; useful problems."""
    text = " ".join((ROOT / path).read_text(encoding="utf-8").split())
    value = 100 * pd.read_csv(DATA / "world_values.csv").pivot(index="seed", columns="arm", values="value").dropna()
    promoted, plain, untrained = (f"{value[arm].mean():.1f}" for arm in ("promotion", "no_promotion", "untrained"))
    if path == "README.md":
        solved = pd.read_csv(DATA / "world_arms.csv").query("k == 32").set_index("arm")
        assert f"With promotions (four runs) PS reaches {100 * solved.loc['ps', 'mean']:.0f} %" in text
        assert f"{promoted} points, on the same seeds {plain} without promotions and {untrained} untrained" in text
        assert len(value) == 4
        assert [solved.loc[arm, "seeds"] for arm in ("pq", "ps", "hard_only")] == [16, 16, 32]
        return
    assert f"value is {promoted} points, on the same seeds {plain} without promotions and {untrained} untrained" in text
    signal = pd.read_csv(DATA / "world_signal.csv").groupby("arm")[["mean", "r"]].agg(["min", "max"])
    (low, high), (other_low, other_high) = (100 * signal.loc[arm, "mean"] for arm in ("promotion", "no_promotion"))
    assert f"{low:.1f} to {high:.1f} points on average" in text and f"{other_low:.1f} to {other_high:.1f}" in text
    for arm in ("promotion", "no_promotion"):
        assert " to ".join(f"{r:.2f}".removeprefix("0") for r in signal.loc[arm, "r"]) in text
    rounds = pd.read_csv(DATA / "world_rounds.csv").query("arm == 'promotion'")
    useful = 100 * rounds[rounds["round"] > 35].groupby("seed")["useful"].mean()
    assert "{:.0f}, {:.0f}, {:.0f} and {:.0f} %".format(*useful) in text or path != "figures/README.md"


@pytest.mark.parametrize("path", ["figures/README.md", "notebooks/03_ablations.ipynb"])
def test_what_is_said_of_coverage_is_in_its_tables(path):
    """The gaps between two teachers' students, and what data sets of few skills earn."""
    text = " ".join((ROOT / path).read_text(encoding="utf-8").split())
    gaps = pd.read_csv(DATA / "world_gaps.csv")[1:].itertuples()
    for row, said in zip(gaps, ("lead by {} points ({} to {})", "skills is made equal too, {} remain ({} to {})")):
        assert said.format(*(f"{value:.1f}" for value in (row.ours, row.low, row.high))) in text
    earned = pd.read_csv(DATA / "world_coverage.csv").set_index(["by", "count"])
    one, two, four = (f"{100 * earned.loc[('skills', count), 'mean']:.1f}" for count in (1, 2, 4))
    assert f"({two} and {four} points; with one, {one}" in text
    six, nine = (earned.loc[("useful", count)] for count in (6, 9))
    assert nine["low"] < six["mean"] < nine["high"]


def test_what_is_said_of_speed_is_in_the_benchmarks():
    """figures/README.md: ratios to TRL and to Math-Verify, and the shares of what the processor can do, in percent."""
    results, text = ROOT / "benchmarks" / "results", " ".join(TEXTS[Path("figures/README.md")].split())
    nano, laptop, verdicts = (
        pd.read_csv(results / f"{name}.csv").loc[0] for name in ("inner_loop", "inner_loop_laptop", "verify")
    )
    assert f"{nano['students']:.0f} students of nano train {nano['ratio']:.1f} times as fast" in text
    assert f"{laptop['students']:.0f} students of the real model {laptop['ratio']:.1f} times" in text
    assert f"come {verdicts['ratio']:.0f} times as fast as from Math-Verify on {verdicts['rollouts']:,.0f}" in text
    assert "none differs" in text and verdicts["differing"] == 0
    shares = 100 * pd.read_csv(results / "ceiling.csv")[["sampling", "learning"]]
    low, high = shares.min(), shares.max()
    assert f"reaches {low['sampling']:.0f} to {high['sampling']:.0f} %" in text
    assert f"learning {low['learning']:.0f} to {high['learning']:.0f} %" in text


def test_what_is_said_of_the_methods_and_of_structure_is_in_their_tables():
    """figures/README.md: the five claims on methods, and pass@32 after exact answers to coherent questions."""
    text = " ".join(TEXTS[Path("figures/README.md")].split())
    for row in pd.read_csv(DATA / "methods_claims.csv").itertuples():
        assert f"{row.ours:.1f} ({row.low:.1f} to {row.high:.1f})" in text, row.claim
    found = pd.read_csv(DATA / "structure.csv").groupby(["question", "answer"])["pass@32"].mean()
    assert f"they lead to {100 * found['coherent', 'exact']:.0f} % of pass@32" in text
    assert found.drop(("coherent", "exact")).max() < 0.005


@pytest.mark.parametrize("path", ["figures/README.md", "notebooks/03_ablations.ipynb"])
def test_what_is_said_of_the_map_is_in_its_table(path):
    """Gaps by the share of useful problems, without decoys and with 20 %; `figures/data/payoff.csv`."""
    text = " ".join((ROOT / path).read_text(encoding="utf-8").split())
    found = payoff.gaps(pd.read_csv(DATA / "payoff.csv"))
    assert found["seeds"].eq(1).all() and "one run of 24 rounds for each reward" in text
    for _, own in found.groupby("compared"):
        pairs = own.sort_values(["useful", "decoys"])["ours"].map("{:.1f}".format)
        assert "{} and {} points at 5 %, {} and {} at 15 %, {} and {} at 40 %".format(*pairs) in text
    many = pd.read_csv(DATA / "payoff.csv").query("useful == 0.4 and decoys == 0").set_index("arm")
    wrote, earned = 100 * many["wrote_useful"], 100 * many["value"]
    assert f"went from {wrote['untrained']:.0f} to {wrote['intrinsic']:.0f} % useful problems there" in text
    assert f"({earned['untrained']:.1f} untrained, {earned['intrinsic']:.1f} trained)" in text
    values = 100 * pd.read_csv(DATA / "world_values.csv").pivot(index="seed", columns="arm", values="value")
    spread = [(values["no_promotion"] - values[other]).std() for other in ("untrained", "intrinsic")]
    assert "these gaps vary by {:.1f} and {:.1f} points (SD) from run to run".format(*spread) in text


@pytest.mark.parametrize("path", ["README.md", "figures/README.md", "notebooks/05_ladder.ipynb"])
def test_ladders_student_is_compared_with_as_many_samples_as_ttrl(path):
    """As many as it has probes; `figures/data/ladder_arms.csv`."""
    text = (ROOT / path).read_text(encoding="utf-8")
    found = pd.read_csv(DATA / "ladder_arms.csv").set_index(["arm", "metric"])["mean"]
    for key in (("ladder", "pass@7"), ("ladder_ttrl", "any step")):
        assert f"{100 * found[key]:.1f} %" in text


def test_what_training_a_real_student_took_is_that_of_its_csv():
    text = " ".join(TEXTS[Path("figures/README.md")].split())
    ours, trl = pd.read_csv(DATA / "real_peers.csv").iterrows()
    for (_, row), name in ((ours, "our engine"), (trl, "TRL")):
        assert f"{row['hours']} hours and {row['peak memory, GB']} GB by {name}" in text


def test_what_forgiven_tags_gain_is_that_of_its_csv():
    (_, paper), (_, mild) = pd.read_csv(DATA / "real_tags.csv").iterrows()
    for name, said in (
        ("figures/README.md", "{1} of {2} completions of the untrained teacher parse instead of {0}"),
        ("notebooks/07_single_gpu.ipynb", "of {2} completions, {0} parse without it and {1} with it"),
    ):
        text = " ".join((DATA.parents[1] / name).read_text().split())
        assert said.format(paper["parse"], mild["parse"], paper["completions"]) in text


def written(row: dict) -> SyntheticProblem:
    """A variant as the judge takes it."""
    empty = {field.name: 0 if field.type in (int, "int") else "" for field in fields(SyntheticProblem)}
    return SyntheticProblem(**empty | {name: row[name] for name in ("id", "question", "answer")})


def test_fill_needs_its_marks():
    with pytest.raises(ValueError, match="needs the marks"):
        fill("no table", "| a |")


@pytest.mark.parametrize("document", LINKED, ids=str)
def test_every_link_leads_somewhere(document):
    targets = set(re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", LINKED[document]))
    assert targets
    assert {target for target in targets if not (ROOT / document.parent / target).exists()} == set()


def test_notebook_times_are_the_measured_ones():
    measured = pd.read_csv(DATA / "notebooks.csv") if (DATA / "notebooks.csv").exists() else None
    found = dict(re.findall(r"^\| \[\w+\]\(notebooks/(\w+\.ipynb)\) \|.*\|(.*)\|$", README, re.MULTILINE))
    assert sorted(found) == sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert fill_times(README, measured) == README
    if measured is None:
        assert set(found.values()) == {" "}


def test_times_are_filled_in_by_notebook():
    measured = pd.DataFrame({"notebook": ["01_filtering.ipynb"], "minutes": [3.6]})
    changed = [new for old, new in zip(README.split("\n"), fill_times(README, measured).split("\n")) if old != new]
    assert len(changed) == 1 and "01_filtering.ipynb" in changed[0] and changed[0].endswith("| 4 minutes |")


def test_commands_are_accepted():
    commands = re.findall(r"^python -m soar_lib (.+)$", GUIDE, re.MULTILINE)
    models = {"ladder": "nano2-calculus", "svs": "nano2"}
    assert {command.split()[0] for command in commands} == HELP.keys() - {"demo"}
    for command in commands:
        arguments = parser().parse_args(shlex.split(command))
        if arguments.command == "study":
            assert study_settings(arguments).soar.model == "nano"
        else:
            own = settings(arguments, KINDS[arguments.command])
            assert own.model == models.get(arguments.command, "nano")


def test_make_targets_exist():
    makefile, named = (ROOT / "Makefile").read_text(), re.findall(r"(?:`|^)make (\w+)", README, re.MULTILINE)
    assert {"demo", "lab", "test"} <= set(named) and all(f"\n{target}:" in makefile for target in named)


def test_the_demos_time_is_the_one_measured():
    found = re.findall(r"(\d+) minutes on 2 cores", README)
    page = (ROOT / "notebooks" / "troubleshooting.md").read_text()
    assert found == re.findall(r"`make demo` then takes (\d+) minutes on two idle cores", page) and len(found) == 1


def test_the_examples_run_one_after_the_other(tmp_path, monkeypatch):
    """Data, model, rewards and method of the reader's own, as the guide has them."""
    examples = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
    assert len(examples) == 4
    monkeypatch.chdir(tmp_path)
    sums = [{"question": f"{i} + {i} + {i} * {i}", "answer": str(2 * i + i * i)} for i in range(301, 321)]
    Path("mine.jsonl").write_text(files.jsonl(sums))
    tiny.model().save_pretrained("my_model")
    tiny.tokenizer().save_pretrained("my_model")
    names: dict = {}
    for number, example in enumerate(examples):
        exec(compile(save_source(tmp_path / f"{number}.py", example), tmp_path / f"{number}.py", "exec"), names)
    strict, short = (files.read_json(tmp_path / "runs" / name / "config.json") for name in ("strict", "short"))
    assert "only_right sha256:" in strict["student_reward"] and strict["reward"] == "grounded"
    assert "short_questions sha256:" in short["reward"] and short["student_reward"] == "soar"
    assert len(names["hard"].train) == 10 and len(names["history"]) == names["config"].student.steps


def save_source(path: Path, text: str) -> str:
    """As a file, where the hash of a function finds it."""
    path.write_text(text)
    return text
