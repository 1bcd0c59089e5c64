"""Students shared out over Ray actors."""
