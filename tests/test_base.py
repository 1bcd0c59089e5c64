"""Loading a base: what can go wrong says so in one line."""

import pytest
import tiny
import torch

from soar_lib.policy import base as bases


def test_a_saved_model_loads_frozen_and_computes_the_same(tmp_path):
    tiny.model().save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    loaded, made = bases.load(str(tmp_path), device="cpu"), tiny.base()
    ids = torch.tensor([made.encode([{"role": "user", "content": "2+2"}])])
    assert loaded.encode([{"role": "user", "content": "2+2"}]) == ids[0].tolist()
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(ids).logits, made.model(ids).logits)
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())
    assert (loaded.pad, loaded.stop) == (0, (1,))


def test_a_missing_folder_is_named():
    with pytest.raises(FileNotFoundError, match="./nowhere"):
        bases.load("./nowhere")


def test_a_tokenizer_without_chat_template_is_refused():
    tokenizer = tiny.tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(ValueError, match="no chat template"):
        bases.assemble(tiny.model(), tokenizer, "tiny")


def test_padding_falls_back_to_the_end_token():
    tokenizer = tiny.tokenizer()
    tokenizer.pad_token = None
    assert bases.assemble(tiny.model(), tokenizer, "tiny").pad == tokenizer.eos_token_id


def test_every_declared_end_token_ends_a_completion():
    model = tiny.model()
    model.generation_config.eos_token_id = [7, 9]
    assert bases.assemble(model, tiny.tokenizer(), "tiny").stop == (1, 7, 9)
