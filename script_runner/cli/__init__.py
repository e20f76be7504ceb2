"""`scriptctl`, the command line over the library; needs the extra `cli`."""
