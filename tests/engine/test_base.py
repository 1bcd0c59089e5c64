"""Loading a base: by every back end that this machine has, and what can go wrong says so in one line."""

import json
import shutil
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import huggingface_hub
import pytest
import tiny
import torch
import transformers.dynamic_module_utils
from safetensors.torch import load_file, save_file

from soar_lib import files, runs
from soar_lib.cli import commands as cli
from soar_lib.engine import backends, sampling, update
from soar_lib.engine import base as bases
from soar_lib.problems import filtering
from soar_lib.records import Draw
from soar_lib.settings.student import SHIPPED, FilterConfig, precision, preset, template_arguments
from soar_lib.settings.values import ConfigError, first_line, revision
from soar_lib.soar.evaluate_settings import EvaluateConfig
from soar_lib.soar.settings import SoarConfig
from soar_lib.verifier.verify import extract_boxed

HELLO = [{"role": "user", "content": "2+2"}]


@pytest.fixture
def folder(tmp_path):
    """A tiny model as published."""
    tiny.model().save_pretrained(tmp_path / "model")
    tiny.tokenizer().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def refused(message: str):
    return pytest.raises(ConfigError, match=message)


# ------------------------------------------------------------------ what is loaded


def test_a_saved_model_loads_frozen_and_computes_the_same(folder):
    loaded, made = bases.load(str(folder), device="cpu", dtype="float32"), tiny.base()
    ids = torch.tensor([made.encode(HELLO)])
    assert loaded.encode(HELLO) == ids[0].tolist()
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(ids).logits, made.model(ids).logits)
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert (loaded.pad, loaded.stop) == (0, (1,))


def test_every_declared_end_token_ends_a_completion():
    model = tiny.model()
    model.generation_config.eos_token_id = [7, 9]
    assert bases.assemble(model, tiny.tokenizer(), "tiny").stop == (1, 7, 9)


def test_the_padding_token_is_the_tokenizers_own_or_one_set_aside_or_the_end_token():
    tokenizer = tiny.tokenizer()
    tokenizer.pad_token = "x"
    own = tokenizer.pad_token_id
    assert bases.padding(tokenizer, 100) == own
    assert bases.padding(tokenizer, own) == 0  # the model does not know it: <pad>, which is set aside
    tokenizer.pad_token = None
    assert bases.assemble(tiny.model(), tokenizer, "tiny").pad == 0
    bare = tiny.tokenizer()
    bare.pad_token = None
    bare.get_added_vocab = lambda: {"<eos>": 1, "<user>": 2}
    assert bases.assemble(tiny.model(), bare, "tiny").pad == bare.eos_token_id == 1


def test_no_result_depends_on_the_padding_token():
    """Prompts and completions of unequal length, sampled and scored under one padding token and another."""
    made = tiny.base()
    prompts = [made.encode([{"role": "user", "content": text}]) for text in ("2+2", "a much longer question")]
    uniforms = torch.rand(8, 12, generator=torch.Generator().manual_seed(0))
    found = []
    for pad in (0, 1):
        base = replace(made, pad=pad)
        drawn = sampling.sample(base, None, prompts, [0, 0], 4, uniforms, Draw(12))
        found.append(
            (sampling.decode(base, drawn), drawn.mask, drawn.logprobs, update.completion_logprobs(base, None, drawn))
        )
    assert found[0][1].sum(1).unique().numel() > 1 and found[0][0] == found[1][0]
    for one, other in zip(found[0][1:], found[1][1:], strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("kind", [FilterConfig, SoarConfig, EvaluateConfig])
def test_a_commands_settings_say_how_its_base_is_loaded(folder, monkeypatch, kind):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    config = kind(model=str(folder))
    assert bases.load_for(config).name == str(folder)
    with refused("backend = 'unsloth': needs a GPU"):
        bases.load_for(replace(config, backend="unsloth"))
    with refused("graphs = True: needs a GPU, whose steps can be recorded; set graphs = false"):
        bases.load("nano", graphs=True)
    with refused("four_bit = True: needs a GPU"):
        bases.load_for(replace(config, four_bit=True))
    with refused("backend = 'tensorflow': must be one of transformers, unsloth"):
        replace(config, backend="tensorflow")


def test_the_command_line_names_one_base_for_all_that_a_command_does(monkeypatch):
    words = ["--model", "acme/other", "--set", "four_bit=true", "--set", "backend=unsloth"]
    arguments = cli.parser().parse_args(["study", *words])
    found = cli.study_settings(arguments)
    parts = (found.filter, found.transfer, found.soar, found.evaluate)
    assert {(p.model, p.backend, p.four_bit) for p in parts} == {("acme/other", "unsloth", True)}
    arguments = cli.parser().parse_args(["soar", *words, "--set", "rounds=9"])
    then, filtered = cli.settings(arguments, SoarConfig), []
    monkeypatch.setattr(cli, "_filtered", lambda config, out, resume: filtered.append(config))
    cli._filtered_first(then, arguments)
    (first,) = filtered
    assert (first.backend, first.four_bit, then.rounds) == (then.backend, then.four_bit, 9) == ("unsloth", True, 9)
    with refused("four_bit = False and True: all parts of a study must have the same"):
        cli.study_settings(cli.parser().parse_args(["study", "--set", "soar.four_bit=true"]))


# ------------------------------------------------------------------ what is missing


def test_a_missing_folder_is_named():
    with pytest.raises(FileNotFoundError, match="./nowhere"):
        bases.load("./nowhere")


def test_an_unknown_backend_is_answered_with_the_known_ones():
    with refused("backend = 'jax': must be one of transformers, unsloth, vllm"):
        bases.load("nano", backend="jax")


@pytest.mark.parametrize(
    "module, options, message",
    [
        (
            "bitsandbytes",
            {"four_bit": True},
            r"bitsandbytes, which is not installed; .*soar-lib\[four-bit\]",
        ),
        ("unsloth", {"backend": "unsloth"}, r"unsloth, which is not installed; pip install .*soar-lib\[unsloth\]"),
    ],
)
def test_a_missing_extra_is_named_with_the_command_that_brings_it(monkeypatch, module, options, message):
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not there, also where it is
    with refused(message):
        bases.load("nano", device="cpu", **options)


def test_an_unsloth_that_cannot_be_imported_is_told_with_its_reason(folder, tmp_path, monkeypatch):
    (tmp_path / "unsloth").mkdir()
    (tmp_path / "unsloth" / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.delitem(sys.modules, "unsloth", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("UNSLOTH_FORCE_CPU", "UNSLOTH_COMPILE_DISABLE"):
        monkeypatch.setenv(name, "1")  # so that they are put back
    with refused("RuntimeError: operator torchvision::nms does not exist.*uninstall torchvision") as caught:
        bases.load(str(folder), device="cpu", backend="unsloth")
    assert "\n" not in str(caught.value)


def test_a_model_that_bypasses_the_attention_interface_is_refused():
    model = tiny.model()
    backends.check_layers(model, "tiny")
    layer = model.model.layers[0].self_attn
    layer.forward = lambda hidden_states, **other: (layer.o_proj(layer.q_proj(hidden_states)), None)
    with refused("LlamaForCausalLM has an attention of its own.*set backend = 'transformers'"):
        backends.check_layers(model, "tiny")


# ------------------------------------------------------------------ what is wrong with the model


def test_a_tokenizer_without_chat_template_is_refused():
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = None
    with refused("no chat template; use an instruct or chat model"):
        bases.assemble(tiny.model(), tokenizer, "tiny")


def test_a_tokenizer_without_end_token_or_of_another_model_is_refused():
    tokenizer = tiny.tokenizer()
    tokenizer.eos_token = None
    with refused("no end-of-sequence token"):
        bases.assemble(tiny.model(), tokenizer, "tiny")
    foreign = tiny.tokenizer()
    foreign.add_special_tokens({"eos_token": "<the end>"})
    with refused("its tokenizer's '<the end>' is number 100, but the model knows 100 tokens; take"):
        bases.assemble(tiny.model(), foreign, "tiny")


def test_pickled_weights_are_not_read(folder):
    (folder / "model.safetensors").unlink()
    torch.save(tiny.model().state_dict(), folder / "pytorch_model.bin")
    with refused(r"no safetensors weights.*a pickle .* can run code; convert it with save_pretrained"):
        bases.load(str(folder), device="cpu")


def test_code_from_a_repository_is_run_only_if_asked_for(folder, monkeypatch, tmp_path):
    monkeypatch.setattr(transformers.dynamic_module_utils, "HF_MODULES_CACHE", str(tmp_path / "modules"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    marker = tmp_path / "ran"
    (folder / "mine.py").write_text(
        "from pathlib import Path\n"
        "from transformers import LlamaConfig, LlamaForCausalLM\n"
        f"Path({str(marker)!r}).touch()\n"
        "class MineConfig(LlamaConfig):\n    model_type = 'mine'\n"
        "class MineForCausalLM(LlamaForCausalLM):\n    config_class = MineConfig\n"
    )
    config = json.loads((folder / "config.json").read_text())
    code = {"AutoConfig": "mine.MineConfig", "AutoModelForCausalLM": "mine.MineForCausalLM"}
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "mine", "auto_map": code}))
    settings = FilterConfig(model=str(folder))
    with refused("needs code from its repository, which is not run; set remote_code = true"):
        bases.load_for(settings)
    assert not marker.exists()
    assert type(bases.load_for(replace(settings, remote_code=True)).model).__name__ == "MineForCausalLM"
    assert marker.exists()


def test_what_transformers_does_not_know_is_told_in_one_line(folder):
    (folder / "config.json").write_text('{"model_type": "unheard-of"}')
    with refused("model .*: cannot be loaded .*unheard-of") as caught:
        bases.load(str(folder), device="cpu")
    assert "\n" not in str(caught.value)


def rewrite(folder, change) -> None:
    """The model's weights, changed by name."""
    weights = load_file(folder / "model.safetensors")
    save_file(dict(change(weights)), folder / "model.safetensors", metadata={"format": "pt"})


def tokens(folder, add: int) -> None:
    tokenizer = tiny.tokenizer()
    tokenizer.add_tokens([f"w{number}" for number in range(add)])
    tokenizer.save_pretrained(folder)


def template(folder, text: str) -> None:
    (folder / "chat_template.jinja").write_text(text)


def other(folder, kind, **sizes) -> None:
    """A model of another kind in the folder; the tokenizer stays."""
    kind[1](kind[0](vocab_size=100, bos_token_id=None, eos_token_id=1, pad_token_id=0, **sizes)).save_pretrained(folder)


GPT2 = transformers.GPT2Config, transformers.GPT2LMHeadModel
BERT = transformers.BertConfig, transformers.BertLMHeadModel
FAULTS = {
    "a layer is missing": (
        lambda folder: rewrite(folder, lambda weights: ((n, w) for n, w in weights.items() if ".layers.1." not in n)),
        "its files lack 9 of its weights: model.layers.1.input_layernorm.weight, ",
    ),
    "names of GPT-2 in a Llama": (
        lambda folder: rewrite(folder, lambda weights: ((n.replace("model.lay", "h"), w) for n, w in weights.items())),
        "its files lack 18 of its weights",
    ),
    "a GPT-2": (
        lambda folder: other(folder, GPT2, n_embd=32, n_layer=1, n_head=2, n_positions=64),
        "GPT2LMHeadModel has no layers named q_proj, .*choose a model of Llama's or Qwen2's kind",
    ),
    "a BERT": (
        lambda folder: other(
            folder, BERT, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48,
            is_decoder=True,
        ),
        "BertLMHeadModel has no layers named q_proj",
    ),
    "cut weights": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000]),
        "its weights are cut off or damaged .*download them again",
    ),
    "empty weights": (lambda folder: (folder / "model.safetensors").write_bytes(b""), "its weights are cut off"),
    "a pointer": (
        lambda folder: (folder / "model.safetensors").write_text(
            f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n"
        ),
        "its model.safetensors is a pointer of Git LFS and not the file; run git lfs pull",
    ),
    "another shape": (
        lambda folder: rewrite(folder, lambda weights: ((n, w[..., :8].contiguous()) for n, w in weights.items())),
        "cannot be loaded .*choose another model",
    ),
    "not a number": (
        lambda folder: rewrite(folder, lambda weights: ((n, w * float("nan")) for n, w in weights.items())),
        "its weights are not all numbers",
    ),
    "a larger tokenizer": (lambda folder: tokens(folder, 30), "'w29' is number 129, but the model knows 100 tokens"),
    "a template that raises": (
        lambda folder: template(folder, "{{ raise_exception('only on Mondays') }}"),
        "its chat template fails .only on Mondays.; choose another model",
    ),
    "a template with an error": (lambda folder: template(folder, "{% for %}"), "its chat template fails"),
    "no tokenizer file": (lambda folder: (folder / "tokenizer.json").write_text("{"), "cannot be loaded"),
    "a configuration that is no object": (lambda folder: (folder / "config.json").write_text("[]"), "cannot be loaded"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_model_folder_is_refused_in_one_line_before_anything_is_written(folder, tmp_path, fault):
    settings = FilterConfig(model=str(folder), problems="nano", size=2, k=1, max_new_tokens=2)
    assert bases.load_for(settings, "cpu").encode(HELLO)
    spoil, message = FAULTS[fault]
    spoil(folder)
    with refused(f"model '{folder}': .*{message}") as caught:
        filtering.run(settings, tmp_path / "run", progress=False)
    assert "\n" not in first_line(caught.value) and not (tmp_path / "run").exists()


def test_a_template_without_the_question_is_warned_of(folder):
    template(folder, "<user>Hi<bot>")
    with pytest.warns(UserWarning, match="its chat template leaves the question out; choose another model"):
        bases.load_for(FilterConfig(model=str(folder)), "cpu")


# ------------------------------------------------------------------ what the Hub answers


class _Hub(BaseHTTPRequestHandler):
    """Answers as the Hub does for a gated repository and one that is not there."""

    def answer(self) -> None:
        gated = self.path.startswith("/acme/gated/")
        self.send_response(401 if gated else 404)
        self.send_header("X-Error-Code", "GatedRepo" if gated else "RepoNotFound")
        self.send_header("X-Error-Message", "Access to it is restricted" if gated else "Repository not found")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_HEAD = do_GET = answer

    def log_message(self, *arguments) -> None:
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub on this machine, an empty cache and no token."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    address, known = f"http://127.0.0.1:{server.server_port}", huggingface_hub.constants
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(known, "ENDPOINT", address)
    monkeypatch.setattr(known, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")
    monkeypatch.setattr(known, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(known, "HF_TOKEN_PATH", str(tmp_path / "token"))
    monkeypatch.setattr(known, "HF_HUB_OFFLINE", False)
    huggingface_hub.close_session()  # the one in use may know other proxies
    yield monkeypatch
    huggingface_hub.close_session()
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_gated_model_asks_for_a_token_and_then_for_its_licence(hub):
    with refused("acme/gated.* is gated; accept its licence at https://huggingface.co/acme/gated, then hf auth login"):
        bases.load("acme/gated")
    hub.setenv("HF_TOKEN", "hf_someone")
    with refused(
        "is gated, and your token has no access to it; accept its licence at https://huggingface.co/acme/gated"
    ):
        bases.load("acme/gated")


def test_a_model_that_is_not_on_the_hub(hub):
    with refused("acme/absent.* is not on the Hub, or private; check its name"):
        bases.load("acme/absent")


def test_a_model_without_network(hub):
    hub.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with refused(
        "acme/model.* was not downloaded before, and the Hub cannot be reached.*name a local folder"
    ) as caught:
        bases.load("acme/model")
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------ which copy of a model


def moved(folder) -> None:
    """Add 1 to a weight of a model folder."""
    weights = load_file(folder / "model.safetensors")
    first = sorted(weights)[0]
    save_file(weights | {first: weights[first] + 1}, folder / "model.safetensors", {"format": "pt"})


def total(base) -> float:
    return sum(tensor.sum().item() for tensor in base.model.state_dict().values())


def test_a_run_goes_on_with_the_commit_that_it_began_with(hub, folder, tmp_path):
    """Two commits in the Hub's cache, of which `main` names first one, then the other."""
    hub.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    cache, old, new = tmp_path / "hub" / "models--acme--model", "a" * 40, "b" * 40
    for commit in (old, new):
        shutil.copytree(folder, cache / "snapshots" / commit)
        moved(folder)
    (cache / "refs").mkdir()
    config, main = preset("smoke", FilterConfig, model="acme/model"), cache / "refs" / "main"
    main.write_text(old)
    files.holding(runs.open_run)(tmp_path / "run", config)
    assert files.read_config(tmp_path / "run", FilterConfig).revision == old
    first = total(bases.load_for(config, "cpu"))
    main.write_text(new)
    with pytest.raises(files.RunError, match=f"revision: '{old}' -> '{new}'"):
        files.holding(runs.open_run)(tmp_path / "run", config, resume=True)
    assert total(bases.load_for(config, "cpu")) != first
    named = replace(config, revision=old)
    files.holding(runs.open_run)(tmp_path / "run", named, resume=True)
    assert total(bases.load_for(named, "cpu")) == first
    shutil.rmtree(cache)
    with pytest.raises(files.RunError, match=f"revision: '{old}' -> ''"):
        runs.check_folder(tmp_path / "run", True, config)
    runs.check_folder(tmp_path / "run", True, named)


def test_a_model_folder_that_was_changed_is_another_model(folder, tmp_path):
    config = preset("smoke", FilterConfig, model=str(folder))
    files.holding(runs.open_run)(tmp_path / "run", config)
    began = files.read_config(tmp_path / "run", FilterConfig).revision
    files.holding(runs.open_run)(tmp_path / "run", config, resume=True)
    assert bases.load_for(replace(config, revision=began), "cpu").name == str(folder)
    moved(folder)
    with pytest.raises(files.RunError, match=f"revision: '{began}' -> 'sha256:[0-9a-f]{{12}}'"):
        files.holding(runs.open_run)(tmp_path / "run", config, resume=True)
    with refused(f"revision = '{began}': the files of .* are sha256:"):
        bases.load_for(replace(config, revision=began), "cpu")


def test_a_run_that_recorded_no_revision_goes_on(tmp_path):
    config = preset("smoke", FilterConfig)
    files.holding(runs.open_run)(tmp_path / "run", config)
    kept = files.read_json(tmp_path / "run" / "config.json")
    assert kept.pop("revision") == revision("nano") and len({revision(name) for name in SHIPPED}) == len(SHIPPED)
    files.write_json(tmp_path / "run" / "config.json", kept)
    runs.check_same(tmp_path / "run", config)


@pytest.mark.parametrize(("native", "dtype"), [(True, "bfloat16"), (False, "float32")])
def test_auto_is_bfloat16_only_where_the_device_computes_in_it(monkeypatch, native, dtype):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or native)
    assert precision("any", "auto", gpu=True) == dtype
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: native)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert precision("any", "auto", gpu=False) == dtype
    for gpu in (True, False):
        assert {precision(own, "auto", gpu) for own in SHIPPED} == {precision("any", "float32", gpu)} == {"float32"}
        assert precision("nano", "bfloat16", gpu) == "bfloat16"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_run_is_loaded_in_its_dtype_records_it_and_goes_on_in_no_other(tmp_path, folder, dtype):
    config = FilterConfig(model=str(folder), dtype=dtype)
    base = bases.load_for(config)
    assert base.model.dtype == getattr(torch, dtype)
    adapters = tiny.adapters(base, 2)
    assert {t.dtype for t in adapters.parameters()} == {torch.float32}
    runs.open_run(tmp_path / "run", config)
    assert files.read_json(tmp_path / "run" / "config.json")["dtype"] == dtype
    other = "float32" if dtype == "bfloat16" else "bfloat16"
    with pytest.raises(files.RunError, match=f"dtype: '{dtype}' -> '{other}'"):
        runs.open_run(tmp_path / "run", replace(config, dtype=other), resume=True)


def test_auto_is_recorded_as_what_it_is_here_and_older_runs_without_it_are_read(tmp_path):
    config = FilterConfig(model="nano")
    runs.open_run(tmp_path / "run", config)
    path = tmp_path / "run" / "config.json"
    values = files.read_json(path)
    assert values.pop("dtype") == "float32"
    files.write_json(path, values)
    assert runs.open_run(tmp_path / "run", config, resume=True).round == 0
    with pytest.raises(ConfigError, match="dtype = 'half': must be one of auto, float32, bfloat16"):
        FilterConfig(dtype="half")


# ------------------------------------------------------------------ chat templates

DAY = "{% if date_string is not defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
THOUGHTFUL = "<user>{{ messages[0]['content'] }}<bot>{% if enable_thinking | default(true) %}<think>{% endif %}"


def with_template(text: str, **settings):
    tokenizer, config = tiny.tokenizer(), SoarConfig(**settings)
    tokenizer.chat_template = text
    base = bases.assemble(tiny.model(), tokenizer, "tiny")
    return replace(base, template=template_arguments(config))


def test_a_template_that_prints_the_day_prints_the_recorded_one():
    for template in (DAY + "{{ date_string }}", "{{ strftime_now('%d %b %Y') }}"):
        assert sampled(with_template(template)) == "26 Jul 2024"
        assert sampled(with_template(template, date_string="01 Feb 2025")) == "01 Feb 2025"
    with refused("date_string = 'today': must be a day as 26 Jul 2024"):
        SoarConfig(date_string="today")


def sampled(base) -> str:
    return base.tokenizer.decode(base.encode(HELLO))


def test_further_arguments_reach_the_template_and_its_own_are_refused():
    thinking = with_template(THOUGHTFUL, template=("enable_thinking=true", "other=some text"))
    assert thinking.template["other"] == "some text"
    assert (thinking.begins, with_template(THOUGHTFUL).begins) == ("<think>", "")
    for text in ("tokenize=false", "date_string=x", "thinking", "a b=1"):
        with refused(f"template = '{text}': must be NAME=VALUE"):
            SoarConfig(template=(text,))


def test_most_completions_inside_an_unfinished_thought_are_warned_of():
    base = with_template(THOUGHTFUL, template=("enable_thinking=true",))
    drawn = sampling.sample(base, None, [base.encode(HELLO)], [0], 4, torch.rand(4, 5), Draw(5))
    with pytest.warns(UserWarning, match="tiny end inside <think>: their boxes earn nothing; raise max_new_tokens"):
        texts = sampling.decode(base, drawn)
    assert all(text.startswith("<think>") for text in texts)
    assert all(extract_boxed(text + "\\boxed{4}") is None for text in texts)
    assert all(extract_boxed(text + "</think> \\boxed{4}") == "4" for text in texts)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there Unsloth may load it")
def test_the_back_end_auto_says_in_one_line_what_it_fell_back_to():
    with pytest.warns(UserWarning, match="backend = 'auto': nano is loaded by transformers, as Unsloth needs a GPU"):
        bases.load("nano", backend="auto")
    assert runs.recorded(preset("t4", FilterConfig))["backend"] == "transformers"
