"""LADDER and test-time RL: learning from easier variants of hard problems (arXiv 2503.00735)."""
