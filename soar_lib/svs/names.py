"""What readers call the arms of SvS and its controls (`soar_lib.svs.settings.SVS_ARMS`)."""

NAMES = {
    "base": "Base (no training)", "rlvr": "RLVR", "svs": "SvS", "rlvr_equal_rollouts": "RLVR, equal rollouts",
    "rlvr_equal_updates": "RLVR, equal rollouts and updates", "second_rollout": "Second rollout",
    "rephrasings": "Rephrasings", "svs_easier_seeds": "SvS, easier seeds",
    "svs_no_reward": "SvS, writing not trained", "svs_any_correct": "SvS, any right solver pays",
    "svs_guarded": "SvS, guarded",
}  # fmt: skip
MAIN = ("base", "rlvr", "svs", "rlvr_equal_rollouts", "second_rollout")  # those of the paper's main claims
