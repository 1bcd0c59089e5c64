"""The integral verifier: named traps, both notations, what is refused, polynomials exactly or by points."""

import random
import subprocess
import sys
import threading
from fractions import Fraction
from pathlib import Path

import pytest
import sympy
from reasoning_gym import create_dataset

from soar_lib.problems.likeness import polynomial
from soar_lib.verifier import workers
from soar_lib.verifier.formulas import MAX_DEPTH, Unreadable, letters
from soar_lib.verifier.integrals import by_points, check_many, integrand_of, judge, read
from soar_lib.verifier.worker import MINIMUM, POINTS, stable, value

# ------------------------------------------------------------------ verdicts

X = sympy.Symbol("x")


def check(integrand: str, answer: str, **deadline: float) -> str:
    return judge(integrand, answer, **deadline)[0]


VERDICTS = [
    # the linear term dropped: LADDER's rule accepts this in a quarter of all trials
    ("12*sinh(x)**2", "3*sinh(2*x)", "wrong"),
    ("12*sinh(x)**2", "3*sinh(2*x) - 6*x", "right"),
    ("12*sinh(x)**2", r"3\sinh 2x - 6x + C", "right"),
    # both sides of zero
    ("1/x", "log(Abs(x))", "right"),
    ("1/x", r"\ln|x| + C", "right"),
    ("1/x", "log(x)", "right"),
    ("1/x", "log(-x)", "right"),
    ("1/x", "-log(Abs(x))", "wrong"),
    ("1/x", "Abs(log(x))", "wrong"),
    ("1/Abs(x)", "log(Abs(x))", "wrong"),
    ("1/Abs(x)", "sign(x)*log(Abs(x))", "right"),
    ("Abs(x)", "x**2/2", "wrong"),
    ("Abs(x)", "x*Abs(x)/2", "right"),
    ("tan(x)", "-log(cos(x))", "right"),
    ("tan(x)", r"-\ln|\cos x|", "right"),
    ("1/(x*log(x))", "log(log(x))", "right"),
    ("1/sqrt(x**2 - 1)", "acosh(x)", "right"),
    ("1/sqrt(x**2 - 1)", r"\ln\left|x + \sqrt{x^2-1}\right|", "right"),
    ("1/sqrt(x**2 - 1)", "asinh(x)", "wrong"),
    # constants of integration
    ("exp(2*x)", "exp(2*x)/2", "right"),
    ("exp(2*x)", "exp(2*x)/2 + C", "right"),
    ("exp(2*x)", "exp(2*x)/2 - C_1", "right"),
    ("exp(2*x)", "K + exp(2*x)/2", "right"),
    ("exp(2*x)", r"\frac{e^{2x}}{2} + \text{constant}", "right"),
    ("exp(2*x)", "exp(2*x)/2 + 17*pi", "right"),
    ("exp(2*x)", "exp(2*x)/2 + C*x", "wrong"),
    ("exp(2*x)", "C*exp(2*x)/2", "wrong"),
    ("exp(2*x)", "exp(2*x)/2 + y", "unparsed"),
    ("1/x", "log(C*x)", "right"),
    ("3*x**2", "x**3 + C", "right"),
    ("3*x**2", "x**3 - 4*C + 5", "right"),
    ("3*x**2", "x**3 + C*x", "wrong"),
    ("3*x**2", "C*x**3", "wrong"),
    ("3*x**2", "x**3 + D", "unparsed"),
    ("0", "7", "right"),
    ("x - x", "sin(x)**2 + cos(x)**2", "right"),
    ("0", "sin(x)", "wrong"),
    # answers that repeat the question
    ("x**2*sin(x)", "x**2*sin(x)", "wrong"),
    ("x**2*sin(x)", "Integral(x**2*sin(x), x)", "unparsed"),
    ("x**2*sin(x)", "integrate(x**2*sin(x), x)", "unparsed"),
    ("x**2*sin(x)", r"\int x^2 \sin x \, dx", "unparsed"),
    ("x**2*sin(x)", "Integral(x**2*sin(x), (x, 0, x))", "unparsed"),
    ("x**2*sin(x)", "∫ x**2*sin(x) dx + C", "unparsed"),
    ("exp(x)", "exp(x)", "right"),
    ("x**2", r"\int x^2 \, dx = \frac{x^3}{3} + C", "right"),
    ("x**2", "F(x) = x**3/3", "right"),
    ("x**2", "x**2 = x**3/3", "unparsed"),
    # huge powers and sizes
    ("x**10**9", "x**(10**9 + 1)/(10**9 + 1)", "right"),
    ("x**10**9", "x**10**9", "wrong"),
    ("x**10**9*sin(x)", "x**10**9*cos(x)", "wrong"),
    ("(x + 1)**10**9", "(x + 1)**(10**9 + 1)/(10**9 + 1)", "right"),
    ("x", "9**9**9**9*x", "wrong"),
    ("x", "x**2/2 + 10**10**10**10", "wrong"),
    ("exp(x)", "exp(exp(exp(exp(exp(exp(x))))))", "wrong"),
    ("sin(x)", "x**x**x**x**x**x", "wrong"),
    ("1/(x+1)**2", "x/(x+1)", "right"),
    ("1/(x+1)**2", "(x-1)/(x+1)", "wrong"),
    # small differences, and rounded decimals
    ("1000*x**2 + 1", "1000*x**3/3", "wrong"),
    ("exp(x) + 1/1000", "exp(x)", "wrong"),
    ("10**9*x**5*cos(x**6)", "10**9*sin(x**6)/6 + x/10**3", "wrong"),
    ("sin(x)/10**9", "-cos(x)/10**9", "right"),
    ("sin(x)/10**9", "cos(x)/10**9", "wrong"),
    ("x**2", "0.333333333*x**3", "right"),
    ("x**2", "0.3333*x**3", "wrong"),
    ("sin(3*x)", "-0.33333333*cos(3*x)", "right"),
    ("x**1.5", "0.4*x**2.5", "right"),
    ("x**1.5", "x**2/4", "wrong"),
    # small and far domains
    ("asin(3*x)", "x*asin(3*x) + sqrt(1 - 9*x**2)/3", "right"),
    ("(16*x + 4)*exp(4*x**2 + 2*x + 10)", "2*exp(4*x**2 + 2*x + 10) + x/1000", "wrong"),
    ("asin(x - 40)", "(x - 40)*asin(x - 40) + sqrt(1 - (x - 40)**2)", "right"),
    ("asin(x - 40)", "(x - 40)*asin(x - 40) - sqrt(1 - (x - 40)**2)", "wrong"),
    ("sqrt(x - 5000)", "2*(x - 5000)**(3/2)/3", "right"),
    ("sqrt(-1 - x**2)", "x", "wrong"),
    # other letters
    ("X**2*exp(X)", "(X**2 - 2*X + 2)*exp(X) + C", "right"),
    ("X**2", "x**3/3", "unparsed"),
    ("cos(t)", "sin(t)", "right"),
    ("5", "5*t", "right"),
    ("a*x", "a*x**2/2", "unparsed"),
    # beyond the elementary
    ("exp(-x**2)", "sqrt(pi)*erf(x)/2", "right"),
    ("sin(x)/x", "Si(x)", "right"),
    ("x**x*(log(x) + 1)", "x**x", "right"),
]  # fmt: skip


@pytest.mark.parametrize("integrand, answer, verdict", VERDICTS)
def test_verdicts(integrand, answer, verdict):
    assert check(integrand, answer) == verdict


def test_the_dropped_linear_term_is_refused_at_every_multiple():
    """The term is a part in 10^4 and less of the integrand at most points LADDER would take."""
    pairs = [(f"{12 * k}*sinh(x/{k})**2", f"{3 * k * k}*sinh(2*x/{k})") for k in range(1, 30)]
    assert set(check_many(pairs)) == {"wrong"}
    assert set(check_many([(f, f"{F} - {6 * k}*x") for k, (f, F) in enumerate(pairs, 1)])) == {"right"}


def test_an_answer_is_judged_at_enough_points_or_refused():
    for f, answer in (("exp(x)", "exp(x)"), ("1/Abs(x)", "log(x)")):  # the second is real for x > 0 alone
        assert judge(f, answer) == ("right", f"{POINTS} points agree")
    cancelled = "(10**30*pi + sin(x)) - 10**30*pi - sin(x) - cos(x)"  # its terms have no digits left
    for f, answer in (("sqrt(-1 - x**2)", "x"), ("sin(x)", "sin(x)/(x - x)"), ("sin(x)", cancelled)):
        assert judge(f, answer) == ("wrong", "too few points")
    assert MINIMUM == 20


def test_the_same_answer_is_judged_the_same_in_any_order():
    pairs = [("asin(3*x)", "asin(x)"), ("asin(3*x)", "x*asin(3*x) + sqrt(1 - 9*x**2)/3")]
    first = [judge(*pair) for pair in pairs]
    workers.stop()
    assert [judge(*pair) for pair in reversed(pairs)] == first[::-1]


# ------------------------------------------------------------------ reading

ALIKE = [
    ("x**2*sin(x)", r"x^2 \sin x"),
    ("x**2*sin(x)", r"x^{2}\sin{\left(x \right)}"),
    ("sin(2*x)*cos(3*x)", r"\sin 2x\cos 3x"),
    ("sin(x)**2", r"\sin^2 x"),
    ("sin(x)**2", r"\sin(x)^2"),
    ("asin(x)", r"\sin^{-1}(x)"),
    ("asin(x)", r"\arcsin x"),
    ("1/sin(x)", r"\frac1{\sin x}"),
    ("exp(2*x)", r"e^{2x}"),
    ("exp(2*x)", "E**(2*x)"),
    ("x*exp(x)", "xe^x"),
    ("log(Abs(x + 1))", r"\ln\left|x+1\right|"),
    ("log(Abs(x + 1))", r"\ln\lvert x+1\rvert"),
    ("x*Abs(x)", "x|x|"),
    ("Abs(x + Abs(x))", "|x + |x||"),
    ("x**(1/3)", r"\sqrt[3]{x}"),
    ("sqrt(x + 1)", r"\sqrt{x+1}"),
    ("-x**2", "-(x^2)"),
    ("2**x**2", "2**(x**2)"),
    ("x**(-1)", "1/x"),
    ("x**(1+1)", "x*x"),
    ("x/2*3", "3*x/2"),
    ("pi*x", r"\pi x"),
    ("atanh(x)", r"\operatorname{artanh} x"),
    ("2*(x + 1)*(x - 1)", "2(x+1)(x-1)"),
]


@pytest.mark.parametrize("one, other", ALIKE)
def test_notations(one, other):
    for x in (0.37, -0.61, 2.9):
        if x > 0 or "1/3" not in one:
            points = [value(read(text), {"x": x}) for text in (one, other)]
            assert abs(points[0] - points[1]) < 1e-12


REFUSED = [
    "", "x +", "x**", "(x", "x)", "|x", "3*/x", "x 2", "1/2x", "sin", r"\sin", "sin x (x + 1)", "log2(x)", r"\frac{1}{",
    "I*x", "i", "f(x)", "foo(x)", "x!", "x_1", "x == 1", "x = 1", "[x, x]", "{x; x}", "x, x", "'x'", "x if x else x",
    "Integral(x, x)", "Derivative(x**2, x)", "Sum(x, (x, 1, 2))", "integrate(x)", "diff(x)", "Piecewise((x, True))",
    "Function('f')(x)", "Symbol('x')", "gamma(x)", "lambda: x", "oo", "nan", "x.subs(x, 2)", "x.__class__",
    "__import__('os').system('true')", "exec('1')", "eval(x)", "().__class__.__bases__", "exit()", "open('x')",
    "(" * (MAX_DEPTH + 1) + "x" + ")" * (MAX_DEPTH + 1), "-" * 100 + "x", "sin(" * 100 + "x" + ")" * 100,
    "x^" * 100 + "x", r"\frac{" * 500, "|" * 101, "x" + "+x" * 1000, "9" * 3000,
]  # fmt: skip


@pytest.mark.parametrize("text", REFUSED)
def test_outside_the_whitelist(text):
    assert check(text, "x") == "unparsed"
    assert check("x", text) == ("unparsed" if text != "x = 1" else "wrong")
    with pytest.raises(Unreadable):
        formula = read(text)
        if letters(formula) - {"x"}:
            raise Unreadable


FUNCTIONS = (
    "sin cos tan cot sec csc sinh cosh tanh coth sech csch asin acos atan acot asec acsc asinh acosh atanh acoth "
    "exp log sqrt erf Si Ci Ei"
)


@pytest.mark.parametrize("name", FUNCTIONS.split())
def test_values_and_derivatives_against_sympy(name):
    function = getattr(sympy, name)
    inner = {"asec": X + 2, "acsc": X + 2, "acosh": X + 2, "acoth": X + 2}.get(name, X / 3 + sympy.Rational(1, 5))
    for x in (sympy.Rational(7, 10), sympy.Rational(9, 20)):
        wanted = [float(e.subs(X, x).evalf(15)) for e in (function(inner), sympy.diff(function(inner), X))]
        found = stable(read(str(function(inner))), {"x": float(x)}, "x")
        assert [float(number) for number in found] == pytest.approx(wanted, rel=1e-12)


def test_polynomials_are_exact():
    assert polynomial(read("(x - 1/2)**2*x**-3"), "x") == {-1: 1, -2: -1, -3: Fraction(1, 4)}
    assert polynomial(read("x**10**9"), "x") == {10**9: 1}
    assert polynomial(read("x - x + 0*x**5"), "x") == {}
    for text in ("sin(x)", "x**x", "2**x", "x**(1/2)", "1/(x + 1)", "(x + 1)**65", "pi*x", "y", "1/(x - x)"):
        assert polynomial(read(text), "x") is None


@pytest.mark.parametrize(
    "question, integrand",
    [
        ("Find the indefinite integral: ∫ -9*x**5 + 2/3 dx", "-9*x**5 + 2/3"),
        ("Calculate the antiderivative: ∫ 7*X**2 dX\nWhen performing calculations, use **.", "7*X**2"),
        (r"Evaluate $\int \frac{x}{2}\,dx$.", r"\frac{x}{2}"),
        (r"Evaluate \(\int e^{t} \mathrm{d}t\).", "e^{t}"),
        ("What is 2 + 2?", None),
    ],
)
def test_integrand_of_a_question(question, integrand):
    assert integrand_of(question) == integrand


# ------------------------------------------------------------------ generated problems


def spoiled(answer: str, rng: random.Random) -> str:
    """One coefficient or exponent of the part with x changed by one."""
    digits = [at for at, letter in enumerate(answer) if letter.isdigit() and letter != "0"]
    at = rng.choice(digits)
    return answer[:at] + str(int(answer[at]) % 9 + 1) + answer[at + 1 :]


def test_polynomials_get_the_verdict_that_points_give():
    items = create_dataset("simple_integration", seed=5, size=60)
    rng, seen = random.Random(0), []
    for item in items:
        f, right = item["metadata"]["integrand"], item["answer"]
        for answer in (right, spoiled(right, rng), right.removesuffix(" + C")):
            quick, slow = judge(f, answer), by_points(f, answer)
            assert quick[1] == "compared exactly" and slow[1] != quick[1]
            assert quick[0] == slow[0]
            seen.append(quick[0])
    assert seen.count("right") >= 120 and seen.count("wrong") >= 50


def test_polynomials_need_no_worker():
    workers.stop()
    items = create_dataset("simple_integration", seed=6, size=200, symbols=("x",))
    pairs = [(item["metadata"]["integrand"], item["answer"]) for item in items]
    assert set(check_many(pairs)) == {"right"}
    assert set(check_many([(f, answer) for (f, _), (_, answer) in zip(pairs, pairs[1:])])) == {"wrong"}
    assert workers._started == set()


def test_intermediate_integrals_of_reasoning_gym():
    items = create_dataset("intermediate_integration", seed=7, size=40)
    pairs = [(item["metadata"]["integrand"], item["answer"]) for item in items]
    unevaluated = [pair for pair in pairs if "Integral" in pair[1]]  # the generator's own answer repeats the question
    assert unevaluated and set(check_many(unevaluated)) == {"unparsed"}
    pairs = [pair for pair in pairs if pair not in unevaluated]
    assert set(check_many(pairs)) == {"right"}
    latex = [(sympy.latex(sympy.sympify(f)), sympy.latex(sympy.sympify(F.removesuffix(" + C")))) for f, F in pairs]
    assert set(check_many(latex)) == {"right"}
    assert set(check_many([(f, f"{F} + x/1000") for f, F in pairs])) == {"wrong"}


# ------------------------------------------------------------------ processes


def test_check_many_keeps_order_and_repetitions():
    pairs = [("cos(x)", "sin(x)"), ("x", "x"), ("x", "]"), ("cos(x)", "cos(x)"), ("cos(x)", "sin(x)")]
    assert check_many(pairs) == ["right", "wrong", "unparsed", "wrong", "right"]
    assert check_many([]) == []


def test_a_deadline_ends_the_worker_and_the_next_question_is_answered():
    slow = "+".join(["atan(sinh(x))"] * 140) + "+1/(x-x)"  # singular at every point, but only in its last term
    assert check("sin(x)", slow, deadline=0.05) == "timeout"
    assert check("tan(x)", "-log(cos(x))") == "right"


def test_from_several_threads():
    verdicts = {}

    def work(k):
        verdicts[k] = check(f"sin({k}*x)", f"-cos({k}*x)/{k}")

    threads = [threading.Thread(target=work, args=(k,)) for k in range(2, 6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert verdicts == dict.fromkeys(range(2, 6), "right")


def test_this_process_imports_neither_sympy_nor_mpmath():
    code = (
        "import sys; from soar_lib.verifier.integrals import judge; "
        "assert judge('cos(x)', 'sin(x)')[0] == 'right'; "
        "print(sorted({'sympy', 'mpmath', 'torch'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
