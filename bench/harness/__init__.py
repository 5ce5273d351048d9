"""The machinery of the bench: environments, servers, load, statistics, report."""
