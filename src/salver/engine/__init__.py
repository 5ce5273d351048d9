"""The mechanism that starts, watches and stops processes. Decides nothing."""
