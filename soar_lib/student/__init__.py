"""A student: the inner loop, and where it runs."""
