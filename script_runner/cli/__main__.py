"""`scriptctl`, also as `python -m script_runner.cli`."""

import sys


def run() -> None:
    """Run the command line; says what is missing if only the blocks' needs are installed."""
    try:
        from script_runner.cli.commands import main

        code = main()
    except ModuleNotFoundError as error:
        print(
            f"scriptctl needs {error.name}, which is not installed: "
            "pip install 'script-runner-proxy[cli]'",
            file=sys.stderr,
        )
        code = 125
    except KeyboardInterrupt:
        # While modules are imported; all the rest is in `main`.
        code = 130
    sys.exit(code)


if __name__ == "__main__":
    run()
