"""What readers call SOAR's arms, in the order of tables: kinds of students, and the runs of a study they stand on."""

from collections.abc import Iterable

from soar_lib.settings.values import label as label_of
from soar_lib.soar.settings import SoarConfig

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
_BOTH = {f"{kind}_{run}": f"{STUDENTS[kind]}, {RUNS[run]}" for kind in STUDENTS for run in RUNS}
NAMES = STUDENTS | _BOTH | RUNS
MAIN = ("base", "hard_only", "pq", "ps", "grounded_t")  # the paper's main comparison, Table 4
STANDING_ON_NO_RUN = ("base", "hard_only", "hard_only_x4", "oracle_small", "oracle_full")


def row_name(arm: str, config: SoarConfig, label: str = "") -> str:
    """The arm's name in tables, which says what kind of SOAR run it stands on; `label` tells further settings apart.

    >>> row_name("grounded_t", SoarConfig()), row_name("grounded_t", SoarConfig(reward="intrinsic", promotion=False))
    ('grounded_t', 'intrinsic_t')
    >>> row_name("pq", SoarConfig(promotion=False), "n_half"), row_name("hard_only", SoarConfig(), "n_half")
    ('pq_no_promotion_n_half', 'hard_only')
    """
    if arm in STANDING_ON_NO_RUN:
        return arm
    turns = ["multi_turn"] if config.teacher.turns == 2 else []
    if arm == "base_t":
        return "_".join([arm, *turns])
    paid = label_of(config.reward)
    name = f"{paid}_t" if arm == "grounded_t" else arm
    marks = [paid] if paid != "grounded" and arm != "grounded_t" else []
    marks += ["no_promotion"] if config.trains_students and not config.promotion else []
    return "_".join([name, *marks, *turns, *([label] if label else [])])


def ordered(arms: Iterable[str]) -> list[str]:
    """Each arm once, in the order of `STUDENTS`; others follow as they come."""
    known = list(STUDENTS)
    return sorted(dict.fromkeys(arms), key=lambda arm: known.index(arm) if arm in known else len(known))
