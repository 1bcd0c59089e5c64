"""Named presets: what each changes in a command's defaults, which are the paper's values."""

from typing import Any

from soar_lib.ladder.settings import LadderConfig
from soar_lib.settings.student import FilterConfig
from soar_lib.settings.values import ConfigError, from_values
from soar_lib.soar.settings import EvaluateConfig, SoarConfig
from soar_lib.svs.settings import SVS_ARMS, SvsConfig

Config = FilterConfig | SoarConfig | EvaluateConfig | SvsConfig | LadderConfig

_NANO_STUDENT = {
    "student.group": 8,
    "student.max_new_tokens": 128,
    "student.rank": 16,
    "student.alpha": 16.0,
    "student.optimiser.learning_rate": 1e-3,  # in twenty steps a cosine from 2e-3 learnt less
    "student.optimiser.schedule": "constant",  # so few steps leave a cosine no time
    "student.optimiser.kl": 0.0,  # no reference pass: a third of the time
}

_NANO_SVS = {
    "model": "nano", "problems": "nano-middle", "test": "nano-middle", "hard": "nano-deep", "other": "nano-other",
    "rephrasings": "nano", "arms": tuple(SVS_ARMS), "rank": 16, "alpha": 16.0, "max_new_tokens": 128,
    "optimiser.learning_rate": 1e-3,  # of an adapter, and in so few steps
}  # fmt: skip

_NANO_LADDER = {
    **_NANO_STUDENT, "model": "nano", "pool": "nano-integrals", "originals": 0, "tested": 0,
    "student.optimiser.kl": 0.001,
    "variants.prompt": "plain", "variants.per_prompt": 1, "variants.equivalent": 0.0, "variants.max_new_tokens": 128,
}  # fmt: skip

# LoRA on a model of billions of parameters. What the paper's values lose by it is not known: it trains all weights.
_GPU_STUDENT = {
    "student.rank": 16,
    "student.alpha": 16.0,  # a step learns from some hundred rewards, which needs no larger rank
    "student.optimiser.learning_rate": 1e-4,  # ten times the paper's, which is for all weights
    "student.optimiser.kl": 0.0,  # beside rewards up to 120 the paper's 0.001 is nothing, and its pass costs a third
}
_GPU_TEACHER = {
    "teacher.rank": 16,
    "teacher.alpha": 16.0,
    "teacher.optimiser.learning_rate": 1e-4,  # KL stays: rewards near 0.01
}

# 16 GB, such as a T4: the paper's model in 4 bits, completions half as long. Every part of the method runs and can be
# looked at; two seeds of so few students decide nothing. Sizes are those in float32, as a T4 has no bfloat16.
_T4 = {
    "four_bit": True,  # 3 GB of weights instead of 12.9
    "rows": 48,  # 9 GB of keys and values if all are of full length
}
_T4_STUDENT = {
    **_GPU_STUDENT,
    "student.rank": 8,
    "student.alpha": 8.0,
    "student.batch": 4,
    "student.group": 8,
    "student.max_new_tokens": 512,  # an eighth of the paper's rollouts a step
    "student.optimiser.max_tokens": 512,  # one completion in a backward pass: its logits and activations have 7 GB
}

# LADDER and SvS with LoRA; their rewards are near 1, so that LADDER's KL stays.
_GPU_LADDER = {
    "student.rank": 16, "student.alpha": 16.0,
    "student.optimiser.learning_rate": 1e-4,  # a hundred times the paper's, which is for all weights
    "seeds": 1, "together": 4,  # students of TTRL in memory at a time
}  # fmt: skip
_GPU_SVS = {
    "rank": 16, "alpha": 16.0, "optimiser.learning_rate": 1e-4, "seeds": 1,
    # MATH's test split; what is measured is left out of what is learned from, as in the paper
    "problems": "hub:math_test", "test": "hub:math500",
    "arms": ("base", "rlvr", "svs", "rlvr_equal_rollouts", "second_rollout"),  # those of the paper's main claims
}  # fmt: skip

# What each preset changes in each command's defaults; dotted names reach into nested settings.
# fmt: off
PRESETS: dict[str, dict[type, dict[str, Any]]] = {
    "smoke": {
        FilterConfig: {"model": "nano", "problems": "nano", "size": 60, "k": 8, "max_new_tokens": 64},
        SoarConfig: {
            **_NANO_STUDENT, "model": "nano", "rounds": 2, "datasets": 2, "repeats": 1, "dataset_size": 4,
            "reward_set": 8, "window": 1, "extra_steps": 1, "max_steps": 3,
            "student.steps": 2, "student.batch": 2, "student.group": 4, "student.max_new_tokens": 64,
            "teacher.max_new_tokens": 128, "teacher.rank": 16, "teacher.alpha": 16.0, "teacher.draw": 16,
            "teacher.optimiser.learning_rate": 1e-3, "teacher.optimiser.warmup": 0,
        },
        EvaluateConfig: {
            **_NANO_STUDENT, "model": "nano", "students": 1, "synthetic_steps": 2, "teacher_samples": 4,
            "samples": 4, "ks": (1, 4), "student.steps": 4, "student.batch": 2, "student.group": 4,
            "student.max_new_tokens": 64, "student.optimiser.warmup": 0,
        },
        SvsConfig: {
            **_NANO_SVS, "size": 12, "test_size": 4, "hard_size": 3, "other_size": 3, "seeds": 2, "steps": 2,
            "batch": 2, "group": 4, "variants": 2, "samples": 4, "hard_samples": 8, "ks": (1, 4, 8),
            "measure_every": 1, "max_new_tokens": 64,
        },
        LadderConfig: {
            **_NANO_LADDER, "pool_size": 40, "seeds": 2, "originals": 2, "tested": 2, "samples": 4, "most_samples": 8,
            "variant_samples": 1, "ttrl_steps": 2, "ttrl_batch": 2, "variants.depth": 2, "variants.prompts": 2,
            "variants.parents": 1, "variants.max_new_tokens": 64, "student.steps": 2, "student.batch": 2,
            "student.group": 4, "student.max_new_tokens": 64,
        },
    },
    "nano": {
        FilterConfig: {"model": "nano", "problems": "nano", "size": 280, "max_new_tokens": 128},
        SoarConfig: {
            **_NANO_STUDENT, "model": "nano", "rounds": 10, "repeats": 2, "dataset_size": 16, "reward_set": 32,
            "student.steps": 20, "max_steps": 30,  # a step has a quarter of the paper's rollouts
            "teacher.max_new_tokens": 256, "teacher.rank": 16, "teacher.alpha": 16.0,
            "teacher.optimiser.learning_rate": 2e-3, "teacher.optimiser.schedule": "constant",
            "teacher.optimiser.warmup": 0,
        },
        EvaluateConfig: {
            **_NANO_STUDENT, "model": "nano", "synthetic_steps": 40, "teacher_samples": 32,
            "student.steps": 100, "student.optimiser.warmup": 0,
        },
        SvsConfig: {
            **_NANO_SVS, "size": 96, "test_size": 24, "hard_size": 12, "other_size": 24, "steps": 30, "batch": 8,
            "variants": 4, "measure_every": 10,
            "large_k": ("base", "rlvr", "svs", "rlvr_equal_rollouts", "second_rollout"),  # a third of the time
        },
        LadderConfig: {
            **_NANO_LADDER, "pool_size": 280, "ttrl_steps": 15, "ttrl_batch": 4, "together": 32,
            "variants.prompts": 6, "variants.parents": 4, "student.steps": 100, "student.batch": 8,
        },
    },
    "t4": {
        # A tenth of MATH leaves some 70 hard problems; hard means 0 of 128 as in the paper.
        FilterConfig: {**_T4, "size": 500, "max_new_tokens": 512},
        SoarConfig: {
            **_T4, **_T4_STUDENT, **_GPU_TEACHER, "teacher.rank": 8, "teacher.alpha": 8.0,
            "rounds": 30, "datasets": 2, "repeats": 2, "dataset_size": 16, "reward_set": 32,  # 0.5 % of the rollouts
            "teacher.max_new_tokens": 256,  # a question and its answer seldom have more
            "teacher.draw": 32, "teacher.optimiser.max_tokens": 512, "teacher.optimiser.warmup": 3,
        },
        EvaluateConfig: {
            **_T4, **_T4_STUDENT, "students": 1, "teacher_samples": 32, "synthetic_steps": 20, "together": 4,
            "student.steps": 60, "student.optimiser.warmup": 5,
        },
        LadderConfig: {
            **_T4, **_GPU_LADDER, "student.rank": 8, "student.alpha": 8.0, "together": 2, "pool_size": 200,
            "originals": 5, "tested": 10, "samples": 8, "most_samples": 64, "variant_samples": 1,
            "variants.depth": 2, "variants.parents": 4, "variants.max_new_tokens": 512,
            "student.steps": 30, "student.batch": 4, "student.group": 8, "student.max_new_tokens": 512,
            "student.optimiser.max_tokens": 512, "ttrl_steps": 10, "ttrl_batch": 4,
        },
        SvsConfig: {
            **_T4, **_GPU_SVS, "rank": 8, "alpha": 8.0, "arms": ("base", "rlvr", "svs"), "size": 200, "test_size": 20,
            "hard_size": 5, "steps": 20, "batch": 4, "variants": 4, "max_new_tokens": 512,
            "optimiser.max_tokens": 512, "samples": 8, "hard_samples": 32, "ks": (1, 4, 8, 16, 32),
        },
    },
    # 80 to 141 GB: the paper's model, problems, lengths, n, g and reward set with an eighth of the rollouts. It gives
    # up half the rounds (promotions were seen between rounds 18 and 86), half the repeats (rewards 1.4 times as noisy),
    # half the rollouts per question, full weights for LoRA, and in evaluation four fifths of the steps.
    "single_gpu": {
        FilterConfig: {"rows": 384},  # 58 GB of keys and values if all are of full length
        SoarConfig: {
            **_GPU_STUDENT, **_GPU_TEACHER, "rounds": 100, "repeats": 2, "student.group": 16, "rows": 384,
            "teacher.draw": 128, "teacher.optimiser.warmup": 10,  # the same share of the rounds
        },
        EvaluateConfig: {
            **_GPU_STUDENT, "student.group": 16, "student.steps": 300, "rows": 384,
            "together": 16,  # students' optimisers in memory at a time
        },
        # As many steps as the paper's LADDER, of a fifth of its rollouts; half the test problems, each with a tenth of
        # the rollouts of its TTRL.
        LadderConfig: {
            **_GPU_LADDER, "rows": 384, "tested": 50, "samples": 16, "most_samples": 512, "student.batch": 16,
            "student.group": 8, "ttrl_steps": 50, "ttrl_batch": 16,
            "variants.max_new_tokens": 1024,  # ten integrals have some hundred
        },
        # A sixteenth of the problems in each of a third of the steps, an eighth of the length.
        SvsConfig: {
            **_GPU_SVS, "rows": 384, "steps": 100, "batch": 16, "max_new_tokens": 1024, "samples": 8,
            "hard_samples": 256, "ks": (1, 2, 4, 8, 16, 32, 64, 128, 256),
        },
    },
    "paper": {FilterConfig: {}, SoarConfig: {}, EvaluateConfig: {}, SvsConfig: {}, LadderConfig: {}},
}
# fmt: on


def preset(name: str, kind: type[Config] = SoarConfig, **changes: Any) -> Any:
    """A named preset of one command's settings, with changes; dotted names reach nested settings.

    >>> preset("nano", seed=3).seed, preset("nano", **{"student.steps": 4}).student.steps
    (3, 4)
    """
    if name not in PRESETS:
        raise ConfigError(f"preset {name!r} is unknown; known presets: {', '.join(PRESETS)}")
    return from_values(kind, PRESETS[name][kind] | changes)
