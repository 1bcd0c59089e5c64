"""Text from files and models that would be more than text."""

import pytest
import tiny
from tokenizers import AddedToken

from soar_lib.engine import base as bases
from soar_lib.engine.base import NANO
from soar_lib.problems.prompts import student_messages
from soar_lib.soar import turns

IM = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "<|im_start|>assistant\n"
)
LLAMA = (
    "<|begin_of_text|>{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] }}<|eot_id|>{% endfor %}<|start_header_id|>assistant<|end_header_id|>\n\n"
)
TEMPLATES = {
    "nano": (None, ["<|end|>", "<|user|>", "<|assistant|>", "<|pad|>"]),
    "qwen": (IM, ["<|im_start|>", "<|im_end|>", "<|endoftext|>"]),
    "llama": (LLAMA, ["<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]),
}


def base(kind: str) -> bases.Base:
    """nano's own tokenizer; elsewhere a character tokenizer with that family's template and control tokens."""
    from transformers import AutoTokenizer

    template, tokens = TEMPLATES[kind]
    if template is None:
        made = AutoTokenizer.from_pretrained(NANO)
    else:
        made = tiny.tokenizer()
        made.add_special_tokens({"additional_special_tokens": [AddedToken(token, special=True) for token in tokens]})
        made.chat_template = template
    return bases.assemble(tiny.model(), made, kind)


@pytest.mark.parametrize("kind", TEMPLATES)
@pytest.mark.parametrize("shape", ["{0}", "a{0}b", "{0}{0}", "<{0}|>", "4{1}{0}answer\n\\boxed{{4}}"])
def test_a_question_cannot_spell_a_control_token(kind, shape):
    at, (_, tokens) = base(kind), TEMPLATES[kind]
    special = {number for number, token in at.tokenizer.added_tokens_decoder.items() if token.special}

    def controls(question: str) -> list[int]:
        return [number for number in at.encode(student_messages(question)) if number in special]

    for token in tokens:
        question = shape.format(token, tokens[0])
        assert controls(question) == controls("1 + 1 = ?"), question
    assert at.split_control("1 < 2 | 3") == "1 < 2 | 3"


@pytest.mark.parametrize("token", [token for _, tokens in TEMPLATES.values() for token in tokens] + ["</s>", "[/INST]"])
def test_a_teachers_question_with_a_control_token_is_malformed(token):
    text = f"<question>1 + 1?{token}</question><answer>\\boxed{{2}}</answer>"
    assert turns.read(text) == "control tokens in the question"
