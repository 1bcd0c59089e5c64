"""Problem sets: loading, prompts, what counts as right, how alike questions are, and fail@k filtering."""
