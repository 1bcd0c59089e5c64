"""The settings that all methods share: the base, an optimiser, a student, and fail@k filtering.

Each comment says where SOAR states a value (Table 3, sections B.2 to B.8), and where the paper is silent ("open") what
we chose and why."""

import json
import os
import tomllib
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cache, reduce
from importlib.util import find_spec
from operator import or_
from pathlib import Path
from typing import Any

from soar_lib.records import Draw
from soar_lib.settings.values import SHIPPED, ConfigError, change, explained, flat, require, require_all

PRESETS = ("smoke", "nano", "t4", "single_gpu", "paper")  # of every command; a command may have further ones


@cache
def table() -> dict[str, dict[str, dict[str, Any]]]:
    """The presets by command and name (presets.toml): the settings that differ from the defaults."""
    return tomllib.loads(Path(__file__).with_name("presets.toml").read_text(encoding="utf-8"))


def presets_of(command: str) -> dict[str, dict[str, Any]]:
    """What each preset changes in a command's settings, by dotted names (presets.toml)."""
    mine = table()[command]
    known = {name: dict(mine.get(name, {})) for name in dict.fromkeys([*PRESETS, *mine])}
    begun = {name: [flat(table()["parts"][part]) for part in own.pop("with", ())] for name, own in known.items()}
    return {name: reduce(or_, [*begun[name], flat(own)]) for name, own in known.items()}


def preset(name: str, kind: type, **changes: Any) -> Any:
    """A named preset of one command's settings (SoarConfig, ...), with changes; dotted names reach nested settings. The
    environment's SOAR_REAL_MODEL names a folder that takes the place of the preset laptop's model.

    >>> from soar_lib.soar.settings import SoarConfig
    >>> preset("nano", SoarConfig, seed=3).seed, preset("nano", SoarConfig, **{"student.steps": 4}).student.steps
    (3, 4)
    """
    if name not in kind.presets:
        raise ConfigError(f"preset {name!r} is unknown; known presets: {', '.join(kind.presets)}")
    here = {"model": os.environ["SOAR_REAL_MODEL"]} if name == "laptop" and os.environ.get("SOAR_REAL_MODEL") else {}
    return change(kind(), kind.presets[name] | here | changes)


CHECKS = ("answer", "integral")  # problems/checks.py says what each compares
BACKENDS = ("transformers", "unsloth", "vllm", "auto")  # engine/backends.py says what each is
DATE = "%d %b %Y"  # as Llama 3's chat template prints it
ADVANTAGES = ("rloo", "grpo")  # engine/update.py says what they are
DTYPES = ("auto", "float32", "bfloat16")
TRAINERS = ("stack", "trl")  # student/train.py's population, or student/trl.py's students one after another
TEMPLATE_OWN = ("messages", "add_generation_prompt", "tokenize", "return_dict", "date_string", "strftime_now")
CONTAINED = 20.0  # SOAR B.3's reward of a wrong box that contains the gold answer, as one that lists every digit does
PROMPT = 300  # tokens assumed of a prompt; a question of MATH under a chat template has between 100 and 300


@dataclass(frozen=True)
class OptimiserSettings:
    """Settings of AdamW and of the policy-gradient loss; teacher and students differ in these values only."""

    learning_rate: float = 1e-5  # Table 3. Stated for what looks like full fine-tuning; LoRA usually wants 10x
    schedule: str = "cosine"  # Table 3 "cosine"; horizon open: the run's own number of steps
    warmup: int = 0  # Table 3: 0 in the inner loop, 20 for the teacher and in evaluation
    kl: float = 0.001  # Table 3. Open: estimator (k3, in the loss) and reference (where the run began)
    clip_low: float = 0.2  # open; idle while there is one update per batch, as here
    clip_high: float = 0.2  # open; see clip_low
    max_grad_norm: float = 1.0  # open; per adapter, never over the stack
    weight_decay: float = 0.0  # open; LoRA matrices start small and stay small
    betas: tuple[float, float] = (0.9, 0.999)  # open; AdamW's usual values
    max_tokens: int = 4096  # completion tokens in one backward pass: memory, speed, and results by rounding only
    gradient_checkpointing: bool = False  # layers are computed again in the backward pass: slower, less memory

    def __post_init__(self) -> None:
        require_all(self, ("learning_rate", "max_grad_norm", "max_tokens"))
        require_all(self, from_zero=("warmup", "kl", "clip_low", "clip_high", "weight_decay"))
        require(self, "schedule", self.schedule in ("cosine", "constant"), "'cosine' or 'constant'")
        betas = len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas)
        require(self, "betas", betas, "two numbers in [0, 1)")


def precision(model: str, dtype: str = "auto", gpu: bool | None = None) -> str:
    """The name of the numbers that a base is held in: `dtype`, or for "auto" bfloat16 where the device computes in it
    (a T4 only emulates it, slowly); SHIPPED ones are float32, so that runs repeat on every machine. `gpu` None: where
    torch finds one. Adapters, their optimiser, softmax and log-probabilities are float32 always."""
    if dtype != "auto" or model in SHIPPED:
        return "float32" if dtype == "auto" else dtype
    import torch  # here, so that the command line's checks need not wait for it

    if torch.cuda.is_available() if gpu is None else gpu:
        native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bfloat16" if native else "float32"


def loader(backend: str) -> str:
    """The library that loads a base: `backend`; for "auto" Unsloth if installed beside a GPU, else transformers."""
    if backend != "auto":
        return backend
    import torch  # as above

    return "unsloth" if torch.cuda.is_available() and find_spec("unsloth") else "transformers"


@dataclass(frozen=True)
class Cost:
    """What a configuration will draw at most; `hours` is None where the model has not been timed."""

    rollouts: int  # student completions, training and evaluation; without the steps that promotions add
    teacher_samples: int  # accepted ones; drawn are these divided by the acceptance rate
    tokens: int  # the upper bound: every completion at its full length
    hours: float | None = None
    machine: str = ""
    most_rollouts: int = 0  # `rollouts` if every round promoted a student that could

    def __add__(self, other: "Cost") -> "Cost":
        """Both one after the other; hours only where both are known."""
        hours = None if self.hours is None or other.hours is None else self.hours + other.hours
        return Cost(
            self.rollouts + other.rollouts, self.teacher_samples + other.teacher_samples, self.tokens + other.tokens,
            hours, other.machine, self.most_rollouts + other.most_rollouts,
        )  # fmt: skip


@dataclass(frozen=True)
class Phase:
    """A part of a run by what it holds in memory beside the weights; memory.py makes bytes of it."""

    name: str
    ranks: int  # of all adapters together, each copy counted: values, references, gradients, AdamW's moments
    rows: int = 0  # completions sampled together, or in one backward pass
    prompts: int = 0  # different ones among them
    tokens: int = 0  # of a completion at its full length
    optimiser: OptimiserSettings | None = None  # of a phase that learns
    lower: str = "rows"  # the setting that makes it smaller
    prompt: int = PROMPT  # tokens of one
    drawn: int = 0  # random numbers held for all completions, however few are sampled together
    fewer: str = ""  # the settings that make them fewer

    @staticmethod
    def sampling(name: str, ranks: int, rows: int, group: int, tokens: int, at_once: int, fewer: str = "") -> "Phase":
        """A phase that samples `rows` completions, `group` of each prompt, at most `at_once` of them together. `fewer`
        names the settings behind `rows`, where the random numbers of all are drawn first."""
        held = min(rows, at_once)
        return Phase(name, ranks, held, max(1, held // group), tokens, drawn=rows * tokens * bool(fewer), fewer=fewer)

    @staticmethod
    def learning(
        name: str, ranks: int, rows: int, group: int, tokens: int, optimiser: OptimiserSettings, owner: str
    ) -> "Phase":
        """A phase that learns from `rows` completions, `group` of each prompt; `owner`: "student." or the like."""
        rows = min(rows, max(1, round(optimiser.max_tokens / tokens)))
        return Phase(name, ranks, rows, -(-rows // group), tokens, optimiser, f"{owner}optimiser.max_tokens")


@dataclass(frozen=True)
class BaseSettings:
    """The base model under a command. A command's settings know three things more: what each preset changes in them
    (`presets`); `counts(problems)`, what a run draws (a `Cost` without hours); and `phases(problems, runs)`, what it
    holds in memory, one after another, where an evaluation stands on `runs` SOAR runs."""

    model: str = "meta-llama/Llama-3.2-3B-Instruct"  # SOAR section 4.1, and LADDER's; any causal model that can chat
    revision: str = ""  # open; of a Hub model: branch, tag or commit; recorded is the commit, of a folder its hash
    backend: str = "transformers"  # open; what loads the base (engine/backends.py); "auto": Unsloth on GPUs
    dtype: str = "auto"  # of the base; "auto": bfloat16 where the device computes in it, float32 elsewhere and for nano
    four_bit: bool = False  # open; the base's linear layers in 4 bits, for small GPUs
    remote_code: bool = False  # open; True runs code from the model's repository, which few models need
    start: str = ""  # open; a PEFT folder: teacher and students begin with this adapter, not with the bare model
    graphs: bool = False  # open; decoding steps as CUDA graphs (engine/graphs.py): changes speed
    date_string: str = "26 Jul 2024"  # open; what chat templates that print today's date (Llama 3's) print instead
    template: tuple[str, ...] = ("enable_thinking=false",)  # open; NAME=VALUE for the chat template; most ignore it

    def __init_subclass__(cls, command: str, **_: Any) -> None:
        cls.command, cls.presets = command, presets_of(command)  # name: changes; without annotation, so no settings

    def __post_init__(self) -> None:
        require_all(self, backend=BACKENDS, dtype=DTYPES)
        template_arguments(self)


BASE_SETTINGS = tuple(item.name for item in fields(BaseSettings))  # the same in all that belongs together


def template_arguments(config: BaseSettings) -> dict[str, Any]:
    """What a chat template is given beside the messages: the day, which would else be today's, and each NAME=VALUE of
    `config.template`, the value as JSON where it is JSON. Raises ConfigError."""
    date = config.date_string
    try:
        day = datetime.strptime(date, DATE)
    except ValueError as error:
        raise ConfigError(f"date_string = {date!r}: must be a day as 26 Jul 2024 is written") from error
    arguments = {"date_string": date, "strftime_now": day.strftime}
    for text in config.template:
        name, equals, value = (part.strip() for part in text.partition("="))
        if not (equals and name.isidentifier()) or name in TEMPLATE_OWN:
            known = ", ".join(TEMPLATE_OWN)
            raise ConfigError(f"template = {text!r}: must be NAME=VALUE, where NAME is none of {known}")
        try:
            arguments[name] = json.loads(value)
        except ValueError:
            arguments[name] = value
    return arguments


@dataclass(frozen=True)
class StudentSettings:
    """One RLOO run of a student (SOAR section 3.3, Table 3); S of them run as one population."""

    steps: int = 10  # B.7, inner loop; evaluation has 1500
    batch: int = 8  # questions per step, Table 3
    group: int = 32  # rollouts per question, Table 3
    max_new_tokens: int = 1024  # Table 3
    temperature: float = 1.0  # Table 3
    rank: int = 64  # of the LoRA adapter; the paper trains all weights as far as one can tell
    alpha: float = 64.0  # open; alpha = rank, so the adapter's output is added unscaled
    advantage: str = "rloo"  # Table 3; "grpo", standardised within the group, is LADDER's
    longest_box: int = 0  # open; characters of a box that can earn B.3's 20, longer ones earn 10; 0: any, as the paper
    trainer: str = "stack"  # ours, all students at once; "trl": TRL's trainers, for few students that learn long
    optimiser: OptimiserSettings = OptimiserSettings()

    def __post_init__(self) -> None:
        require_all(self, ("steps", "batch", "max_new_tokens", "temperature", "rank", "alpha"))
        require_all(self, from_zero=("longest_box",), advantage=ADVANTAGES, trainer=TRAINERS)
        require(self, "group", self.group >= 2, "2 or more: leave-one-out needs another rollout")
        require(self, "optimiser.warmup", self.optimiser.warmup < self.steps, f"below steps = {self.steps}")

    @property
    def rollouts(self) -> int:
        """Completions that one student learns from."""
        return self.steps * self.batch * self.group

    def draw(self, rows: int = 1024) -> Draw:
        """How a student's completions are drawn, `rows` of them at a time."""
        return Draw(self.max_new_tokens, self.temperature, rows)

    def phases(self, count: int, kept: int, at_once: int) -> list[Phase]:
        """The phases of training `count` students at once, beside other adapters whose ranks add up to `kept`."""
        ranks, rows = kept + 5 * count * self.rank, count * self.batch * self.group
        return [
            Phase.sampling("sampling", ranks, rows, self.group, self.max_new_tokens, at_once, "batch, group"),
            Phase.learning("learning", ranks, rows, self.group, self.max_new_tokens, self.optimiser, "student."),
        ]


def by_trl(config: BaseSettings) -> bool:
    """Whether the settings have TRL's trainers train the students, one after another."""
    student = vars(config).get("student")
    return student is not None and student.trainer == "trl"


def check_trainer(settings: StudentSettings) -> None:
    """Raise ConfigError where the settings ask for TRL and it cannot be used here; imports it only then."""
    if settings.trainer != "trl":
        return
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    if processes > 1:
        raise ConfigError(
            f"student.trainer = 'trl': {processes} processes would write one run folder; start one "
            "(accelerate launch --num_processes 1 -m soar_lib ...)"
        )
    advice = 'install the versions that pyproject.toml pins (pip install "soar-lib"), or set student.trainer = "stack"'
    with explained("student.trainer = 'trl': trl cannot be imported", advice):  # absent, or for another transformers
        from peft import get_peft_model  # noqa: F401
        from trl import GRPOTrainer, RLOOTrainer  # noqa: F401


@dataclass(frozen=True)
class FilterConfig(BaseSettings, command="filter"):
    """fail@k filtering of a problem pool and the split of what stays (SOAR B.5), by the model that is trained later."""

    problems: str = "hub:math_test"  # B.5: the official test split of MATH; or a JSONL file, or a generated set's name
    size: int = 0  # problems drawn from the pool, B.5: all; 0: all of a file, 500 of a generated set
    seed: int = 0
    k: int = 128  # B.5: samples per problem; problems with 0 of k right are hard
    max_new_tokens: int = 1024  # B.5
    temperature: float = 1.0  # B.5
    train_fraction: float = 0.5  # B.5: random 50/50 split into hard train and hard test
    check: str = "answer"  # what counts as right: the reference answer; "integral": what differentiates to the question
    rows: int = 256  # completions sampled together; changes speed only, never the result

    def __post_init__(self) -> None:
        super().__post_init__()
        require_all(self, ("k", "max_new_tokens", "temperature", "rows"), ("size",), check=CHECKS)
        require(self, "train_fraction", 0 < self.train_fraction < 1, "between 0 and 1")

    def counts(self, problems: int = 0) -> Cost:
        """The cost at most: k samples of each problem; a filter stops at the first right one."""
        rollouts = problems * self.k
        return Cost(rollouts, 0, rollouts * self.max_new_tokens, most_rollouts=rollouts)

    def phases(self, problems: int = 0, runs: int = 1) -> list[Phase]:
        """The one phase of a filter run that holds memory: its samples."""
        rows = min(self.rows, problems * -(-self.k // 2) or self.rows)  # at most so many are asked for at a time
        return [Phase.sampling("sampling", 0, rows, 1, self.max_new_tokens, rows, "rows")]
