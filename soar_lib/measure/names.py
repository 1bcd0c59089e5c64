"""What readers call the arms of all methods, in the order of tables, and how each arm looks in every figure."""

from collections.abc import Iterable
from dataclasses import dataclass

# SOAR: kinds of students, and the runs of a study they stand on.
STUDENTS = {
    "base": "Base (no training)", "hard_only": "Hard-Only", "hard_only_x4": "Hard-Only, 4x rollouts", "pq": "PQ",
    "ps": "PS", "grounded_t": "Grounded-T", "grounded_t_no_promotion": "Grounded-T, no promotion",
    "grounded_t_multi_turn": "Grounded-T, two turns", "intrinsic_t": "Intrinsic-T", "base_t": "Base-T",
    "self_answer": "Grounded-T answering itself", "oracle_small": "Real problems, as many", "oracle_full":
    "Real problems, all", "correct_only": "Grounded-T, correct only", "well_posed": "Grounded-T, well-posed, as many",
}  # fmt: skip
# What a study's arms change (`soar_lib.soar.study.ARMS`).
RUNS = {
    "grounded": "grounded reward", "intrinsic": "intrinsic reward", "no_promotion": "no promotion",
    "multi_turn": "two turns", "n_half": "n x 1/2", "tau_x1.5": "tau x 1.5", "tau_x2": "tau x 2", "r_half": "r x 1/2",
    "sampled_reward": "sampled reward", "samples_half": "samples x 1/2", "samples_quarter": "samples x 1/4",
    "rounds_x6": "rounds x 6",
}  # fmt: skip
MAIN = ("base", "hard_only", "pq", "ps", "grounded_t")  # the paper's main comparison, Table 4
# LADDER: arms, and kinds of trees.
LADDER = {
    "base": "Base (no training)", "originals": "RL on the hard problems", "one_level": "RL on variants of one level",
    "ladder": "LADDER", "ladder_ttrl": "LADDER, then TTRL", "base_ttrl": "TTRL without LADDER", "majority":
    "RL on the majority's vote",
}  # fmt: skip
TREES = {"ladder": "trees", "one_level": "one level", "ttrl": "trees of test problems"}
TIMES = {"base": "before (untrained model)", "ladder": "after (LADDER)"}  # whose accuracy on the variants is known
# SvS and its controls.
SVS = {
    "base": "Base (no training)", "rlvr": "RLVR", "svs": "SvS", "rlvr_equal_rollouts": "RLVR, equal rollouts",
    "rlvr_equal_updates": "RLVR, equal rollouts and updates", "second_rollout": "Second rollout",
    "rephrasings": "Rephrasings", "svs_easier_seeds": "SvS, easier seeds",
    "svs_no_reward": "SvS, writing not trained", "svs_any_correct": "SvS, any right solver pays",
    "svs_guarded": "SvS, guarded",
}  # fmt: skip
_BOTH = {f"{kind}_{run}": f"{STUDENTS[kind]}, {RUNS[run]}" for kind in STUDENTS for run in RUNS}
NAMES = SVS | LADDER | STUDENTS | _BOTH | RUNS


def ordered(arms: Iterable[str]) -> list[str]:
    """Each arm once, in the order of `STUDENTS`, sweeps behind the arm they sweep; others follow as they come."""
    known = list(STUDENTS)

    def place(arm: str) -> tuple[int, int]:
        parent = max((other for other in known if f"{arm}_".startswith(f"{other}_")), key=len, default="")
        return (known.index(parent) if parent else len(known), arm != parent)

    return sorted(dict.fromkeys(arms), key=place)


# ------------------------------------------------------------------ looks

# The first seven are Okabe and Ito's; with the others all pairs differ by 16 or more in CIELAB, for readers with normal
# colour vision and with each form of dichromacy. Arms that share a colour never stand in one figure.
ARM_COLOURS = {
    "#000000": ("base",),
    "#0072B2": ("hard_only", "originals", "rlvr_equal_rollouts"),
    "#009E73": ("pq", "one_level", "rlvr_equal_updates"),
    "#E69F00": ("ps", "base_ttrl", "second_rollout"),
    "#D55E00": ("grounded_t", "grounded", "ladder_ttrl", "rephrasings"),
    "#CC79A7": ("intrinsic_t", "intrinsic", "svs"),
    "#56B4E9": ("base_t", "rlvr"),
    "#8800FF": ("grounded_t_multi_turn", "multi_turn", "ladder", "svs_easier_seeds"),
    "#663311": ("grounded_t_no_promotion", "no_promotion", "majority", "svs_no_reward"),
    "#112288": ("hard_only_x4",),
    "#AACC77": ("self_answer", "svs_any_correct"),
    "#EE0055": ("correct_only", "svs_guarded"),
    "#771133": ("well_posed",),
    "#553366": ("oracle_small",),
    "#BB55FF": ("oracle_full",),
}
COLOURS = [*ARM_COLOURS, "#DDAAAA"]  # of what is no arm, in this order
OTHERS = "#777777"  # arms without a colour of their own
MARKERS = "os^DvPX"
LINES = ("-", "--", ":", "-.")
_COLOUR_OF = {arm: colour for colour, arms in ARM_COLOURS.items() for arm in arms}


@dataclass(frozen=True)
class Look:
    """A colour, a marker and a line, the last two as matplotlib writes them."""

    colour: str
    marker: str = "o"
    line: str = "-"


def look(arm: str) -> Look:
    """How an arm looks, the same in every figure. A sweep has the colour of the arm of which it is a sweep.

    >>> look("grounded_t"), look("grounded_t_tau_x2").colour
    (Look(colour='#D55E00', marker='v', line='-'), '#D55E00')
    """
    parent = max((known for known in _COLOUR_OF if f"{arm}_".startswith(f"{known}_")), key=len, default="")
    if arm == parent:
        place = COLOURS.index(_COLOUR_OF[arm])
        return Look(_COLOUR_OF[arm], MARKERS[place % 7], LINES[place // 7])
    run = arm.removeprefix(f"{parent}_")
    teacher = "intrinsic" if run == "rounds_x6" else "grounded"  # of a study's arm that is a sweep
    colour = _COLOUR_OF.get(parent or (teacher if run in RUNS else ""), OTHERS)
    place = [*RUNS].index(run) if run in RUNS else 0
    return Look(colour, MARKERS[place % 7], LINES[1 + place % 3])
