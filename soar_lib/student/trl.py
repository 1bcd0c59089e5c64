"""`student.trainer = "trl"`: the loop of `student.train` by TRL's RLOOTrainer and GRPOTrainer on a PEFT adapter.

It is for few students that learn long, as in evaluation and in LADDER's RL; many train one after another here, so the
population of `student.train` is the faster one wherever there are several (benchmarks/inner_loop.py). Problems and
their order, prompts, rewards, the adapters to start from, settings and history are the same.

So is the step. RLOOTrainer's loss is ours (`update`, "sequence"). GRPOTrainer's "dr_grpo" is ours divided by
max_new_tokens, and so are the gradient norm to clip at and AdamW's epsilon, which leaves AdamW's step unchanged. On the
same completions both move the adapter as `update.update` does, up to rounding. Not the same:

- completions: TRL draws them from torch's global generator, seeded by the student's key, all of a step at once,
  whatever `rows` says;
- KL with RLOO: TRL subtracts the k1 estimate per completion from its reward, where ours adds k3 per token to the loss;
  with GRPO it is ours. The reference is the adapter that the student starts from, as in ours. The history's `kl` is
  TRL's own: k1 with RLOO, and a mean over backward passes instead of tokens;
- a 4-bit base: TRL keeps its adapter in bfloat16.

A run is one process: several, as `accelerate launch` can start, would all write the same run folder, so they are
refused. Bases by Unsloth were tried on CPU alone."""

import copy
import random
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

import numpy as np
import torch
from transformers import TrainerCallback
from transformers.trainer_callback import PrinterCallback

from soar_lib.engine import lora
from soar_lib.engine.base import Base
from soar_lib.engine.lora import Adapters, peft_name
from soar_lib.problems.prompts import student_messages
from soar_lib.randomness import Key, derive
from soar_lib.records import Problem, count
from soar_lib.settings.student import StudentSettings

EPSILON = 1e-8  # AdamW's, as torch has it


def learn(
    base: Base, start: Adapters, asked: Sequence[Problem], key: Key, settings: StudentSettings, reward: Callable,
    tell: Callable,
) -> Adapters:  # fmt: skip
    """One student's run on the problems `asked`, `settings.batch` per step: `start`'s only slot as it is afterwards.
    `reward` is as for `student.train`; `tell` is told after each step what `student.metrics` takes."""
    from datasets import Dataset
    from peft import get_peft_model_state_dict
    from trl import GRPOTrainer, RLOOTrainer

    rows = [dict(prompt=student_messages(base.split_control(each.question)), gold=each.answer) for each in asked]
    tokenizer = copy.deepcopy(base.tokenizer)  # TRL sets padding and may align special tokens
    tokenizer.pad_token = tokenizer.convert_ids_to_tokens(base.pad)
    tokenizer.apply_chat_template = partial(tokenizer.apply_chat_template, **base.template)
    kind, log = {"rloo": RLOOTrainer, "grpo": GRPOTrainer}[settings.advantage], _Log(settings, reward, tell, base)
    with _put_back(base), _as_peft(base, start) as model, tempfile.TemporaryDirectory() as folder:
        trainer = kind(
            model, log.reward_of_trl, arguments(settings, key, base.device, folder), Dataset.from_list(rows),
            processing_class=tokenizer, callbacks=[log],
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        found = get_peft_model_state_dict(model)
    return start.load({name: found[peft_name(name, ".base")].float()[None] for name in start.state_dict()})


def arguments(settings: StudentSettings, key: Key, device: torch.device, folder: str):
    """The settings as TRL's RLOOConfig or GRPOConfig. Where TRL divides the loss by max_new_tokens (GRPO), the gradient
    norm to clip at and AdamW's epsilon are divided too, so that the step is that of `engine.update`."""
    from trl import GRPOConfig, RLOOConfig

    optimiser, completions, scale = settings.optimiser, settings.batch * settings.group, _scale(settings)
    rows = rows_per_pass(completions, settings.max_new_tokens, optimiser.max_tokens)
    shared = dict(
        output_dir=folder, seed=derive(*key, "trl") % 2**31, use_cpu=device.type == "cpu", bf16=False,
        max_steps=settings.steps, num_generations=settings.group, per_device_train_batch_size=rows,
        gradient_accumulation_steps=completions // rows, max_completion_length=settings.max_new_tokens,
        temperature=settings.temperature, beta=optimiser.kl, epsilon=optimiser.clip_low,
        epsilon_high=optimiser.clip_high, learning_rate=optimiser.learning_rate, warmup_steps=optimiser.warmup,
        lr_scheduler_type={"constant": "constant_with_warmup"}.get(optimiser.schedule, optimiser.schedule),
        optim="adamw_torch", adam_beta1=optimiser.betas[0], adam_beta2=optimiser.betas[1],
        adam_epsilon=EPSILON / scale, weight_decay=optimiser.weight_decay,
        max_grad_norm=optimiser.max_grad_norm / scale, shuffle_dataset=False, disable_tqdm=True,
        gradient_checkpointing=optimiser.gradient_checkpointing, logging_steps=1, report_to="none", save_strategy="no",
    )  # fmt: skip
    grpo = dict(loss_type="dr_grpo", scale_rewards="group", use_bias_correction_kl=False)
    found = RLOOConfig(**shared) if settings.advantage == "rloo" else GRPOConfig(**shared, **grpo)
    found._n_gpu = min(1, found.n_gpu)  # else transformers splits the batch over all GPUs in sight
    return found


def _scale(settings: StudentSettings) -> int:
    """By what TRL's loss is smaller than ours."""
    return settings.max_new_tokens if settings.advantage == "grpo" else 1


def rows_per_pass(completions: int, length: int, max_tokens: int) -> int:
    """Completions in one backward pass: as many as divide a step's and, all at full length, keep to `max_tokens`.

    >>> rows_per_pass(256, 1024, 4096), rows_per_pass(6, 100, 450), rows_per_pass(8, 100, 50)
    (4, 3, 1)
    """
    most = max(1, max_tokens // length)
    return max(rows for rows in range(1, completions + 1) if completions % rows == 0 and rows <= most)


@contextmanager
def _as_peft(base: Base, start: Adapters) -> Iterator[torch.nn.Module]:
    """The base as a PEFT model, its layers inside ours, with the adapter `start`; TRL copies it as KL's reference."""
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

    layers = [f"{name}.base" for name in lora.wrap(base.model)]
    config = LoraConfig(r=start.rank, lora_alpha=start.alpha, target_modules=layers, task_type="CAUSAL_LM")
    model = get_peft_model(base.model, config)
    try:
        set_peft_model_state_dict(model, {peft_name(name, ".base"): t[0] for name, t in start.state_dict().items()})
        yield model
    finally:
        model.unload()


@contextmanager
def _put_back(base: Base) -> Iterator[None]:
    """Undo what TRL leaves behind: the model's settings (use_cache, token ids), mode and hooks; global random state."""
    hooks, numbers, arrays = base.model.get_input_embeddings()._forward_hooks, random.getstate(), np.random.get_state()
    known, kept = set(hooks), [(part, dict(vars(part))) for part in (base.model.config, base.model.generation_config)]
    try:
        with torch.random.fork_rng():
            yield
    finally:
        for part, before in kept:
            vars(part).clear()
            vars(part).update(before)
        base.model.eval().requires_grad_(False)
        base.model.gradient_checkpointing_disable()
        for number in hooks.keys() - known:  # transformers' own way back forgets the first where there are two
            del hooks[number]
        random.setstate(numbers)
        np.random.set_state(arrays)


class _Log(TrainerCallback):
    def __init__(self, settings: StudentSettings, reward: Callable, tell: Callable, base: Base):
        self.settings, self.reward, self.tell, self.stop, self.begins = settings, reward, tell, base.stop, base.begins
        self.drawn: tuple[torch.Tensor, dict[str, torch.Tensor]] = ()

    def reward_of_trl(self, completions, completion_ids, gold, **_) -> list[float]:
        """TRL's call: all completions of a step, problem by problem."""
        values = self.reward(gold, [self.begins + messages[0]["content"] for messages in completions])
        length, cut = zip(*((len(ids), ids[-1] not in self.stop) for ids in completion_ids), strict=True)
        count(len(length), sum(length), {str(self.settings.max_new_tokens): [len(cut), sum(cut)]})
        rewards = torch.tensor(values, dtype=torch.float32).view(1, -1, self.settings.group)
        self.drawn = rewards, dict(length=torch.tensor([length]), cut=torch.tensor([cut]))
        return values

    def on_log(self, args, state, control, logs=None, **_):
        """transformers' call after each step, and once more at the end."""
        if "grad_norm" not in logs:
            return
        norm, rate = float(logs["grad_norm"]) * _scale(self.settings), logs["learning_rate"]
        measured = dict(grad_norm=norm, learning_rate=rate, kl=logs.get("kl", 0.0))
        self.tell(*self.drawn, {name: torch.tensor([value]) for name, value in measured.items()})
