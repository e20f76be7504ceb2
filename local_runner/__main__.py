"""`python -m local_runner`, the same as `local-runner`."""

from local_runner.cli import main

if __name__ == "__main__":
    main(prog_name="local-runner")
