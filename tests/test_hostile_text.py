"""Text from files and models that would be more than text."""

import os
import re
import signal
import sys

import pytest
import tiny
from tokenizers import AddedToken

from soar_lib.engine import base as bases
from soar_lib.problems import prompts
from soar_lib.problems.prompts import student_messages
from soar_lib.soar import teacher
from soar_lib.verifier import integrals, spelling, workers

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
    """nano; elsewhere a character tokenizer with that family's template and control tokens."""
    template, tokens = TEMPLATES[kind]
    if template is None:
        return bases.load("nano")
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
    assert teacher.read(text) == "control tokens in the question"


# ------------------------------------------------------------------ work that grows with the text, no faster


def instructions(do, *arguments) -> int:
    """Python's own instructions in a call."""
    count = 0

    def step(frame, event, _):
        nonlocal count
        frame.f_trace_opcodes = True
        count += event == "opcode"
        return step

    sys.settrace(step)
    try:
        do(*arguments)
    finally:
        sys.settrace(None)
    return count


BOX, TAG = "\\boxed{", "<question>"
READERS = {
    "nested boxes": (spelling.boxed_answer, lambda n: BOX * n + "1" + "}" * n),
    "open boxes": (spelling.boxed_answer, lambda n: BOX * n),
    "many boxes": (spelling.boxed_answer, lambda n: "\\boxed{1}, \\boxed{2}, " * n),
    "backslashes": (spelling.boxed_answer, lambda n: f"{BOX}{chr(92) * n}}}"),
    "opening tags": (lambda text: prompts.tagged(text, "question"), lambda n: TAG * n),
    "questions": (lambda text: prompts.questions_in(text, 5), lambda n: TAG * n + "</question>" * n),
    "deep integral": (lambda text: integrals.exactly("x", text), lambda n: BOX * n + "x" + "}" * n),
    "deep fraction": (lambda text: integrals.exactly("x", text), lambda n: "\\frac{1}{" * n + "x" + "}" * n),
    "deep braces": (lambda text: integrals.exactly("x", text), lambda n: "{" * n + "x" + "}" * n),
}


@pytest.mark.parametrize("name", READERS)
def test_twice_the_text_takes_at_most_twice_the_steps(name):
    read, text = READERS[name]
    counts = [instructions(read, text(n)) for n in (2000, 4000, 8000)]
    assert counts[1] <= 2.2 * counts[0] + 100 and counts[2] <= 2.2 * counts[1] + 100


def test_no_pattern_for_braces_reads_a_run_from_each_of_its_places():
    parsed = re._parser.parse(spelling.BRACE.pattern)
    repeats = re.findall(r"MAX_REPEAT, \((\d+), (\w+)", str(parsed.data))
    assert repeats and all(most.isdigit() and int(most) < 100 for _, most in repeats)


def test_a_run_of_a_million_marks_is_read():
    marks = "\\" * 1_000_001
    assert spelling.boxed_answer(f"\\boxed{{{marks}}} \\boxed{{4}}") == "4"
    assert spelling.boxed_answer("\\\\\\boxed{4}") == spelling.boxed_answer(f"{marks}boxed{{4}}") == "4"
    assert teacher.read(TAG * 20_000) == "question tags"


def test_a_worker_killed_by_something_else_is_replaced_and_asked_again(monkeypatch):
    workers.stop()
    assert workers_answer() is True
    (worker,) = workers._idle
    monkeypatch.setattr(worker.process, "poll", lambda: None)  # killed after that look at it
    os.kill(worker.process.pid, signal.SIGKILL)
    assert workers_answer() is True and workers._idle[0] is not worker


def workers_answer():
    return workers.ask(["2", "\\frac{4}{2}"], 20.0)
