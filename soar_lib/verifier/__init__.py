"""Whether two answers are equal, decided without evaluating model text."""
