"""Runs a flow of these blocks on the real OOMOL executor, without the engine."""
