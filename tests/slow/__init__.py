"""What takes long or needs a system of its own: `make check` runs it, `make test` does not."""
