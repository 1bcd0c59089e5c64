"""SvS: variants with the same answer, written from the model's own solutions (arXiv 2508.14029)."""
