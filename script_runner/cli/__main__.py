"""`scriptctl`, also as `python -m script_runner.cli`."""

import sys


def run() -> None:
    """Run the command line; says what is missing if only the blocks' needs are installed."""
    try:
        _import_httpx_alone()
        from script_runner.cli.commands import main

        code = main()
    except ModuleNotFoundError as error:
        print(
            f"scriptctl needs {error.name}, which is not installed: "
            "install the extra cli of script-runner-proxy: pip install '.[cli]' in its folder",
            file=sys.stderr,
        )
        code = 125
    except KeyboardInterrupt:
        # While modules are imported; all the rest is in `main`.
        code = 130
    sys.exit(code)


def _import_httpx_alone() -> None:
    """Import httpx without its own command line, for which it would import the whole of rich and
    pygments, more than all of scriptctl."""
    if "pygments" in sys.modules:
        return
    sys.modules["pygments"] = None  # type: ignore[assignment]
    try:
        import httpx  # noqa: F401
    finally:
        del sys.modules["pygments"]


if __name__ == "__main__":
    run()
