"""fail@k on a tiny random Llama whose words are whole boxes: some problems are solved by luck, some never."""

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from soar_lib import files
from soar_lib.engine import base as policy_base
from soar_lib.files import RunError, read_jsonl
from soar_lib.problems import filtering
from soar_lib.problems.filtering import doubling, fail_at_k, run, split, totals
from soar_lib.problems.load import load
from soar_lib.problems.rows import LoadError, hard_sets
from soar_lib.records import Problem
from soar_lib.settings.student import FilterConfig

FILES = Path(__file__).parents[3] / "shared" / "data"
K = 24
POOL = [Problem(f"p{i}", f"question {i}", "77" if i % 5 == 4 else str(i % 10), topic="t", level=i) for i in range(20)]


def tiny_model(folder: Path) -> Path:
    """A random Llama over words; eleven words are boxes, one of them empty."""
    words = ["<pad>", "<eos>", "<unk>", "so", "it", "is", "\\boxed{}", *(f"\\boxed{{{digit}}}" for digit in range(10))]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", unk_token="<unk>"
    )
    wrapped.chat_template = "{% for message in messages %}{{ message['content'] }} {% endfor %}"
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(words), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=128, initializer_range=0.3, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    wrapped.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def base(model):
    return policy_base.load(str(model), device="cpu")


@pytest.fixture(scope="module")
def pool_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("pool") / "pool.jsonl"
    rows = [{"id": p.id, "question": p.question, "answer": p.answer, "level": p.level} for p in POOL]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def drawn(base, problems=POOL, sizes=None, **changes):
    config = FilterConfig(k=K, **{"seed": 3, "max_new_tokens": 3} | changes)
    return fail_at_k(base, problems, config, sizes, progress=False)


def test_doubling_adds_up_to_k():
    for k in range(1, 300):
        sizes = doubling(k)
        assert sum(sizes) == k and min(sizes) > 0
        # each batch at most doubles what has been drawn
        assert all(size <= max(1, sum(sizes[:i])) for i, size in enumerate(sizes))


def test_growing_batches_give_what_drawing_all_gives(base):
    everything = drawn(base, sizes=[K])
    growing = drawn(base)
    assert [outcome.hard for outcome in growing] == [outcome.hard for outcome in everything]
    hard = {outcome.id for outcome in everything if outcome.hard}
    assert {p.id for p in POOL if p.answer == "77"} <= hard and len(hard) < len(POOL)
    for early, whole in zip(growing, everything, strict=True):
        assert whole.samples == K and (early == whole if whole.hard else early.samples <= K)
    assert sum(outcome.samples for outcome in growing) < sum(outcome.samples for outcome in everything)


@pytest.mark.parametrize("options", [{"sizes": [1] * K}, {"rows": 7}, {"rows": 1}, {"sizes": [5, 19], "rows": 30}])
def test_the_cut_changes_no_hard_set(base, options):
    reference = {outcome.id: outcome.hard for outcome in drawn(base, sizes=[K])}
    assert {outcome.id: outcome.hard for outcome in drawn(base, **options)} == reference


def test_one_sample_at_a_time_stops_at_the_first_hit(base):
    for outcome in drawn(base, sizes=[1] * K):
        assert outcome.right == (not outcome.hard)
        assert outcome.samples == K if outcome.hard else outcome.samples <= K


def test_a_problem_alone_is_judged_as_in_company(base):
    together = {outcome.id: outcome for outcome in drawn(base, sizes=[K])}
    for problem in POOL[3:6]:
        assert drawn(base, [problem], sizes=[K]) == [together[problem.id]]


def test_the_seed_matters_and_verdicts_are_counted(base):
    outcomes = drawn(base, sizes=[K])
    other = drawn(base, sizes=[K], seed=4)
    assert outcomes != other
    counts = totals(outcomes)
    assert sum(counts.values()) == K * len(POOL)
    assert counts["right"] > 0 and counts["wrong"] > 0 and counts["unparsed"] > 0 and counts["timeout"] == 0


def test_contradicting_arguments_are_refused(base):
    with pytest.raises(ValueError, match="must add up to k = 24"):
        drawn(base, sizes=[1, 2])
    with pytest.raises(ValueError, match="ids must differ"):
        drawn(base, [POOL[0], POOL[0]])


@pytest.mark.parametrize("fraction, expected", [(0.5, 37), (0.25, 18)])
def test_split_is_a_partition_by_seed(fraction, expected):
    problems = [Problem(str(i), "q", "a") for i in range(73)]
    train, test = split(problems, 0, fraction)
    assert len(train) in (expected, expected - 1) and sorted(train + test, key=problems.index) == problems
    assert split(problems, 0, fraction) == (train, test) != split(problems, 1, fraction)


class Killed(Exception):
    pass


def test_a_run_does_not_go_on_with_another_pool(tmp_path, monkeypatch, model, pool_file):
    """The ids are those of before, but a problem has another answer."""
    pool = tmp_path / "pool.jsonl"
    pool.write_bytes(pool_file.read_bytes())
    config = FilterConfig(model=str(model), problems=str(pool), k=K, max_new_tokens=3, rows=16)
    with monkeypatch.context() as patch, pytest.raises(ZeroDivisionError):
        patch.setattr(files, "append_jsonl", lambda *_: 1 / 0)
        run(config, tmp_path / "run", progress=False)
    first, *others = pool.read_text().splitlines()
    pool.write_text("\n".join([json.dumps(json.loads(first) | {"answer": "12345"}), *others]))
    with pytest.raises(LoadError, match="run: its pool .*pool.jsonl has changed since; filter again in another folder"):
        run(config, tmp_path / "run", resume=True, progress=False)
    shutil.copyfile(pool_file, pool)
    assert len(run(config, tmp_path / "run", resume=True, progress=False).outcomes) == len(load(pool))


@pytest.mark.parametrize("after", [1, 2, 5])
@pytest.mark.parametrize("written", [True, False])
def test_an_interrupted_run_resumes_to_the_same_folder(tmp_path, monkeypatch, model, pool_file, after, written):
    config = FilterConfig(model=str(model), problems=str(pool_file), k=K, max_new_tokens=3, rows=16)
    whole = run(config, tmp_path / "whole", progress=False)
    calls, append = [], files.append_jsonl

    def append_and_die(path, records):
        calls.append(path)
        if written or len(calls) < after:
            append(path, records)
        if len(calls) == after:
            raise Killed

    monkeypatch.setattr(files, "append_jsonl", append_and_die)
    with pytest.raises(Killed):
        run(config, tmp_path / "cut", progress=False)
    assert not (tmp_path / "cut" / "hard_train.jsonl").exists()
    monkeypatch.undo()
    assert run(config, tmp_path / "cut", resume=True, progress=False) == whole
    names = ["config.json", "samples.jsonl", "outcomes.jsonl", "hard_train.jsonl", "hard_test.jsonl"]
    for name in names:
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_folder_says_what_was_found(tmp_path, model, pool_file):
    config = FilterConfig(model=str(model), problems=str(pool_file), k=K, max_new_tokens=3)
    result = run(config, tmp_path / "run", progress=False)
    assert hard_sets(tmp_path / "run") == (result.train, result.test)
    outcomes = read_jsonl(tmp_path / "run" / "outcomes.jsonl")
    assert [row["id"] for row in outcomes] == [problem.id for problem in load(pool_file)]
    hard = {row["id"] for row in outcomes if row["hard"]}
    assert (
        hard == {problem.id for problem in result.train + result.test} and abs(len(result.train) * 2 - len(hard)) <= 1
    )
    assert f"{len(hard)} of 20 problems are never solved in {K} samples" in str(result)
    logged = Counter()
    for row in read_jsonl(tmp_path / "run" / "samples.jsonl"):
        logged.update({name: row[name] for name in totals([])})
        logged["cut"] += row["cut"]
    cut = sum(outcome.cut for outcome in result.outcomes)
    assert logged == Counter(totals(result.outcomes) | {"cut": cut})
    assert 0 < cut <= sum(outcome.samples for outcome in result.outcomes) and f"{cut:,} were cut off" in str(result)
    with pytest.raises(RunError, match="there is a run in it already"):
        run(config, tmp_path / "run", progress=False)


def test_a_finished_run_is_only_read(tmp_path, monkeypatch, model, pool_file):
    config = FilterConfig(model=str(model), problems=str(pool_file), k=K, max_new_tokens=3)
    result = run(config, tmp_path / "run", progress=False)
    (tmp_path / "run" / "samples.jsonl").unlink()  # published runs have none
    monkeypatch.setattr(filtering, "load_for", lambda name: pytest.fail("a finished run needs no model"))
    assert run(config, tmp_path / "run", resume=True, progress=False) == result
    with pytest.raises(RunError, match="seed: 0 -> 1"):
        run(replace(config, seed=1), tmp_path / "run", resume=True, progress=False)


def test_a_model_that_writes_no_box_is_warned_of(tmp_path, pool_file):
    words = tiny_model(tmp_path / "model") / "tokenizer.json"
    words.write_text(words.read_text().replace("\\\\boxed{", "boxed{"))
    config = FilterConfig(model=str(words.parent), problems=str(pool_file), k=4, max_new_tokens=3)
    with pytest.warns(UserWarning, match="80 of 80 samples of .* hold no readable box, so its problems only look hard"):
        run(config, tmp_path / "run", progress=False)


@pytest.mark.parametrize("emptied", ["outcomes", "hard_train", "hard_test"])
def test_a_finished_run_whose_files_do_not_fit_is_refused_and_made_anew(tmp_path, model, pool_file, emptied):
    config, folder = FilterConfig(model=str(model), problems=str(pool_file), k=K, max_new_tokens=3), tmp_path / "run"
    result = run(config, folder, progress=False)
    (folder / f"{emptied}.jsonl").write_text("")
    for reading in (lambda: run(config, folder, resume=True, progress=False), lambda: hard_sets(folder)):
        with pytest.raises(LoadError, match=f"({emptied}.jsonl: holds no problem|outcomes.jsonl: names .* delete)"):
            reading()
    (folder / f"{emptied}.jsonl").unlink()
    assert run(config, folder, resume=True, progress=False) == result


def test_a_finished_run_that_lost_an_outcome_of_a_solved_problem_is_refused_and_made_anew(tmp_path, model, pool_file):
    config, folder = FilterConfig(model=str(model), problems=str(pool_file), k=K, max_new_tokens=3), tmp_path / "run"
    result = run(config, folder, progress=False)
    whole = (folder / "outcomes.jsonl").read_text()
    lost = next(line for line in whole.splitlines(keepends=True) if json.loads(line)["right"])
    (folder / "outcomes.jsonl").write_text(whole.replace(lost, ""))
    with pytest.raises(LoadError, match="outcomes.jsonl: was changed since filtering ended; delete it"):
        run(config, folder, resume=True, progress=False)
    (folder / "outcomes.jsonl").unlink()
    assert run(config, folder, resume=True, progress=False) == result
    (folder / "pool.json").unlink()  # published runs have none
    assert run(config, folder, resume=True, progress=False) == result


def test_solved_problems_are_the_others_of_the_pool(tmp_path, model, pool_file):
    pool = tmp_path / "pool.jsonl"
    pool.write_bytes(pool_file.read_bytes())
    with pytest.raises(LoadError, match="run: holds no finished filter run"):
        filtering.solved_problems(tmp_path / "run")
    config = FilterConfig(model=str(model), problems=str(pool), k=K, max_new_tokens=3)
    result = run(config, tmp_path / "run", progress=False)
    hard = {problem.id for problem in result.train + result.test}
    assert filtering.solved_problems(tmp_path / "run") == [p for p in load(pool) if p.id not in hard]
    assert 0 < len(hard) < 20
    pool.write_text("".join(pool.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(LoadError, match="pool.jsonl has changed since; filter again"):
        filtering.solved_problems(tmp_path / "run")


def test_a_bad_pool_or_folder_touches_nothing(tmp_path, model):
    config = FilterConfig(model=str(model), problems=str(tmp_path / "absent.jsonl"), k=4, max_new_tokens=3)
    with pytest.raises(LoadError, match="absent.jsonl: neither a file"):
        run(config, tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not FILES.is_dir(), reason="the benchmark files are not here")
@pytest.mark.parametrize("name", ["math500", "harp", "olympiadbench_oe_to_maths_en"])
def test_real_benchmark_files_pass_through(tmp_path, base, model, name):
    part = tmp_path / "part.jsonl"
    part.write_text("".join((FILES / f"{name}.jsonl").read_text().splitlines(keepends=True)[:12]))
    config = FilterConfig(model=str(model), problems=str(part), k=2, max_new_tokens=3)
    result = run(config, tmp_path / "run", progress=False)
    assert len(result.outcomes) == 12 and all(outcome.samples <= 2 for outcome in result.outcomes)
    assert set(result.train + result.test) <= set(load(part))
    assert hard_sets(tmp_path / "run") == (result.train, result.test)
