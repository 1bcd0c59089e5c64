"""What readers call the arms of all methods, in the order of tables."""

from collections.abc import Iterable

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
    """Each arm once, in the order of `STUDENTS`; others follow as they come."""
    known = list(STUDENTS)
    return sorted(dict.fromkeys(arms), key=lambda arm: known.index(arm) if arm in known else len(known))
