"""A student: the inner loop, where it runs, and its rewards."""
