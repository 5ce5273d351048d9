"""The doors: each translates a protocol into calls on a router and does nothing else."""
