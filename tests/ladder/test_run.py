"""A LADDER run as a whole: its arms, what they spend, test-time learning, settings, and a run killed at any instant."""

import shutil
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import killer
import pandas as pd
import pytest
import tiny
import torch
import words

from soar_lib import files, runs
from soar_lib.cli import commands as cli
from soar_lib.engine.lora import Adapters
from soar_lib.hooks import Hooks
from soar_lib.ladder import report, ttrl, variants
from soar_lib.ladder import run as ladder
from soar_lib.ladder.settings import LADDER_ARMS, TTRL_ARMS, LadderConfig
from soar_lib.problems.rows import LoadError
from soar_lib.records import Problem, Score
from soar_lib.settings.cost import cost
from soar_lib.settings.student import preset
from soar_lib.settings.values import ConfigError, change
from soar_lib.student.train import Lesson

SMALL = {
    "check": "answer", "samples": 4, "most_samples": 16, "seeds": 2, "variant_samples": 2, "together": 3,
    "ttrl_steps": 3, "ttrl_batch": 2, "originals": 0, "tested": 0,
    "variants.depth": 2, "variants.prompts": 24, "variants.parents": 2, "variants.max_new_tokens": 12,
    "variants.votes": 4, "variants.agreement": 0.25,
    "student.steps": 3, "student.batch": 2, "student.group": 4, "student.max_new_tokens": 6, "student.rank": 4,
    "student.alpha": 8.0, "student.optimiser.learning_rate": 1e-2, "student.optimiser.kl": 0.01,
}  # fmt: skip


QUIET = Hooks(progress=False)


def world(folder: Path) -> Path:
    """A model of words, and hard problems of which one to learn from is also a test problem."""
    words.save_model(folder / "model")
    (folder / "hard").mkdir()
    everything = words.problems(5, "p")
    twin = replace(everything[3], id="twin", question=f" {everything[3].question}. ")
    for name, problems in (("train", [*everything[:2], twin]), ("test", everything[2:])):
        (folder / "hard" / f"hard_{name}.jsonl").write_text(files.jsonl(map(asdict, problems)))
    return folder


def settings(folder: str | Path, **changes) -> LadderConfig:
    where = {"model": str(Path(folder) / "model"), "problems": str(Path(folder) / "hard")}
    return preset("smoke", LadderConfig, **where | SMALL | changes)


def play(folder: str | Path, out: str | Path) -> None:
    torch.set_num_threads(1)
    ladder.run(settings(folder), out, resume=True, hooks=QUIET)
    report.write(out)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    return world(tmp_path_factory.mktemp("ladder"))


@pytest.fixture(scope="module")
def finished(place) -> Path:
    play(place, place / "run")
    return place / "run"


def scores(folder: Path) -> list[Score]:
    return [Score(**row) for row in files.read_jsonl(folder / "scores.jsonl")]


def test_a_run_killed_at_random_instants_ends_like_one_left_alone(tmp_path):
    killer.assert_same_after_kills("tests.ladder.test_run:play", tmp_path, str(world(tmp_path)))


def test_a_finished_run_is_only_read(finished, place):
    before = killer.files(finished)
    ladder.run(settings(place), finished, resume=True)
    table = report.write(finished)
    assert killer.files(finished) == before
    pd.testing.assert_frame_equal(table, pd.read_csv(finished / "ladder.csv"))
    with pytest.raises(files.RunError, match="seeds: 2 -> 3"):
        ladder.run(settings(place, seeds=3), finished, resume=True)


def test_a_test_problem_is_no_problem_to_learn_from(finished):
    """Two of the ten published problems to learn from are in the published test list."""
    kept = {part: [one.id for one in files.read_problems(finished, f"hard_{part}")] for part in ("train", "test")}
    assert kept == {"train": ["p0", "p1"], "test": ["p2", "p3", "p4"]}
    rows = files.read_jsonl(finished / "problems.jsonl")
    assert {row["tree"] for row in rows} == {"one_level", "ladder", "ttrl"}
    tests = {f"q{i}" for i in (2, 3, 4)}
    learned = [row for row in rows if not row["rejected"]]
    assert learned and tests.isdisjoint(row["question"] for row in learned)
    assert any(row["rejected"] == "test problem" for row in rows)
    roots = {tree: {row["root"] for row in rows if row["tree"] == tree} for tree in ("ladder", "ttrl")}
    assert roots == {"ladder": {"p0", "p1"}, "ttrl": {"p2", "p3", "p4"}}


def test_every_arm_is_measured_with_what_it_spent(finished, place):
    chosen, found = settings(place), scores(finished)
    training = 3 * 2 * 4
    for seed in range(2):
        drawn = Counter()
        for tree in ("one_level", "ladder"):
            drawn[tree] = variants.drawn(variants.read(finished, tree, seed), chosen)
        spent = {arm: {s.rollouts for s in found if (s.arm, s.run, s.set) == (arm, f"seed{seed}", "hard_test")}
                 for arm in LADDER_ARMS}  # fmt: skip
        assert spent["base"] == {0} and spent["originals"] == spent["majority"] == {training}
        assert spent["one_level"] == {training + drawn["one_level"]}
        assert spent["ladder"] == {training + drawn["ladder"]} and 0 < drawn["ladder"] <= 2 * chosen.written
        for score in (s for s in found if (s.arm, s.run, s.set) == ("ladder_ttrl", f"seed{seed}", "hard_test")):
            own = [variant for variant in variants.read(finished, "ttrl", seed) if variant.root == score.problem]
            tuned = training * any(not v.rejected for v in own)  # TTRL has as many steps as the training here
            assert score.rollouts == training + drawn["ladder"] + variants.drawn(own, chosen) + tuned


def test_every_arm_is_measured_on_every_problem_and_seed(finished, place):
    chosen = settings(place)
    found = Counter((s.arm, s.set, s.n) for s in scores(finished) if s.set == "hard_test")
    draws = {arm: chosen.draws(arm, 2, 3) for arm in LADDER_ARMS}
    assert found == {(arm, "hard_test", draws[arm]): 2 * 3 for arm in LADDER_ARMS}
    assert draws["base"] == draws["ladder"] == 16 and draws["originals"] == draws["ladder_ttrl"] == 4
    voted = [s for s in scores(finished) if s.set == "voted"]
    assert len(voted) == 2 * 3 and {(s.arm, s.n, s.rollouts) for s in voted} == {("base", 1, 16)}
    any_step = [s for s in scores(finished) if s.set == "any_step"]
    assert len(any_step) == 2 * 2 * 3 and {s.n for s in any_step} <= {1, 1 + 3}
    assert all(0 <= s.c <= s.n for s in scores(finished))


def test_metrics_hold_every_step_of_every_student(finished, place):
    frame = pd.read_csv(finished / "metrics.csv", keep_default_na=False)
    steps = frame.groupby(["arm", "seed", "problem"]).size()
    assert set(steps) == {3}
    assert {(arm, seed) for arm, seed, problem in steps.index if problem == ""} == {
        (arm, seed) for arm in ladder.RL_ARMS for seed in (0, 1)
    }
    tuned = frame[frame["problem"] != ""]
    assert set(tuned["arm"]) == set(TTRL_ARMS)
    for (arm, seed, problem), part in tuned.groupby(["arm", "seed", "problem"]):
        score = next(
            s for s in scores(finished) if (s.arm, s.run, s.problem, s.set) == (arm, f"seed{seed}", problem, "any_step")
        )
        assert 0 <= score.c - part["probe"].astype(int).sum() <= 1  # the first probe comes before the first step


def test_the_students_of_a_seed_start_alike_and_seeds_differ(place):
    climb = ladder.Climb(settings(place), tiny.base(), [], [], place)
    one, again, other = (climb.fresh(seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)


def test_the_population_is_kept_and_learns(finished, place):
    tensors, _ = files.load_checkpoint(runs.latest_checkpoint(finished))
    kept = tensors["students"]
    assert {len(tensor) for tensor in kept.values()} == {4 * 2}
    moved = [name for name in kept if name.endswith(".b") and kept[name].abs().flatten(1).sum(1).min() > 0]
    assert moved


def test_arms_can_be_left_out(place, tmp_path):
    ladder.run(settings(place, arms=["base", "base_ttrl"]), tmp_path / "run", hooks=QUIET)
    assert {score.arm for score in scores(tmp_path / "run")} == {"base", "base_ttrl"}
    assert {row["tree"] for row in files.read_jsonl(tmp_path / "run" / "problems.jsonl")} == {"ttrl"}


# ------------------------------------------------------------------ TTRL


def tuning(slots: list[int], sets: list[list[Problem]]) -> tuple[ttrl.Tuned, Adapters, dict]:
    """TTRL of some of three tiny students."""
    base = tiny.base()
    start = tiny.adapters(base, 3).select(slots)
    before = {name: tensor.clone() for name, tensor in start.state_dict().items()}
    chosen = replace(settings("nowhere"), probes=3)
    tests = [Problem(f"t{slot}", text, "5") for slot, text in zip(range(3), ("abc", "why", "2+2"))]
    lessons, watched = [Lesson(sets[s], (9, s)) for s in slots], []
    tuned = ttrl.tune(base, start, lessons, [tests[s] for s in slots], chosen, lambda step, *_: watched.append(step))
    assert watched == [row["step"] for row in tuned.history]
    return tuned, start, before


def test_each_test_problem_learns_as_if_alone_and_the_start_stays():
    sets = [[Problem(f"v{slot}{i}", f"{i}+{slot}", str(i)) for i in range(3)] for slot in range(3)]
    together, start, before = tuning([0, 1, 2], sets)
    assert all(torch.equal(start.state_dict()[name], before[name]) for name in before)
    for slot in range(3):
        alone, _, _ = tuning([slot], sets)
        assert (alone.right[0], alone.probes[0]) == (together.right[slot], together.probes[slot])
        assert [row["reward"][0] for row in alone.history] == [row["reward"][slot] for row in together.history]
    assert {len(probes) for probes in together.probes} == {1 + 3} and together.trained == [0, 1, 2]


def test_a_test_problem_without_variants_keeps_its_student():
    sets = [[Problem("v", "1+1", "2")], [], [Problem("w", "2+2", "4")]]
    mixed, _, _ = tuning([0, 1, 2], sets)
    assert mixed.trained == [0, 2] and [len(probes) for probes in mixed.probes] == [4, 1, 4]
    none, _, _ = tuning([0, 1, 2], [[], [], []])
    assert none.trained == none.history == [] and none.right[1] == mixed.right[1]


# ------------------------------------------------------------------ settings


WRONG = [
    ({"arms": ["ladder"]}, "arms = .*base and some of originals, one_level"),
    ({"arms": ["base", "magic"]}, "arms = .*base and some of originals"),
    ({"arms": ["base", "ladder_ttrl"]}, "arms = .*with ladder, from whose students"),
    ({"backend": "jax"}, "backend = 'jax': must be one of transformers, unsloth"),
    ({"check": "belief"}, "check = 'belief': must be one of answer, integral"),
    ({"ttrl_steps": 0}, "ttrl_steps = 0: must be more than 0"),
    ({"student.optimiser.warmup": 150}, r"student.optimiser.warmup = 150: must be below ttrl_steps = 100"),
    ({"student.advantage": "best"}, r"student\.advantage = 'best': must be one of rloo, grpo"),
    ({"variants.prompt": "plain"}, r"variants\.equivalent = 0.3: must be 0 where prompt = 'plain'"),
    ({"variants.prompt": "plain", "variants.equivalent": 0}, r"variants\.per_prompt = 10: must be 1 where"),
    ({"variants.prompt": "poem"}, r"variants\.prompt = 'poem': must be one of transformations, plain"),
    ({"variants.suggestions": [5, 3]}, r"variants\.suggestions = \(5, 3\): must be fewest and most"),
    ({"variants.temperatures": [0.0, 1.0]}, r"variants\.temperatures = .*above 0"),
    ({"variants.agreement": 0}, r"variants\.agreement = 0\.0: must be more than 0"),
    ({"variants.equivalent": 2}, r"variants\.equivalent = 2\.0: must be between 0 and 1"),
]


@pytest.mark.parametrize(("changes", "message"), WRONG)
def test_a_bad_setting_is_named(changes, message):
    with pytest.raises(ConfigError, match=message):
        preset("paper", LadderConfig, **changes)


def test_the_defaults_are_the_papers():
    """LADDER 3.1.2 to 3.2.3 and 4.1, and the released trainer's group, rate and length."""
    paper, mit = LadderConfig(), preset("mit", LadderConfig)
    assert (paper.variants.depth, paper.variants.per_prompt, paper.variants.suggestions) == (3, 10, (3, 5))
    assert (min(paper.variants.temperatures), max(paper.variants.temperatures)) == (0.8, 1.4)
    assert (paper.originals, paper.tested, paper.ttrl_steps, paper.student.group) == (10, 100, 100, 5)
    assert (paper.student.advantage, paper.student.optimiser.kl, paper.student.optimiser.clip_low) == (
        "grpo", 0.001, 0.2,
    )  # fmt: skip
    assert (mit.variants.depth, mit.variants.equivalent, mit.student.batch, mit.student.max_new_tokens) == (
        2, 0.3, 128, 4096,
    )  # fmt: skip
    for chosen, written in ((paper, 10 + 100 + 400), (mit, 80 + 720)):
        assert chosen.variants.most_prompts * chosen.variants.per_prompt == written


def test_settings_of_the_base_reach_the_filter_run_and_the_loader(tmp_path, monkeypatch):
    """A base in 4 bits filters its problems in 4 bits."""
    filtered, loaded = [], []
    monkeypatch.setattr(cli, "_filtered", lambda config, out, resume: filtered.append(config))
    monkeypatch.setattr(ladder, "problems", lambda config, folder: (words.problems(2, "p"), words.problems(2, "q")))
    monkeypatch.setattr(ladder, "load_for", lambda config: loaded.append(config) or exit(7))
    with pytest.raises(SystemExit, match="7"):
        cli.main(["ladder", "--preset", "smoke", "--out", str(tmp_path / "run"), "--set", "four_bit=true"])
    for told in (*filtered, *loaded):
        assert (told.model, told.backend, told.four_bit, told.remote_code) == ("nano", "transformers", True, False)
    assert len(filtered) == len(loaded) == 1


def test_a_run_from_before_a_setting_goes_on_with_its_default(finished, place, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    values = files.read_json(tmp_path / "run" / "config.json")
    for name in ("backend", "dtype", "four_bit", "remote_code", "revision"):
        del values[name]
    del values["student"]["trainer"]
    files.write_json(tmp_path / "run" / "config.json", values)
    assert change(LadderConfig(), values) == settings(place)
    ladder.run(settings(place), tmp_path / "run", resume=True)
    with pytest.raises(files.RunError, match="four_bit: False -> True"):
        ladder.run(settings(place, four_bit=True), tmp_path / "run", resume=True)


def test_cost_by_hand():
    changes = {"seeds": 2, "samples": 4, "most_samples": 1000, "variant_samples": 3, "ttrl_steps": 5, "ttrl_batch": 2}
    changes |= {"variants.depth": 2, "variants.prompts": 3, "variants.parents": 2, "variants.per_prompt": 2}
    changes |= {"student.steps": 7, "student.batch": 2, "student.group": 5, "originals": 4}
    chosen = preset("paper", LadderConfig, **changes)
    tree = 3 * (1 + 2)
    tuning = 5 * 2 * 5 + 1 * 6
    assert (chosen.written, chosen.ttrl_samples) == (tree, tree + tuning)
    assert chosen.spread_samples(4, 1) == 4 * tree + 70 and chosen.spread_samples(4, 10) == 11
    base, student = 11 + tree + tuning, tree + tuning
    assert (chosen.draws("base", 4, 10), chosen.draws("ladder", 4, 10)) == (base, student)
    trees = 2 * 4 * tree + 10 * tree  # one level and tree of four originals, and one for each test problem
    scoring = 10 * (base + student + 3 * 4)
    by_hand = 2 * (trees + 4 * 70 + 2 * 10 * (tuning + 4) + scoring + 2 * 3 * 4 * tree * 2)
    assert cost(chosen, problems=10).rollouts == by_hand
    voted = replace(chosen, check="answer", variants=replace(chosen.variants, votes=6))
    assert voted.written == tree * (1 + 2 * 6)


def test_sizes_beyond_the_filter_run_are_refused_before_anything_is_written(place, tmp_path):
    for name, count in (("originals", 2), ("tested", 3)):
        with pytest.raises(ConfigError, match=f"{name} = 9: .*hard has {count} such problems"):
            ladder.run(settings(place, **{name: 9}), tmp_path / "run", base=tiny.base())
    with pytest.raises(ConfigError, match="problems = ''"):
        ladder.run(settings(place, problems=""), tmp_path / "run", base=tiny.base())
    with pytest.raises(LoadError, match="p2: states no indefinite integral|p0: states no indefinite integral"):
        ladder.run(settings(place, check="integral"), tmp_path / "run", base=tiny.base())
    assert not (tmp_path / "run").exists()


def test_fewer_problems_are_drawn_under_the_seed(place):
    drawn = [ladder.problems(settings(place, tested=2, seed=seed), place / "nowhere")[1] for seed in range(6)]
    assert all(len(test) == 2 for test in drawn) and len({tuple(p.id for p in test) for test in drawn}) > 1
    assert drawn[0] == ladder.problems(settings(place, tested=2), place / "nowhere")[1]


def test_a_log_is_told_every_row_of_the_metrics(place, tmp_path):
    told, out = [], tmp_path / "run"
    ladder.run(settings(place, arms=("base", "originals")), out, hooks=Hooks(False, told.extend))
    kept = pd.read_csv(out / "metrics.csv")
    assert len(told) == len(kept) > 0 and [row["reward"] for row in told] == pytest.approx(kept["reward"].tolist())


# ------------------------------------------------------------------ the command


def test_the_command_filters_integrals_and_runs_on_nano(tmp_path, capsys):
    """The whole way with the shipped model, its integrals and the verifier by numbers."""
    out = tmp_path / "run"
    command = ["ladder", "--preset", "smoke", "--out", str(out), "--set", "seeds=1", "--set", "together=1"]
    command += ["--set", "student.max_new_tokens=80"]
    assert cli.main(command) == 0
    printed = capsys.readouterr().out
    for part in ("filter: about", "ladder: about", "MB of memory for tensors", "ladder: took", "ladder_ttrl", str(out)):
        assert part in printed
    cost = files.read_json(out / "cost.json")
    assert 0 < cost["measured"]["rollouts"] <= cost["predicted"]["rollouts"]
    rows = files.read_jsonl(out / "problems.jsonl")
    assert any(not row["rejected"] for row in rows) and all(row["distance"] > 0 for row in rows if not row["rejected"])
    filtered = files.read_json(tmp_path / "run-filter" / "config.json")
    assert filtered["check"] == "integral" and filtered["max_new_tokens"] == 80  # as long as the students' answers
    assert set(pd.read_csv(out / "ladder.csv")["arm"]) == set(LADDER_ARMS)
    assert cli.main(command) == 2
    assert "add --resume" in capsys.readouterr().err
    before = killer.files(out)
    assert cli.main([*command, "--resume"]) == 0 and killer.files(out) == before
