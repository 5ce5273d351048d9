"""Logs and metrics. Configured by programs, never by an import."""
