"""What is said of all commands, before or after the name of one: which runner, and JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from script_runner import ScriptRunner
from script_runner._explain import Hints
from script_runner._settings import DEFAULT_URL, Settings
from script_runner.cli import output
from script_runner.cli.exit_codes import CANCELLED, PIPE_CLOSED

URL_VARIABLE = "SCRIPT_RUNNER_URL"

HINTS = Hints(
    url=f"--url or {URL_VARIABLE}",
    long_script="use scriptctl start and scriptctl wait",
    go_on="wait again, see it with `scriptctl status`, or end it with `scriptctl cancel`",
    token=f"Give the runner's token in {URL_VARIABLE}: http://any:TOKEN@HOST:PORT.",
)

SETTINGS = Settings(max_poll_seconds=0.2)
"""Output is shown within 0.3 s of its being written."""

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


@dataclass
class Options:
    """What the options say."""

    url: str = DEFAULT_URL
    as_json: bool = False

    def runner(self) -> ScriptRunner:
        """The runner to talk to."""
        return ScriptRunner(self.url, hints=HINTS, settings=SETTINGS)


class Group(click.Group):
    """Commands that end as commands do if their reader goes away or Ctrl-C is pressed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order in which they are used, not that of the alphabet."""
        del ctx
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that is asked for."""
        # Before click hears of it, which ends both with 1.
        try:
            code = super().invoke(ctx)
            sys.stdout.flush()
            return code
        except BrokenPipeError:
            output.forget_stdout()
            return PIPE_CLOSED
        except KeyboardInterrupt:
            if sys.stderr.isatty():
                # The terminal has shown a ^C.
                click.echo(err=True)
            return CANCELLED


def _keep(ctx: click.Context, parameter: click.Parameter, value: Any) -> None:
    if value:
        setattr(ctx.ensure_object(Options), str(parameter.name), value)


def common(*, variable: str | None = None) -> Callable[[FunctionT], FunctionT]:
    """Add the options to a command.

    Args:
        variable: The variable of the environment that names the runner if `--url` does not.
    """

    def add(function: FunctionT) -> FunctionT:
        for option in (
            click.option(
                "--json",
                "as_json",
                is_flag=True,
                expose_value=False,
                callback=_keep,
                help="Print JSON, for programs.",
            ),
            click.option(
                "--url",
                metavar="URL",
                envvar=variable,
                expose_value=False,
                callback=_keep,
                help=f"The script-runner; {DEFAULT_URL} by default. If it wants a token use "
                f"{URL_VARIABLE} instead: others see command lines.",
            ),
        ):
            function = option(function)
        return function

    return add
