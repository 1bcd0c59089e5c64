"""The verifier: tables of real answers with verdicts, every benchmark's gold answers, and what must never hang."""

import json
import random
import re
import resource
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from soar_lib.verifier import integrals, workers
from soar_lib.verifier.answers import MAX_EXPONENT, read, understood
from soar_lib.verifier.spelling import boxed_answer, boxes, clean
from soar_lib.verifier.verify import VERDICTS, check, check_many, decide, equal, extract_boxed, parses

DATA = Path(__file__).parents[3] / "shared" / "data"
HANG = r"\boxed{\dfrac{5^{(5^{(5^{(5^5)})}-4)}-5}{16}}"

needs_data = pytest.mark.skipif(not DATA.exists(), reason="the benchmark files are not beside the repository")


def boxed(answer: str) -> str:
    return f"So the answer is \\boxed{{{answer}}}."


# ------------------------------------------------------------------ the answers of the embedded world

INTEGRAL = "-9*x**6/8 - 6*x**3 + 2*x + C"
CHEAP = [
    ("-45", "-45", True), ("-45", "- 45", True), ("-45", "-045", True), ("-45", "45", False), ("-45", "--45", False),
    ("-45", "-45-", False), ("-45", "-45,", False), ("-45", "-4 5", False), ("-45", "-45, 45", False),
    ("45", "45r0", False), ("45", "(45", False), ("45", "45)", False), ("45", "42+3", True), ("45", "x=45", True),
    ("45", "olleh", False), ("45", r"\text{45}", True), ("45", "45.", True), ("1000", "1,000", True),
    ("101101", "0101101", True), ("101101", "101101_2", True), ("101101", "101101 1", False),
    ("101101", "1011011", False), ("0", "x-x", True), ("12", "6+6=12", True), ("5", "5/0", False),
    ("-80, -72, 48", "48, -72, -80", True), ("-80, -72, 48", "-80, -72 48", False),
    ("-80, -72, 48", "-80,, -72, 48", False), ("-80, -72, 48", "-80, -72, 48,", False),
    ("-80, -72, 48", "-80, -72", False), ("-80, -72, 48", "-80, -72, 48, 7", False),
    ("(-80, -72, 48)", "(-80, -72, 48)", True), ("(-80, -72, 48)", "(-72, -80, 48)", False),
    ("(-80, -72, 48)", "-80, -72, 48", True), ("(-80, -72, 48)", "48, -72, -80", False),
    ("(-80, -72)", "(-72, -80)", False), ("(1,2)", r"\{1,2\}", False), ("(1,2)", "[1,2]", False),
    (r"\text{olleh}", r"\text{olleh}", True), (r"\text{olleh}", "olleh", True), (r"\text{olleh}", "hello", False),
    (r"\text{olleh}", r"\text{ollehh}", False), (r"\text{olleh}", r"\text{olleh}x", False),
    (r"\text{olleh}", r"\text{}", False), (r"\text{olleh}", "45", False), (r"\text{olleh}", "(", False),
    (INTEGRAL, "C + 2*x - 6*x**3 - 9*x**6/8", True), (INTEGRAL, r"-\frac{9}{8}x^6 - 6x^3 + 2x + C", True),
    (INTEGRAL, "-9*x**6/8 - 6*x**3 + 2*x", False), (INTEGRAL, "-9*x**6/8 - 6*x**3 + 2*x + D", False),
    (INTEGRAL, "-9*x**6/8 - 6*x**3 + 2*x + C +", False), (INTEGRAL, "-9*x**6/8 - 6*x**3 + 3*x + C", False),
    (INTEGRAL, "-9*x***6/8 + C", False), (INTEGRAL, "x**2/ + C", False), (INTEGRAL, "7", False),
]  # fmt: skip


@pytest.mark.parametrize("gold, answer, same", CHEAP)
def test_decided_without_math_verify(gold, answer, same):
    assert decide(gold, answer) is same


OTHER = [
    (r"\frac{1}{2004!}", r"\frac{1}{2006!}", "wrong"),  # Math-Verify: any two values below 1e-6 are equal
    (r"\frac{1}{2^{98}}", "0", "wrong"),
    (r"\sqrt{2}\cdot 10^{-20}", r"\sqrt{3}\cdot 10^{-20}", "wrong"),
    (r"\sqrt{8}", r"2\sqrt{2}", "right"),
    (r"\sqrt{2}", "1.41421356237", "right"),
    (r"\sqrt{2}", "1.414", "wrong"),
    (r"\frac{1}{3}", "0.333333", "wrong"),
    (r"\frac{1}{3}", "0.33333333333", "right"),
    (r"\sqrt{x^2}", "x", "wrong"),
    ("4210_{7}", "4210_{8}", "wrong"),
    ("S", "s", "wrong"),
    ("1 < x < 3", "2 < x < 3", "wrong"),
    ("[0,1]", r"0 \le x \le 1", "right"),
    ("[0,1]", "0 < x < 1", "wrong"),
    (r"(-\infty, \sqrt{2})", r"x < \sqrt{2}", "right"),
    (r"\frac{\pi}{3}", r"60^\circ", "right"),
    (r"60^\circ", "60", "right"),
    (r"60^\circ", r"61^\circ", "wrong"),
    (r"\text{no solution}", r"\emptyset", "right"),
    (r"\frac{1,000}{3}", r"\frac{1000}{3}", "right"),
    (r"\frac{7}{5} + \frac{1}{5} i.", r"\frac{7}{5} + \frac{1}{5} i", "right"),
    (r"30^\circ.", "30", "right"),
    ("15\\mbox{ cm}^2", "15", "right"),
    ("15\\mbox{ cm}^2", "16\\text{ cm}^2", "wrong"),
    ("5", "5 \\text{ apples}", "right"),
    ("5", "5 cm", "right"),
    ("5", "6 cm", "wrong"),
    ("5", "5x", "wrong"),
    ("y = 2x", "x = 2x", "wrong"),
    ("x**1.5", "x/2", "wrong"),
    ("x**1.5", r"x\sqrt{x}", "right"),
    (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\begin{pmatrix} 1 & 2 \\ 3 & 5 \end{pmatrix}", "wrong"),
    (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\begin{bmatrix} 1 & 2 \\ 3 & \frac82 \end{bmatrix}", "right"),
    ("5", "__import__('os').getpid()", "wrong"),
    # mixed numbers, plain or not
    (r"\frac{23}{6}", "3 5/6", "right"), (r"-\frac{23}{6}", "-3 5/6", "right"), ("-19/6", "-3 5/6", "wrong"),
    (r"\frac{23}{6}", r"3\ 5/6", "right"), ("1, 23/6", "1, 3 5/6", "right"), ("5/2", "3 5/6", "wrong"),
    ("23/6", "3 5 / 6 7", "wrong"), ("21/2", "3 7/2", "wrong"), ("23/6 + 1", "3 5/6 + 1", "right"),
    # powers of ten, but Euler's number where both sides hold an e
    (r"4.2\times10^{-5}", "4.2e-5", "right"), ("1000", "1e3", "right"), ("1000", "1E3", "right"),
    ("1000", "1e4", "wrong"), (r"3\times 10^{-7}", "3e-7", "right"), ("2e-1", "2e - 1", "right"),
    ("2e - 1", "-1 + 2e", "right"), ("e^2", "e*e", "right"),
    # roots, repeating decimals, characters
    (r"\sqrt[3]{5}", r"\sqrt[3]5", "right"), (r"\sqrt[3]{5}", r"\sqrt{5}", "wrong"), (r"\sqrt{6}", "√6", "right"),
    (r"\sqrt{12}", "2√3", "right"), (r"\sqrt{x+1}", "√(x+1)", "right"), ("5/6", r"0.8\overline{3}", "right"),
    (r"\frac{3}{11}", r"0.\overline{27}", "right"), (r"\frac{3}{11}", "0.27", "wrong"), ("1", r".\bar{9}", "right"),
    ("1/2", "½", "right"), ("7/2", "3½", "right"), ("1/3", "½", "wrong"), ("x^2", "x²", "right"),
    # bases in words
    ("1011_2", "1011 (base two)", "right"), ("1011_2", r"1011_{\text{two}}", "right"), ("213_5", "213_{five}", "right"),
    ("1011_2", r"1011\text{ (base 2)}", "right"), ("1011_2", r"1011 \text{ base two}", "right"),
    ("1011_2", "1011 in base two", "right"), ("1011_2", "1011 (base three)", "wrong"), ("213_5", "213_{six}", "wrong"),
    # what is malformed or unclear on both sides is not equal for that
    (r"x + 1 \ne 3", "x + 1 < 3", "wrong"),
]  # fmt: skip


@pytest.mark.parametrize("gold, answer, verdict", OTHER)
def test_known_traps(gold, answer, verdict):
    assert equal(gold, answer) == verdict


# ------------------------------------------------------------------ boxes

BOXES = [
    ("so \\boxed{5}", "5"),
    ("\\boxed{\\frac{1}{2}} is it", "\\frac{1}{2}"),
    ("\\boxed {7}", "7"),
    ("\\fbox{7}", "7"),
    ("\\boxed{4} wait no, \\boxed{5}", "5"),
    ("\\boxed{5} and then \\boxed{6", "5"),
    ("\\boxed{\\boxed{5}}", "\\boxed{5}"),
    ("\\boxed{\\{1\\}}", "\\{1\\}"),
    ("\\boxed{5", None),
    ("\\boxed{} 5", None),
    ("\\boxed{ }", None),
    ("\\boxed 5", None),
    ("the answer is 5", None),
    ("", None),
]


@pytest.mark.parametrize("text, content", BOXES)
def test_extract_boxed(text, content):
    assert extract_boxed(text) == content
    assert (check("5", text) == "unparsed") == (content is None)


@pytest.mark.parametrize(
    "response, verdict",
    [
        ("\\boxed{2} and \\boxed{3}", "right"),
        ("\\boxed{3}, \\boxed{2}", "right"),
        ("\\boxed{3}", "wrong"),
        ("\\boxed{2} wait no, \\boxed{3}", "wrong"),
        ("\\boxed{2} is one root. \\boxed{3}", "wrong"),
        ("\\boxed{2}, or rather \\boxed{3}", "wrong"),
        ("\\boxed{5}, sorry, or better \\boxed{2, 3}", "right"),
    ],
)
def test_boxes_side_by_side_are_one_list(response, verdict):
    assert check("2, 3", response) == verdict


def test_thousands_of_unclosed_boxes_cost_one_pass():
    assert boxes("\\boxed{" * 20_000 + "5}") == [(7 * 19_999, 7 * 20_000 + 2, "5")]


# ------------------------------------------------------------------ agreement with the table of cases

# Our verdict on these predictions differs from the table's, for the reason given.
DISAGREEMENTS = {
    "$\\begin{pmatrix}0.33\\\\0.2 \\end{pmatrix}$": "asks for two digits' precision; here a decimal is exact",
    "$(0.6,2.6667]$": "asks for two digits' precision; here a decimal is exact",
    "$f(y)$": "asks for a comparison that ignores the letters' names",
    "$-2 \\\\le x \\\\le 7$": "asks that an interval and its inequality differ; here they are the same set",
    "Answer $ \n 9 \n $": "a line break inside the formula is no reason to refuse the 9",
    "Answer \\( \n 9 \n \\)": "a line break inside the formula is no reason to refuse the 9",
    "${35 cm,4}$": "the gold text joins two boxes by a row of plus signs; only the last counts",
    "W(x)=1orW(x)=-1": "the gold text's box is never closed",
    "First, let's calculate the interest": "the box holds $255; the sum is stated outside of it",
    "For a number to be divisible by 12,": "prose without a box that goes on after its answer",
}
FORMULA = re.compile(r"\$\$?(?:\\.|[^$\\])+\$\$?|\\\(.+?\\\)|\\\[.+?\\\]", re.DOTALL)


def stated(text: str) -> str:
    """The answer a case's text states.

    The product demands a box. Many upstream cases have none, since they test Math-Verify's search for an answer in
    prose; of these the last formula or number is taken (behind "answer is", where that is said), and what is no prose
    stays as it is.
    """
    words = re.findall(r"(?<![\\a-zA-Z0-9])[a-zA-Z]{3,}", FORMULA.sub(" ", text))
    if boxed_answer(text) or not set(words) - {"and", "percent", "pct", "percentage"}:
        return boxed_answer(text) or text
    tail = re.split("answer is", text)[-1]
    formulas = list(FORMULA.finditer(tail))
    blank = FORMULA.sub(lambda formula: " " * len(formula.group()), tail)
    numbers = list(re.finditer(r"(?<![a-zA-Z])-?\d[\d,/]*(?:\.\d+)?%?", blank))
    last = max(formulas[-1:] + numbers[-1:], key=lambda found: found.end(), default=None)
    return last.group().strip(",/") if last else text


def agrees(case: dict) -> bool:
    if case["raw_text"]:
        return (equal(stated(case["gold"]), stated(case["prediction"])) == "right") == case["equal"]
    return (check(case["gold"], boxed(case["prediction"])) == "right") == case["equal"]


@needs_data
def test_cases_agree_but_for_the_listed_ones():
    cases = [json.loads(line) for line in (DATA / "verify_cases.jsonl").read_text().splitlines()]
    different = [case["prediction"] for case in cases if not agrees(case)]
    assert len(cases) == 371
    assert [text for text in different if not text.startswith(tuple(DISAGREEMENTS))] == []
    assert len(different) == len(DISAGREEMENTS) == 10


# The table's second part: what it calls policies are choices, which `verify.POLICY` and its functions make otherwise.
CHOICES = {
    "choice-with-text": "a letter with its text is not the letter: a prompt that wants the letter says so",
    "interval-vs-list": "[1,2] may be a list, as reasoning-gym writes them: 1, 2 in this order is right",
    "ratio-reduced": "3:4 and 6:8 are two answers where lowest terms are asked for",
    "french-interval": "]0;5[ is not read",
}


@needs_data
def test_new_cases_agree_but_for_the_choices():
    cases = [json.loads(line) for line in (DATA / "verify_cases_2.jsonl").read_text().splitlines()]
    different = [c["kind"] for c in cases if (check(c["gold"], c["prediction"]) == "right") != c["equal"]]
    assert (len(cases), sum(not case["kind"].startswith("policy:") for case in cases)) == (81, 71)
    assert sorted(different) == [f"policy:{name}" for name in sorted(CHOICES)]


GOLDS = ["math_train", "math_test", "harp", "olympiadbench_oe_to_maths_en"]


@needs_data
@pytest.mark.parametrize("name", GOLDS)
def test_every_gold_answer_is_right_against_itself(name):
    rows = map(json.loads, (DATA / f"{name}.jsonl").read_text().splitlines())
    values = [row["final_answer"] if "final_answer" in row else [row["answer"]] for row in rows]
    golds = [answer for answers in values for answer in answers]
    verdicts = check_many([(gold, boxed(gold)) for gold in golds])
    assert verdicts == ["right"] * len(golds)


@needs_data
def test_an_answer_is_wrong_for_the_next_problem():
    golds = [json.loads(line)["answer"] for line in (DATA / "math500.jsonl").read_text().splitlines()]
    pairs = list(zip(golds, golds[1:]))
    verdicts = check_many([(a, boxed(b)) for a, b in pairs])
    assert "timeout" not in verdicts
    assert {(a, b) for (a, b), verdict in zip(pairs, verdicts) if verdict == "right" and a != b} == {("5", "x=5")}


# ------------------------------------------------------------------ the expression reader


@pytest.mark.parametrize("text", ["1//2", "2 +", "3*(x", ")", "7 48", "x^", "1/0", "1/(x-x)", "!", "0^{-1}"])
def test_broken_syntax_is_malformed(text):
    assert read(text).kind == "malformed"


@pytest.mark.parametrize(
    "text",
    [r"\sqrt{2}", "2^x", f"2^{{{MAX_EXPONENT + 1}}}", "2^{2^{2^{2^{2^2}}}}", "10000!", "f(x)", "fgh(x)", "2!x_{ab}"],
)
def test_what_has_no_residue_is_unclear(text):
    assert read(text).kind == "unclear"


def test_a_slash_before_two_factors_is_for_math_verify():
    assert [read(text).kind for text in ("1/2x", "2/(x)x", "(1/2)x", "1/2*x")] == ["unclear"] * 2 + ["value"] * 2
    assert [decide("1/2x", answer) for answer in ("1/(2x)", "x/2", "2x")] == [None] * 3
    assert [equal("1/2x", answer) for answer in ("1/(2x)", "2x")] == ["right", "wrong"]


def test_nesting_is_limited():
    nested = ["(" * 500 + "1" + ")" * 500, *(sign * 390 + "{1}" for sign in ("-", "x^", r"\sqrt", "|"))]
    for text in nested:
        assert read(text).kind == "unclear"
    assert equal("1", "(" * 900 + "1" + ")" * 900, deadline=1.0) in VERDICTS


def test_clean_is_idempotent_on_real_answers():
    for gold, answer, _ in CHEAP + OTHER:
        for text in (clean(gold), clean(answer)):
            assert clean(text) == text


HOSTILE = [
    "(" * 900, "{" * 1000 + "}" * 1000, r"\boxed{" * 10_000 + "5" + "}" * 10_000, r"\boxed{" * 240 + "6" + "}" * 240,
    r"\frac{" * 330, "x^" * 999 + "x", "|" * 1999, r"x\in" * 400, r"a\approx " * 220, "5000!*" * 330 + "1", "1 " * 999,
    "*".join(["2**4000"] * 280), "+".join(f"1/{3 + 2 * n}**900" for n in range(150)), r"\sqrt[" * 300, "_{" * 900,
    r"\text{a}" * 280, "1e999", r".\overline{" + "3" * 40 + "}", "½" * 1900, "x<" * 900, "∫" * 1999, "base " * 390,
]  # fmt: skip


@pytest.mark.parametrize("answer", HOSTILE)
def test_hostile_text_gets_a_verdict(answer):
    assert decide("5", answer) in (False, None) and decide(answer, "5") in (False, None)
    assert decide("5", answer) is None or check("5", boxed(answer)) in ("wrong", "unparsed")
    assert integrals.judge("2*x", answer, deadline=0.5)[0] in VERDICTS


def test_reading_never_raises():
    rng = random.Random(0)
    parts = [
        *"0123456789xyzieE+-*/^!_(){}[]|.,;:=<>% $°√½²ˆ\\\n",
        *r"\frac \sqrt \text{ \boxed{ \in \pm \pi \sin".split(),
    ]
    for _ in range(3000):
        text = "".join(rng.choices(parts, k=rng.randint(0, 30)))
        assert decide("x+1", text) in (True, False, None) and decide(text, text) in (True, False, None)
        assert understood(read(clean(text))) in (True, False, None)
        assert boxed_answer(text) is None or "boxed" in text
        found = integrals.exactly("2*x", text)
        assert found is None or found[0] in VERDICTS


@pytest.mark.parametrize(
    "answer, readable",
    [
        ("3", True), ("1/2", True), ("2, 3", True), (r"\text{east}", True), (r"\sqrt{2}", True), (INTEGRAL, True),
        (r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", True), ("", False), ("1 +", False), (r"\frac{1}{", False),
        (r"\sqrt{", False), ("3,,4", False), ("9" * 3000, False),
    ],
)  # fmt: skip
def test_parses(answer, readable):
    assert parses(answer) is readable


# ------------------------------------------------------------------ processes


def test_the_known_hang_is_a_timeout_and_the_next_question_is_answered():
    assert check("1", HANG, deadline=1.0) == "timeout"
    assert check(r"2\sqrt{2}", boxed(r"\sqrt{8}")) == "right"


def test_check_many_keeps_order_and_repetitions():
    root = ("2", "\\boxed{\\sqrt{4}}")
    pairs = [root, ("1", HANG), ("3", "no box"), root, ("2", "\\boxed{3}")]
    verdicts = check_many(pairs, deadline=1.0)
    assert verdicts == ["right", "timeout", "unparsed", "right", "wrong"]
    assert check_many([]) == []


def test_from_several_threads():
    verdicts = {}

    def work(number):
        verdicts[number] = check(f"\\sqrt{{{number}}}", boxed(f"\\frac{{{number}}}{{\\sqrt{{{number}}}}}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in (2, 3, 5, 7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == dict.fromkeys((2, 3, 5, 7), "right")


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux alone")
def test_memory_is_limited():
    assert equal("2", r"\sqrt{4}") == "right"
    for worker in workers._started:
        assert resource.prlimit(worker.process.pid, resource.RLIMIT_AS) == (workers.MEMORY_BYTES,) * 2
    assert check("1", boxed(r"\sqrt{2}\cdot 10^{10^{11}}"), deadline=1.0) in ("timeout", "wrong")


def test_a_killed_worker_is_replaced():
    assert equal("2", r"\sqrt{4}") == "right"
    for worker in workers._started:
        worker.process.kill()
        worker.process.wait()
    assert equal("2", r"\sqrt{4}") == "right"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="the system does not tell processor time")
def test_a_worker_that_had_to_wait_is_not_out_of_time():
    workers.stop()
    assert check("2/4", r"\boxed{\frac{\sqrt{4}}{4}}") == "right"
    (worker,) = workers._started
    worker.process.send_signal(signal.SIGSTOP)
    threading.Timer(1.0, worker.process.send_signal, [signal.SIGCONT]).start()
    assert check("5/15", r"\boxed{\frac{\sqrt{25}}{15}}", deadline=0.5) == "right"


def test_a_worker_that_stays_stopped_is_a_timeout_and_is_replaced(monkeypatch):
    monkeypatch.setattr(workers, "GRACE", 0.5)
    workers.stop()
    assert check("2/4", r"\boxed{\frac{\sqrt{4}}{4}}") == "right"
    (worker,) = workers._started
    worker.process.send_signal(signal.SIGSTOP)
    assert check("5/15", r"\boxed{\frac{\sqrt{25}}{15}}", deadline=0.1) == "timeout"
    assert worker.process.poll() is not None and check("5/15", r"\boxed{\frac{\sqrt{25}}{15}}") == "right"


def test_an_interrupt_is_not_the_workers_to_answer():
    workers.stop()
    assert check("2/4", r"\boxed{\frac{\sqrt{4}}{4}}") == "right"
    (worker,) = workers._started
    worker.process.send_signal(signal.SIGINT)
    assert check("3/9", r"\boxed{\frac{\sqrt{9}}{9}}") == "right"
    assert workers._started == {worker} and worker.process.poll() is None


def test_this_process_imports_neither_sympy_nor_math_verify():
    code = (
        "import sys; from soar_lib.verifier.verify import check; assert check('2', r'\\boxed{\\sqrt{4}}') == 'right';"
        "print(sorted({'sympy', 'math_verify', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr


def test_from_a_notebook_kernel():
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    source = (
        "from soar_lib.verifier.verify import check, check_many\n"
        f"print(check('1', {HANG!r}, deadline=1.0), check_many([('2', r'\\boxed{{\\sqrt{{4}}}}')]))"
    )
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    resources = {"metadata": {"path": str(Path(__file__).parents[2])}}
    done = nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources=resources).execute()
    assert done.cells[0].outputs[0].text == "timeout ['right']\n"
