"""The command `salver`."""
