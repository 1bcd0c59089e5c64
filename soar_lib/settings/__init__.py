"""Settings shared by the methods, presets, and what a run will cost."""
