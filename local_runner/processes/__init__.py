"""Processes: a script started, watched, and ended with all it started."""
