"""What readers call LADDER's arms, in the order of tables, and its kinds of trees."""

NAMES = {
    "base": "Base (no training)", "originals": "RL on the hard problems", "one_level": "RL on variants of one level",
    "ladder": "LADDER", "ladder_ttrl": "LADDER, then TTRL", "base_ttrl": "TTRL without LADDER", "majority":
    "RL on the majority's vote",
}  # fmt: skip
TREES = {"ladder": "trees", "one_level": "one level", "ttrl": "trees of test problems"}
TIMES = {"base": "before (untrained model)", "ladder": "after (LADDER)"}  # whose accuracy on the variants is known
