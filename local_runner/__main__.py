"""`local-runner`, also as `python -m local_runner`."""

import sys


def run() -> None:
    """Run the command line; says what is missing if only the blocks' needs are installed."""
    try:
        from local_runner.cli import main

        main(prog_name="local-runner")
    except ModuleNotFoundError as error:
        sys.exit(
            f"local-runner needs {error.name}, which is not installed: "
            "install the extra runner of script-runner-proxy: pip install '.[runner]' in its folder"
        )


if __name__ == "__main__":
    run()
