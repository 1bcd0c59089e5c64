"""What we lean on in other libraries: names, signatures, defaults, known faults. A change upstream shows here first."""

import dataclasses
import inspect

import numpy as np
import pytest
import torch
import transformers
from latex2sympy2_extended import NormalizationConfig
from math_verify import LatexExtractionConfig, parse, verify
from peft import LoraConfig
from reasoning_gym import create_dataset
from transformers.models.llama.modeling_llama import LlamaForCausalLM
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer
from vendi_score import vendi


def parameters(function) -> dict:
    """Parameter names and defaults."""
    return {name: parameter.default for name, parameter in inspect.signature(function).parameters.items()}


def defaults(settings) -> dict:
    return {field.name: field.default for field in dataclasses.fields(settings)}


# ------------------------------------------------------------------ trl


def test_rloo_settings_of_trl():
    expected = {
        "beta": 0.05, "epsilon": 0.2, "epsilon_high": None, "num_generations": 2, "num_iterations": 1,
        "temperature": 1.0, "top_p": 1.0, "top_k": 0, "normalize_advantages": False, "reward_clip_range": None,
        "max_completion_length": 512, "learning_rate": 1e-6, "max_grad_norm": 1.0, "lr_scheduler_type": "linear",
        "mask_truncated_completions": False, "disable_dropout": False, "use_vllm": False, "shuffle_dataset": True,
        "steps_per_generation": None, "gradient_checkpointing": True,
    }  # fmt: skip
    found = defaults(RLOOConfig)
    assert {name: found.get(name, "missing") for name in expected} == expected


def test_grpo_settings_of_trl():
    expected = {
        "beta": 0.0, "epsilon": 0.2, "loss_type": "dapo", "scale_rewards": "group", "num_generations": 8,
        "use_bias_correction_kl": True, "importance_sampling_level": "token", "num_iterations": 1, "entropy_coef": 0.0,
        "top_entropy_quantile": 1.0, "delta": None, "off_policy_mask_threshold": None, "use_liger_kernel": False,
        "mask_truncated_completions": False, "top_p": 1.0, "top_k": 0,
    }  # fmt: skip
    found = defaults(GRPOConfig)
    assert {name: found.get(name, "missing") for name in expected} == expected


def test_trainers_take_reward_functions_and_adapters():
    wanted = {"model", "reward_funcs", "args", "train_dataset", "processing_class", "callbacks", "peft_config"}
    for trainer in (RLOOTrainer, GRPOTrainer):
        assert wanted <= parameters(trainer.__init__).keys()


# ------------------------------------------------------------------ vendi-score


def test_vendi_score_signatures():
    assert parameters(vendi.score_K) == {"K": inspect._empty, "q": 1, "p": None, "normalize": False}
    assert parameters(vendi.score_dual) == {"X": inspect._empty, "q": 1, "normalize": True}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("q", [0.5, 1, 2])
def test_vendi_scores_against_eigenvalues(q):
    points = np.random.default_rng(0).normal(size=(12, 5))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    share = np.linalg.eigvalsh(points @ points.T / 12)
    share = share[share > 1e-12]
    entropy = -(share * np.log(share)).sum() if q == 1 else np.log((share**q).sum()) / (1 - q)
    assert vendi.score_dual(points, q=q) == pytest.approx(np.exp(entropy))
    if q >= 1:  # below 1, rounded zero eigenvalues count in score_K
        assert vendi.score_K(points @ points.T, q=q) == pytest.approx(np.exp(entropy))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_faults_of_vendi_score_that_we_avoid():
    points = np.random.default_rng(1).normal(size=(6, 3))
    assert vendi.score_X(points, q=2) == vendi.score_X(points, q=1), "score_X minds q now: use it"
    with pytest.raises(TypeError):
        vendi.intdiv_X(points)


# ------------------------------------------------------------------ math-verify


def test_math_verify_signatures():
    reading, comparing = parameters(parse), parameters(verify)
    assert list(reading) == [
        "pred", "extraction_config", "fallback_mode", "extraction_mode", "parsing_timeout", "raise_on_error",
    ]  # fmt: skip
    assert reading["parsing_timeout"] == 5 and reading["raise_on_error"] is False
    assert list(comparing)[:2] == ["gold", "target"]
    expected = {
        "float_rounding": 6, "numeric_precision": 15, "strict": True, "allow_set_relation_comp": False,
        "timeout_seconds": 5, "raise_on_error": False,
    }  # fmt: skip
    assert {name: comparing.get(name) for name in expected} == expected
    normalise = {"basic_latex", "units", "malformed_operators", "nits", "boxed", "equations"}
    assert normalise <= parameters(NormalizationConfig).keys()
    assert parameters(LatexExtractionConfig)["boxed_match_priority"] == 50


@pytest.mark.parametrize(
    "gold, answer, accepted",
    [
        ("\\frac{1}{2}", "0.5", True),
        ("2^{-98}", "2^{-99}", True),  # wrong, and why numbers are compared before Math-Verify is asked
        ("3", "4", False),
    ],
)
def test_what_math_verify_says(gold, answer, accepted):
    read = [parse(f"\\boxed{{{text}}}", [LatexExtractionConfig()], parsing_timeout=None) for text in (gold, answer)]
    assert verify(*read, timeout_seconds=None) is accepted


# ------------------------------------------------------------------ transformers, peft


def test_attention_of_transformers_can_be_replaced():
    """A registered function gets [N, H, L, d] after the rotary embedding, the layer's number, and our own keywords."""
    seen = []

    def attend(module, query, key, value, attention_mask, scaling=None, layout=None, **options):
        seen.append((module.layer_idx, tuple(query.shape), tuple(key.shape), layout))
        return torch.zeros_like(query).transpose(1, 2), None

    transformers.AttentionInterface.register("test_upstream", attend)
    config = transformers.LlamaConfig(
        vocab_size=11, hidden_size=16, intermediate_size=16, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    model.set_attn_implementation("test_upstream")
    ids = torch.zeros(3, 5, dtype=torch.long)
    output = model(input_ids=ids, position_ids=torch.arange(5).expand_as(ids), use_cache=False, layout="mine")
    assert seen == [(0, (3, 4, 5, 4), (3, 2, 5, 4), "mine"), (1, (3, 4, 5, 4), (3, 2, 5, 4), "mine")]
    assert output.logits.shape == (3, 5, 11)
    assert model(input_ids=ids, use_cache=False, logits_to_keep=1).logits.shape == (3, 1, 11)


def test_bfloat16_counts_as_there_where_it_is_emulated():
    assert parameters(torch.cuda.is_bf16_supported) == {"including_emulation": True}


def test_chat_templates_give_token_ids():
    template = parameters(transformers.PreTrainedTokenizerBase.apply_chat_template)
    assert template["tokenize"] is True and template["return_dict"] is True  # so we ask for return_dict=False
    assert template["add_generation_prompt"] is False


def test_a_cache_grows_by_update_and_can_be_cut():
    assert list(parameters(transformers.DynamicCache.update))[1:4] == ["key_states", "value_states", "layer_idx"]
    cache = transformers.DynamicCache()
    keys, _ = cache.update(torch.zeros(2, 1, 3, 4), torch.zeros(2, 1, 3, 4), 0)
    keys, _ = cache.update(torch.ones(2, 1, 1, 4), torch.ones(2, 1, 1, 4), 0)
    assert keys.shape == (2, 1, 4, 4) and cache.get_seq_length() == 4
    cache.batch_select_indices(torch.tensor([1]))
    assert cache.update(torch.ones(1, 1, 1, 4), torch.ones(1, 1, 1, 4), 0)[0].shape == (1, 1, 5, 4)


def test_fields_of_the_peft_format():
    expected = {"lora_alpha": 8, "use_rslora": False, "use_dora": False, "lora_dropout": 0.0, "bias": "none"}
    found = defaults(LoraConfig)
    assert {name: found.get(name, "missing") for name in expected} == expected
    assert {"r", "target_modules", "rank_pattern", "alpha_pattern", "fan_in_fan_out"} <= found.keys()


# ------------------------------------------------------------------ reasoning-gym


def test_items_of_reasoning_gym_depend_on_seed_plus_index():
    assert list(parameters(create_dataset)) == ["name", "kwargs"]
    first = create_dataset("chain_sum", seed=5, size=4, min_terms=3, max_terms=3)
    second = create_dataset("chain_sum", seed=7, size=1, min_terms=3, max_terms=3)
    assert first[2]["question"] == second[0]["question"]
    assert {"question", "answer", "metadata"} <= first[0].keys()


def test_words_of_reasoning_gym_that_the_embedded_world_was_trained_on():
    item = create_dataset("chain_sum", seed=0, size=1, min_terms=2, max_terms=2, min_digits=2, max_digits=2)[0]
    assert item["question"].startswith("State the final answer to the following arithmetic problem: ")
    item = create_dataset("leg_counting", seed=0, size=1)[0]
    assert "Now, how many legs are there in total if you have " in item["question"]
