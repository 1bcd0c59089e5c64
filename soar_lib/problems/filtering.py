"""fail@k: keep the problems that a model never solves in k samples, and split them in two (SOAR section B.5).

Samples answer the student's prompt (temperature 1, k = 128). A problem is hard if none of its k samples is right; hard
ones are cut at random into hard train and hard test. A problem with one right sample is settled and draws no more, so
samples are drawn in growing batches. Sample j of a problem depends on (seed, problem, j) alone, never on how the
batches are cut: the hard set is the one that drawing all k would give.

A filter run's folder holds samples.jsonl (what was drawn, the state to resume from), outcomes.jsonl (one line per
problem), hard_train.jsonl and hard_test.jsonl (problems, as `problems.load` reads them)."""

import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import accumulate, islice
from pathlib import Path

import torch
from tqdm.auto import tqdm

from soar_lib import files, runs
from soar_lib.engine.base import Base, load_for
from soar_lib.engine.sampling import complete, cut_off, decode
from soar_lib.problems.checks import CHECKS
from soar_lib.problems.load import load
from soar_lib.problems.prompts import student_messages
from soar_lib.problems.rows import LoadError, check_hard
from soar_lib.randomness import generator
from soar_lib.records import HARD_TEST, HARD_TRAIN, Draw, Problem
from soar_lib.settings.memory import check_memory
from soar_lib.settings.student import FilterConfig
from soar_lib.verifier import verify

ENDS = ("outcomes", HARD_TEST, HARD_TRAIN)  # what a finished run has, in the order of writing
POOL = "pool.json"  # the hashes of the problems that a run begins with, and at its end of outcomes.jsonl
ALL = 0.95  # share of samples without a readable box from which the model, and no problem, is the reason
UNREAD = "hold no readable box, so its problems only look hard: raise max_new_tokens, or see what it writes"
VERDICTS = dict.fromkeys(verify.VERDICTS, int)
COUNTS = (*VERDICTS, "cut")  # of a record, and of an outcome
Drawn = dict[str, "Outcome"]  # each problem's samples so far
Batch = list[tuple[Problem, int]]  # problems and the numbers of their samples


@dataclass(frozen=True)
class Outcome:
    """The result of filtering for one problem: its samples by verdict, and how many were cut off at max_new_tokens."""

    id: str
    topic: str
    level: int | None
    right: int = 0
    wrong: int = 0
    unparsed: int = 0
    timeout: int = 0
    cut: int = 0

    @property
    def samples(self) -> int:
        """How many samples were drawn."""
        return self.right + self.wrong + self.unparsed + self.timeout

    @property
    def hard(self) -> bool:
        """True where no sample was right (of all k, once filtering has ended)."""
        return self.right == 0


@dataclass(frozen=True)
class Filtered:
    """A filtered pool: outcomes in the pool's order, the hard problems in two parts, and k."""

    outcomes: list[Outcome]
    train: list[Problem]
    test: list[Problem]
    k: int

    def __str__(self) -> str:
        drawn, most = sum(outcome.samples for outcome in self.outcomes), self.k * len(self.outcomes)
        verdicts = ", ".join(f"{count:,} {name}" for name, count in totals(self.outcomes).items())
        hard, cut = len(self.train) + len(self.test), sum(outcome.cut for outcome in self.outcomes)
        return (
            f"{hard:,} of {len(self.outcomes):,} problems are never solved in {self.k} samples "
            f"({len(self.train):,} train, {len(self.test):,} test); drew {drawn:,} of {most:,} samples: {verdicts}; "
            f"{cut:,} were cut off at max_new_tokens"
        )


def totals(outcomes: Sequence[Outcome]) -> dict[str, int]:
    """How many samples have each verdict, over all problems."""
    return {name: sum(getattr(outcome, name) for outcome in outcomes) for name in VERDICTS}


def doubling(k: int) -> list[int]:
    """Batch sizes 1, 1, 2, 4, ... that add up to k, so that no problem draws more than twice the samples it needs.

    >>> doubling(128), doubling(11)
    ([1, 1, 2, 4, 8, 16, 32, 64], [1, 1, 2, 4, 3])
    """
    sizes = [1]
    while sum(sizes) < k:
        sizes.append(min(sum(sizes), k - sum(sizes)))
    return sizes


def fail_at_k(
    base: Base, problems: Sequence[Problem], config: FilterConfig, sizes: Sequence[int] | None = None,
    log: Path | None = None, progress: bool = True,
) -> list[Outcome]:  # fmt: skip
    """One outcome per problem, in order; a hard problem has `config.k` samples and none right. `sizes` are the batches
    in which each problem is sampled (default: `doubling`); at most `config.rows` completions are sampled together.
    `log`, a JSONL file of this pool and config alone, keeps what has been drawn, so that it is not drawn again. Raises
    ValueError unless `sizes` add up to k and all ids differ."""
    k, sizes = config.k, doubling(config.k) if sizes is None else list(sizes)
    if sum(sizes) != k or len({problem.id for problem in problems}) != len(problems):
        raise ValueError(f"sizes {sizes} must add up to k = {k}, and the problems' ids must differ")
    drawn = {problem.id: Outcome(problem.id, problem.topic, problem.level) for problem in problems}
    shape = {"topic": str | None, "level": int | None} | VERDICTS
    _add(drawn, files.read_jsonl(log, Outcome, id=drawn, **shape) if log is not None else [])
    with tqdm(total=k * len(problems), desc=f"fail@{k}", unit="sample", unit_scale=True, disable=not progress) as bar:
        _show(bar, drawn, k)
        for batch in _batches(problems, drawn, sizes, config.rows):
            records = _sampled(base, batch, config)
            if log is not None:
                files.append_jsonl(log, records)
            _add(drawn, records)
            _show(bar, drawn, k)
    return [*drawn.values()]


def _add(drawn: Drawn, records: list[dict]) -> None:
    for record in records:
        known = drawn[record["id"]]
        drawn[known.id] = replace(known, **{name: getattr(known, name) + record[name] for name in COUNTS})


def _show(bar: tqdm, drawn: Drawn, k: int) -> None:
    """A settled problem counts as all its k samples, so that the bar ends full."""
    unsolved = [outcome for outcome in drawn.values() if outcome.hard]
    bar.set_postfix(unsolved=len(unsolved), refresh=False)
    bar.update((len(drawn) - len(unsolved)) * k + sum(outcome.samples for outcome in unsolved) - bar.n)


def _batches(problems: Sequence[Problem], drawn: Drawn, sizes: Sequence[int], rows: int) -> Iterator[Batch]:
    """Batches of at most `rows` samples; `drawn` grows between them. All unsolved problems get their j-th share before
    any gets the next, so batches stay full to the end."""
    for stop in accumulate(sizes):
        while batch := [
            *islice(((p, j) for p in problems if drawn[p.id].hard for j in range(drawn[p.id].samples, stop)), rows)
        ]:
            yield batch


def _sampled(base: Base, batch: Batch, config: FilterConfig) -> list[dict]:
    """Draw and judge a batch: one record per problem."""
    draw, check = Draw(config.max_new_tokens, config.temperature, len(batch)), CHECKS[config.check]
    asked = [student_messages(problem.question) for problem, _ in batch]
    keys = [(config.seed, "filter", problem.id, j) for problem, j in batch]
    samples = complete(base, None, asked, [0] * len(batch), 1, keys, draw)
    references = [check.reference(problem) for problem, _ in batch]
    verdicts = check.verdicts(list(zip(references, decode(base, samples), strict=True)))
    found = defaultdict(Counter)
    for (problem, _), verdict, short in zip(batch, verdicts, cut_off(base, samples).tolist(), strict=True):
        found[problem.id].update([verdict, "cut"] if short else [verdict])
    return [{"id": key} | {name: counts[name] for name in COUNTS} for key, counts in found.items()]


def split(problems: Sequence[Problem], seed: int, fraction: float = 0.5) -> tuple[list[Problem], list[Problem]]:
    """Hard train (`fraction` of them, rounded) and hard test, at random under `seed`; both keep the pool's order."""
    order = torch.randperm(len(problems), generator=generator(seed, "split")).tolist()
    chosen = set(order[: round(fraction * len(problems))])
    return [p for i, p in enumerate(problems) if i in chosen], [p for i, p in enumerate(problems) if i not in chosen]


@files.holding
def run(
    config: FilterConfig, folder: str | Path, resume: bool = False, progress: bool = True, base: Base | None = None
) -> Filtered:
    """Filter a pool into a run folder. With `resume`, continue the run that is there; a finished one is only read.
    `base` saves loading one. Raises RunError (folder), LoadError (pool) and ConfigError before anything is written."""
    folder = Path(folder)
    runs.check_folder(folder, resume, config)
    if all((folder / f"{name}.jsonl").is_file() for name in ENDS):
        runs.check_same(folder, config)
        return read_filtered(folder)
    problems, known = _pool(config, folder)
    for problem in problems:  # one that states nothing to be checked is an error before anything is drawn
        CHECKS[config.check].reference(problem)
    check_memory(config, len(problems), loaded=base is not None)
    base = base or load_for(config)
    runs.open_run(folder, config, resume)
    files.write_json(folder / POOL, known)
    outcomes = fail_at_k(base, problems, config, log=folder / "samples.jsonl", progress=progress)
    unread, drawn = totals(outcomes)["unparsed"], sum(outcome.samples for outcome in outcomes)
    if unread > ALL * drawn:
        warnings.warn(f"{unread:,} of {drawn:,} samples of {config.model} {UNREAD}", stacklevel=2)
    hard = [problem for problem, outcome in zip(problems, outcomes, strict=True) if outcome.hard]
    train, test = split(hard, config.seed, config.train_fraction)
    found = files.jsonl(asdict(outcome) | {"hard": outcome.hard} for outcome in outcomes)
    files.write_json(folder / POOL, known | {"outcomes": files.digest(found)})
    files.write_text_atomic(folder / "outcomes.jsonl", found)
    files.write_problems(folder, {HARD_TEST: test, HARD_TRAIN: train})
    return Filtered(outcomes, train, test, config.k)


def _pool(config: FilterConfig, folder: Path) -> tuple[list[Problem], dict[str, str]]:
    """The pool that the settings name, and its hash. Raises LoadError where the run in `folder` began with another."""
    problems = load(config.problems, seed=config.seed, size=config.size or None)
    known = {"sha256": files.digest(files.jsonl(map(asdict, problems)))}
    if (folder / POOL).exists() and files.read_json(folder / POOL, sha256=str)["sha256"] != known["sha256"]:
        raise LoadError(f"{folder}: its pool {config.problems} has changed since; filter again in another folder")
    return problems, known


def read_filtered(folder: str | Path) -> Filtered:
    """A finished filter run. Raises RunError for missing or damaged files, LoadError for a changed hard set."""
    folder = Path(folder)
    train, test = (files.read_problems(folder, f"hard_{part}") for part in ("train", "test"))
    check_hard(folder / "outcomes.jsonl", [*train, *test])
    found = files.digest(files.text_of(folder / "outcomes.jsonl"))
    if (folder / POOL).exists() and files.read_json(folder / POOL).get("outcomes", found) != found:
        again = "delete it, and the same command with --resume makes it anew"
        raise LoadError(f"{folder / 'outcomes.jsonl'}: was changed since filtering ended; {again}")
    return Filtered(read_outcomes(folder), train, test, files.setting(folder, "k", int))


def read_outcomes(folder: Path) -> list[Outcome]:
    """The outcome of each problem of a filter run, in the order of its pool. Raises RunError for a damaged file."""
    rows = files.read_jsonl(folder / "outcomes.jsonl", Outcome, hard=bool | None, **VERDICTS)
    return [Outcome(**{name: value for name, value in row.items() if name != "hard"}) for row in rows]


def solved_problems(folder: str | Path) -> list[Problem]:
    """The problems of a filter run's pool that the model solved at least once, in the order of the pool. Raises
    LoadError where `folder` holds no finished filter run, or where the pool has changed since."""
    folder = Path(folder)
    if not (folder / "outcomes.jsonl").is_file():
        raise LoadError(f"{folder}: holds no finished filter run (no outcomes.jsonl); finish it with --resume first")
    config = files.read_config(folder, FilterConfig)
    pool, _ = _pool(config, folder)
    right = {outcome.id: outcome.right for outcome in read_outcomes(folder)}
    if {problem.id for problem in pool} != right.keys():
        raise LoadError(f"{folder}: its pool {config.problems} has changed since; filter again in another folder")
    return [problem for problem in pool if right[problem.id]]
