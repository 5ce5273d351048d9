"""Where user code runs: one object, its limits, its calls, its results."""
