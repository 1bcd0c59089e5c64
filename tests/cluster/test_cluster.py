"""Students shared out over Ray actors: the same as in one process, whole after a loss, errors that say what to do."""

import csv
import os
import re
import signal
import socket
import sys
import types
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from soar_lib import files, meter
from soar_lib.cli import commands as cli
from soar_lib.cluster import actors as cluster
from soar_lib.cluster import joining
from soar_lib.engine.base import load
from soar_lib.engine.lora import Adapters
from soar_lib.hooks import Hooks
from soar_lib.problems.load import load as load_problems
from soar_lib.randomness import generator
from soar_lib.settings.student import preset
from soar_lib.settings.values import ConfigError
from soar_lib.soar import evaluate
from soar_lib.soar import run as soar
from soar_lib.soar.evaluate_settings import EvaluateConfig
from soar_lib.soar.rewards import Measured, OuterStep, grounded, student_rewards
from soar_lib.soar.settings import SoarConfig
from soar_lib.student import train as student
from soar_lib.student.train import Lesson

ray = pytest.importorskip("ray", reason='needs Ray: pip install "soar-lib[ray]"')

SETTINGS = {
    "repeats": 2, "reward_samples": 4, "student.steps": 2, "student.optimiser.kl": 0.01, "threshold": 0.0,
}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    """A folder of problems, half of them for training, some of which the shipped model half knows."""
    folder = tmp_path_factory.mktemp("world")
    problems = load_problems("nano", seed=0, size=40)
    for name, part in (("hard_train", problems[::2]), ("hard_test", problems[1::4])):
        (folder / f"{name}.jsonl").write_text(files.jsonl(map(asdict, part)))
    return folder


@pytest.fixture(scope="module")
def base():
    return load("nano", "cpu")


def settings(world: Path, **changes) -> SoarConfig:
    return preset("smoke", SoarConfig, problems=str(world), **(SETTINGS | changes))


@pytest.fixture(scope="module")
def actors(world):
    """Two actors on a cluster of this machine, with the threads of this process: one, so that runs repeat."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    joining.connect("auto", num_cpus=4, object_store_memory=100 * 2**20)
    said = []
    with cluster.opened("auto", settings(world), 4, 2, said.append) as found:
        (line,) = said
        head, *places = re.split(": |, ", line.removeprefix("ray: "))
        assert head == "2 actors for 4 students" and set(places) == where(found)
        yield found
    ray.shutdown()
    torch.set_num_threads(threads)


def where(actors) -> set[str]:
    return set(ray.get([actor.begin.remote() for actor in actors]))


def generous(step: OuterStep) -> Measured:
    """The grounded reward and half an accuracy more, so that every round promotes."""
    found = grounded(step)
    return replace(found, gains=tuple(tuple(gain + 0.5 for gain in row) for row in found.gains))


def play(world: Path, folder: Path, base, where=student.HERE, log=None) -> Path:
    hooks = Hooks(progress=False, log=log, inner_loop=where)
    with meter.metered(folder, {}):
        soar.run(settings(world), folder, True, base, teacher_reward=generous, hooks=hooks)
    return folder


@pytest.fixture(scope="module")
def alone(world, base, actors, tmp_path_factory) -> Path:
    return play(world, tmp_path_factory.mktemp("alone") / "run", base)


@pytest.fixture(scope="module")
def shared(world, base, actors, tmp_path_factory) -> Path:
    return play(world, tmp_path_factory.mktemp("shared") / "run", base, cluster.on(actors))


def assert_same(one: Path, other: Path) -> None:
    """Rewards, promotions, problems, settings and results are equal; weights and metrics up to rounding."""
    names = {str(path.relative_to(one)) for path in one.rglob("*") if path.is_file()}
    assert names == {str(path.relative_to(other)) for path in other.rglob("*") if path.is_file()}
    assert {"result.json", "promotion_questions.jsonl", "adapters/promoted_student/adapter_model.safetensors"} < names
    for name in sorted(names - {"cost.json"}):
        first, second = one / name, other / name
        if name.endswith(".safetensors"):
            tensors, others = load_file(first), load_file(second)
            assert_close(tensors, others)
        elif name == "metrics.csv":
            for row, same in zip(csv.reader(first.open()), csv.reader(second.open()), strict=True):
                assert list(map(number, row)) == [number(cell, approximate=True) for cell in same]
        elif name.endswith("state.json"):  # with the lengths of the logs, metrics.csv's too
            assert files.read_json(first)["state"] == files.read_json(second)["state"]
        else:
            assert first.read_bytes() == second.read_bytes(), name


def assert_close(tensors: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> None:
    """Equal up to rounding. AdamW's first steps have the size of the learning rate, 1e-3, however small the gradient,
    so where that is nothing but rounding a weight may go either way: few may, and no further than it takes them."""
    assert tensors.keys() == others.keys()
    difference = torch.cat([(tensor - others[key]).abs().flatten() for key, tensor in tensors.items()])
    assert difference.max() < 5e-3
    assert (difference > 1e-5).float().mean() < 1e-2


def number(cell: str, approximate: bool = False):
    try:
        return pytest.approx(float(cell), rel=1e-3, abs=1e-6) if approximate else float(cell)
    except ValueError:
        return cell


# ------------------------------------------------------------------ equality


def test_a_shared_run_equals_one_in_this_process(alone, shared):
    assert_same(alone, shared)
    rounds = soar.read_rounds(shared)
    assert [record.promoted for record in rounds] == [True, True]
    assert len({reward for record in rounds for row in record.rewards for reward in row}) > 1
    counted = [files.read_json(folder / "cost.json")["measured"] for folder in (alone, shared)]
    assert [(found["rollouts"], found["tokens"]) for found in counted][0] == (
        counted[1]["rollouts"],
        counted[1]["tokens"],
    )


def test_histories_and_progress_are_those_of_the_population(world, base, actors):
    config = settings(world).student
    problems = soar.problems(settings(world), world / "nowhere")[0]
    adapters = Adapters.create(base.model, 5, config.rank, config.alpha, generator(3), same=False)
    lessons, seen = [Lesson(problems[i : i + 4], (7, i)) for i in range(5)], []
    trained, history = student.train(base, adapters, lessons, config, student_rewards)
    loop = cluster.on(actors)
    ours, told = loop.train(base, adapters, lessons, config, student_rewards, watch=lambda *step: seen.append(step))
    assert seen == [(step, row, None) for step, row in enumerate(told)] and len(seen) == config.steps
    for line, same in zip(history, told, strict=True):
        assert list(line) == list(same)
        for name, values in line.items():
            assert same[name] == pytest.approx(values, rel=1e-3, abs=1e-6), name
    assert_close(ours.state_dict(), trained.state_dict())
    shares = (problems[:6], config.draw(1024), 3, [(8, i) for i in range(5)])
    for policy in (trained, trained.select([4]), None):
        assert torch.equal(loop.accuracy(base, policy, *shares), student.accuracy(base, policy, *shares))


def test_a_shared_evaluation_equals_one_in_this_process(world, base, actors, shared, tmp_path):
    config = preset("smoke", EvaluateConfig, arms=("base", "ps", "hard_only", "pq"), students=2, problems=str(world))
    tables = [
        evaluate.run(config, [shared], tmp_path / name, base=base, hooks=Hooks(progress=False, inner_loop=where))
        for name, where in (("here", student.HERE), ("there", cluster.on(actors)))
    ]
    assert tables[0].equals(tables[1])
    assert set(tables[0]["arm"]) == {"base", "ps_generous", "hard_only", "pq_generous"}
    here, there = ((tmp_path / name / "scores.jsonl").read_bytes() for name in ("here", "there"))
    assert here == there


# ------------------------------------------------------------------ losses


def test_a_killed_actors_students_are_done_again_and_nothing_else(world, base, actors, shared, tmp_path):
    """Round 1 here, round 2 on the cluster, where one actor kills itself in its second step."""
    log, once = tmp_path / "steps", tmp_path / "killed"
    before = where(actors)

    def deadly(golds, responses):
        with log.open("a") as file:
            file.write(f"{os.getpid()}\n")
        mine = log.read_text().split().count(str(os.getpid()))
        if mine == 2:
            try:
                once.touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return student_rewards(golds, responses)

    def stop(rows):
        raise KeyboardInterrupt

    def train(base, adapters, lessons, settings, reward, *rest):
        return loop.train(base, adapters, lessons, settings, deadly, *rest)

    loop, folder = cluster.on(actors), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        play(world, folder, base, log=stop)
    assert len(soar.read_rounds(folder)) == 1
    play(world, folder, base, replace(loop, train=train))
    assert_same(shared, folder)
    steps = log.read_text().split()
    took = sorted(steps.count(pid) for pid in set(steps))
    inner = settings(world).inner_steps(1)
    (dead,) = before - where(actors)
    assert steps.count(dead.split()[1]) == 2
    assert sum(took) == 2 + 2 * inner, "the slice that was lost, and no other, was trained twice"


def test_what_was_begun_on_a_cluster_goes_on_without_it(world, base, actors, alone, tmp_path):
    def stop(rows):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        play(world, tmp_path / "run", base, cluster.on(actors), stop)
    assert_same(alone, play(world, tmp_path / "run", base))


# ------------------------------------------------------------------ the command line


def test_the_command_shares_students_out(world, actors, tmp_path, capsys):
    command = ["soar", "--preset", "smoke", "--problems", str(world), "--out", str(tmp_path / "run")]
    assert cli.main([*command, "--set", "rounds=1", "--ray", "auto", "--actors", "1"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.partition(" ")[0] for line in printed] == ["soar:", "ray:", "1", "soar:", "soar:"]
    assert "student.max_new_tokens = 64 cut off" in printed[-1]
    assert printed[1].startswith("ray: 1 actor for 2 students: pid ")
    assert len(soar.read_rounds(tmp_path / "run")) == 1


def test_fewer_actors_than_asked_are_said(world, shared, tmp_path, capsys):
    command = ["evaluate", "--preset", "smoke", "--problems", str(world), "--out", str(tmp_path / "run"), "--seed", "1"]
    command += ["--set", 'arms=["ps"]', "--set", "students=1", "--ray", "auto", "--actors", "2"]
    assert cli.main([*command, "--runs", str(shared)]) == 0
    assert "\nray: 1 actor, as a student is not shared, for 1 student: pid " in capsys.readouterr().out
    assert len(files.read_jsonl(tmp_path / "run" / "scores.jsonl")) == 10


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("head", "--ray head: must be auto, or HOST:PORT"),
        ("ray://head:10001", "--ray ray://head:10001: must be auto, or HOST:PORT"),
        ("127.0.0.1:{port}", "--ray 127.0.0.1:{port}: no cluster can be reached there"),
        ("127.0.0.1:99999", "no cluster can be reached there"),
    ],
)
def test_an_address_without_a_cluster_is_one_line(tmp_path, capsys, address, message):
    port = free_port()
    out = tmp_path / "run"
    assert cli.main(["soar", "--preset", "smoke", "--out", str(out), "--ray", address.format(port=port)]) == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1 and message.format(port=port) in printed.err
    assert not out.exists()


def test_on_a_gpu_the_back_end_auto_is_what_it_stands_for(world, monkeypatch):
    """Up to where the cluster is looked for, which is not there: this machine has no GPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(ConfigError, match="no cluster can be reached there"):
        with cluster.opened(f"127.0.0.1:{free_port()}", settings(world, backend="auto"), 2):
            pass


def test_a_reward_without_students_has_nothing_to_share(tmp_path, capsys):
    changes = ["--set", "reward=intrinsic", "--set", "promotion=false"]
    assert cli.main(["soar", "--preset", "smoke", "--out", str(tmp_path / "run"), "--ray", "auto", *changes]) == 2
    assert "reward = 'intrinsic' trains no students" in capsys.readouterr().err


# ------------------------------------------------------------------ how many


@pytest.mark.parametrize(
    ("resources", "gpu", "asked", "count"),
    [
        ({"CPU": 32.0, "GPU": 8.0}, True, None, 8),
        ({"CPU": 32.0, "GPU": 8.0}, True, 3, 3),
        ({"CPU": 64.0, "GPU": 32.0}, True, None, 16),  # no more than students
        ({"CPU": 64.0, "GPU": 32.0}, True, 20, 16),
        ({"CPU": 8.0}, False, None, 4),  # two threads each
        ({"CPU": 1.0}, False, None, 1),
        ({"CPU": 8.0, "GPU": 2.0}, False, 5, 5),  # on CPUs, as asked
    ],
)
def test_actors_are_as_many_as_gpus_cpus_and_students_allow(resources, gpu, asked, count):
    assert joining.choose_count(resources, gpu, asked, 16, 2) == count


@pytest.mark.parametrize(
    ("resources", "gpu", "asked", "message"),
    [
        ({"CPU": 8.0}, True, None, "the cluster has none to give"),
        ({"CPU": 8.0, "GPU": 4.0}, False, None, "the cluster has 4 GPUs, but torch sees none here"),
        ({"CPU": 8.0, "GPU": 4.0}, True, 5, "--actors 5: must be between 1 and 4, the GPUs of the cluster"),
        ({"CPU": 8.0}, False, 9, "--actors 9: must be between 1 and 8, the CPUs of the cluster"),
    ],
)
def test_actors_that_cannot_be_had_are_refused(resources, gpu, asked, message):
    with pytest.raises(ConfigError, match=message):
        joining.choose_count(resources, gpu, asked, 16, 2)


# ------------------------------------------------------------------ errors from actors: these come last, as actors die


def test_an_error_of_the_work_is_raised_as_it_is(actors, monkeypatch):
    here_only = types.ModuleType("here_only")  # which actors cannot import
    exec("def nothing(base, adapters, tell): pass", vars(here_only))
    monkeypatch.setitem(sys.modules, "here_only", here_only)

    def work(base, adapters, tell, error):
        raise error

    with pytest.raises(ConfigError, match="^mend this$"):
        cluster.run(actors, work, [(None, (ConfigError("mend this"),))])
    with pytest.raises(files.RunError, match="ran out of GPU memory .no more.; lower rows"):
        cluster.run(actors, work, [(None, (torch.OutOfMemoryError("no more"),))])
    with pytest.raises(files.RunError, match="could not read what it was sent .*install the same soar-lib"):
        cluster.run(actors, here_only.nothing, [(None, ())])


def test_a_slice_that_kills_every_actor_ends_the_run(actors, monkeypatch):
    monkeypatch.setattr(cluster, "LOSSES", 1)

    def die(base, adapters, tell):
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(files.RunError, match=r"actor pid \d+ on \S+ was lost .*slice 1 of 1; .*go on with --resume"):
        cluster.run(actors, die, [(None, ())])


def test_actors_that_find_no_place_are_an_error(actors, monkeypatch):
    monkeypatch.setattr(cluster, "START_SECONDS", 0.01)
    with pytest.raises(files.RunError, match="of 1 actors started within 0 minutes; free what others hold"):
        with cluster.opened("auto", SoarConfig(), 4, 1):
            pass
