"""Text from files and models that would be more than text."""

import ast
import importlib
import os
import re
import signal
import sys
from contextlib import suppress
from itertools import combinations
from pathlib import Path

import pytest
import tiny
from tokenizers import AddedToken

import soar_lib
from soar_lib.engine import base as bases
from soar_lib.measure import judge, quality
from soar_lib.problems import likeness, prompts, rows
from soar_lib.problems.prompts import student_messages
from soar_lib.records import Problem
from soar_lib.settings.student import StudentSettings
from soar_lib.soar import teacher
from soar_lib.student import trl as trl_student
from soar_lib.verifier import integrals, spelling, verify, workers

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


@pytest.mark.parametrize("kind", ["qwen", "llama"])
def test_trl_is_given_no_control_token_either(kind, monkeypatch):
    at, given = base(kind), []

    def trainer(model, reward, arguments, rows, processing_class, **_):
        given.extend(processing_class.apply_chat_template(row["prompt"], return_dict=False) for row in rows)
        raise InterruptedError

    monkeypatch.setattr("trl.RLOOTrainer", trainer)
    asked = [Problem("1", "".join(TEMPLATES[kind][1]), "2"), Problem("2", "1 + 1 = ?", "2")]
    settings = StudentSettings(steps=1, batch=2, group=2, max_new_tokens=4, trainer="trl")
    with pytest.raises(InterruptedError):
        trl_student.learn(at, tiny.adapters(at, 1), asked, (1,), settings, None, None)
    special = {number for number, token in at.tokenizer.added_tokens_decoder.items() if token.special}
    controls = [[number for number in row if number in special] for row in given]
    assert controls[0] == controls[1] != []


SPELT = [token for _, tokens in TEMPLATES.values() for token in tokens]


@pytest.mark.parametrize("token", [*SPELT, "</s>", "[/INST]", "<｜User｜>", "<｜end▁of▁sentence｜>"])
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


BOX, TAG, SIGN = "\\boxed{", "<question>", "Find the indefinite integral: ∫ "
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
    "spaces after a sign": (integrals.integrand_of, lambda n: "∫" + " " * n),
    "formulas": (rows.unwrap, lambda n: "$a$ " * n + "x"),
    "a fence": (judge.read, lambda n: "```" + " " * n + "x"),
    "terms": (lambda text: quality.exact_verdict(text, "x"), lambda n: f"{SIGN}{'x + ' * n}x dx"),
    "a proposal": (teacher.read, lambda n: f"{TAG}1?</question><answer>{BOX}{'1+' * n}1}}</answer>"),
    "a response": (lambda text: verify.check("1", text), lambda n: f"{BOX}{'1+' * n}1}}"),
    "a question": (likeness.canonical, lambda n: "Find ∫ " + "x + " * n + "x dx"),
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


SAMPLE, ENDLESS = [*map(chr, range(9, 127)), *"é²∫｜−°\u00a0"], 100  # repeats that may go on longer have no end


USES = {f"re.{use}" for use in "compile search match fullmatch sub findall finditer split".split()}


def patterns():
    """(where, pattern) of each regular expression of soar_lib that its modules' own names spell out."""
    root = Path(soar_lib.__file__).parents[1]
    for path in sorted((root / "soar_lib").rglob("*.py")):
        name = ".".join(path.relative_to(root).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in USES:
                flags = ", re.VERBOSE" * ("re.VERBOSE" in ast.unparse(node))
                with suppress(NameError):
                    said = f"re.compile({ast.unparse(node.args[0])}{flags})"
                    yield name, eval(said, vars(importlib.import_module(name)))
    yield from (("integrals.READINGS", re.compile(pattern)) for pattern, _ in integrals.READINGS)
    yield from (("spelling.toml", pattern) for pattern, _ in spelling.REWRITES)


def scan(items, taken: set, looped: bool, found: list) -> tuple[set, set]:
    """What a part of a pattern can begin with ("": it may be empty), and which characters an endless repeat could still
    take at its end; `taken` are those at its start. `found` gathers what can read one text in more ways than one."""
    starts = {""}
    for kind, of in items:
        if (name := str(kind)).startswith(("AT", "ASSERT", "GROUPREF")):
            continue
        if "REPEAT" in name:
            least, most, body = of
            held = most > ENDLESS and "POSSESSIVE" not in name
            begins, after = scan(body, taken, looped or held, found)
            if most > ENDLESS and len(body) == 1 and str(body[0][0]) in ("IN", "ANY", "LITERAL", "NOT_LITERAL"):
                found += [f"{name} beside another"] * bool(begins & taken)
                after = begins if held else set()
            elif held:
                scan(body, after | taken, looped, found)
            begins, after = (begins | {""}, after | taken) if least == 0 else (begins, after)
        elif name in ("SUBPATTERN", "BRANCH"):
            parts = [scan(part, taken, looped, found) for part in (of[1] if name == "BRANCH" else of[-1:])]
            begins, after = (set().union(*sets) for sets in zip(*parts))
            twice = looped and any((one & other) - {""} for (one, _), (other, _) in combinations(parts, 2))
            found += ["alternatives that begin alike, repeated"] * twice
        else:
            one = re._compiler.compile(re._parser.SubPattern(items.state, [(kind, of)]))
            begins = {mark for mark in SAMPLE if one.fullmatch(mark)}
            after = taken if taken & begins else set()
        starts, taken = (starts - {""} | begins if "" in starts else starts), after
    return starts, taken


def ways(pattern: re.Pattern) -> list[str]:
    scan(re._parser.parse(pattern.pattern, pattern.flags), set(), False, found := [])
    return found


def test_no_pattern_can_read_a_text_in_many_ways():
    """Time inside `re` counts as one instruction, so a pattern that could read a run in several ways is refused."""
    every = [*patterns()]
    assert len(every) > 100 and [(where, pattern.pattern) for where, pattern in every if ways(pattern)] == []


@pytest.mark.parametrize(
    "bad", [r"(?:a\b|\w)*c", r"(a*)*b", r"a+x?a+b", r"\d+\.?\d*e", r"(?:\s*,?\s*x)*", r".{1,2000}\s*d", r"(?:a+b?)+c"]
)
def test_a_pattern_that_can_is_known(bad):
    assert ways(re.compile(bad)) and not ways(re.compile(r"a*+a?(?:x\s*+(?:,\s*+)?)*[^,]*,(?:a|b)+"))


def test_the_longest_texts_of_a_kind_are_read():
    """Each took minutes, or would have taken years."""
    assert rows.unwrap("$a$ " * 20_000 + "x").endswith("x") and integrals.integrand_of("∫" + " " * 100_000) is None
    assert judge.read("```" + " " * 100_000 + "x").label == quality.UNJUDGED
    assert verify.check("1", f"{BOX}{'a ' * 900}!}}") in verify.VERDICTS
    for terms in (400, 20_000):
        verdict = quality.exact_verdict("Find the integral: ∫ " + "x + " * terms + "x dx", "x")
        assert verdict.reason == "no family can read it"


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
