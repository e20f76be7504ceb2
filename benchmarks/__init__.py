"""Measurements of the product: `make bench` runs them and writes docs/benchmarks.md."""
