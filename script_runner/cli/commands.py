"""The commands of scriptctl. Each gives the exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import click

from script_runner import ScriptRunnerError, Status, WaitTimedOut, has_ended
from script_runner.cli import complete, follow, lists, output, shells, show, words
from script_runner.cli.exit_codes import CANCELLED, OWN_FAILURE, TIMED_OUT
from script_runner.cli.options import URL_VARIABLE, Group, Options, common
from script_runner.errors import RequestRejected, RunnerUnreachable
from script_runner.logs import STREAMS, Stream


@click.group(
    cls=Group,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@common(variable=URL_VARIABLE)
@click.version_option(package_name="script-runner-proxy", prog_name="scriptctl")
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Run scripts through a script-runner, watch them, read their output, stop them.

    \b
    Examples:
      scriptctl scripts                     what can be run
      scriptctl run greet Ada               run it, see its output, end with its exit code
      JOB=$(scriptctl start backup)         run it in the background
      scriptctl logs -f "$JOB"              see its output as it comes
      scriptctl wait "$JOB" --timeout 60    end when it ends, with its exit code
      scriptctl cancel "$JOB"

    The runner is the one at SCRIPT_RUNNER_URL. If it wants a token:
    SCRIPT_RUNNER_URL=http://any:TOKEN@HOST:PORT

    Exit code 125: scriptctl itself could not do it.
    """
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def _command(**settings: Any) -> Callable[[Callable[..., int]], click.Command]:
    """A command that is handed the `Options`."""

    def make(function: Callable[..., int]) -> click.Command:
        pass_options = click.make_pass_decorator(Options, ensure=True)
        return cli.command(**settings)(common()(pass_options(function)))

    return make


_job_argument = click.argument("job", shell_complete=complete.jobs)
_script_argument = click.argument("script", shell_complete=complete.scripts)
_args_argument = click.argument("args", nargs=-1, type=click.UNPROCESSED)
# What follows the script is the script's, options too.
_OF_SCRIPT = {"allow_interspersed_args": False}


def _args_of_script(args: Sequence[str]) -> Sequence[str]:
    """Without the `--` that people put between a command and what it is not to read."""
    return args[1:] if args[:1] == ("--",) else args


@_command(context_settings=_OF_SCRIPT)
@_script_argument
@_args_argument
def run(options: Options, script: str, args: Sequence[str]) -> int:
    """Run SCRIPT, show its output as it comes, end with its exit code.

    All that follows SCRIPT is for the script, options too. Ctrl-C cancels the job; once more
    leaves it. On a terminal a bar shows how far it is, if it prints percentages.

    \b
    Examples:
      scriptctl run greet Ada
      scriptctl run deploy --dry-run staging
      scriptctl run export > export.csv

    Ends with 124 if the time limit of the script ended it, with 130 if it was cancelled.
    """
    with options.runner() as runner:
        return follow.run(runner, script, _args_of_script(args), as_json=options.as_json)


@_command(context_settings=_OF_SCRIPT)
@_script_argument
@_args_argument
def start(options: Options, script: str, args: Sequence[str]) -> int:
    """Start SCRIPT and print the id of the job.

    \b
    Example:
      JOB=$(scriptctl start backup /home)
    """
    with options.runner() as runner:
        job_id = runner.start(script, *_args_of_script(args))
    if options.as_json:
        output.print_json({"jobId": job_id})
    else:
        click.echo(words.harmless(job_id))
    return 0


@_command()
@_job_argument
@click.option("--timeout", type=float, metavar="SECONDS", help="The longest wait; none by default.")
def wait(options: Options, job: str, timeout: float | None) -> int:
    """Wait for the end of JOB, and end with its script's exit code.

    Ends with 124 if it has not ended within --timeout (it goes on), or if the time limit of its
    script ended it; with 130 if it was cancelled. Ctrl-C ends the wait alone.
    """
    with options.runner() as runner:
        return follow.wait(runner, job, timeout, as_json=options.as_json)


@_command()
@_job_argument
def status(options: Options, job: str) -> int:
    """Show JOB: its status, exit code, times and sizes."""
    with options.runner() as runner:
        found = runner.status(job)
    if options.as_json:
        output.print_json(words.json_of(found))
    else:
        show.job(found)
    return 0


@_command()
@_job_argument
@click.option("--stream", type=click.Choice(STREAMS), help="Only this stream, to stdout.")
@click.option("-f", "--follow", "is_followed", is_flag=True, help="Go on until the end of the job.")
@click.option(
    "-n",
    "--tail",
    type=click.IntRange(0),
    metavar="N",
    help="The last N lines, and what is written after them.",
)
@click.option("--offset", type=click.IntRange(0), metavar="N", help="From line N on, from 0.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="At most N lines.")
def logs(
    options: Options,
    job: str,
    stream: Stream | None,
    is_followed: bool,
    tail: int | None,
    offset: int | None,
    limit: int | None,
) -> int:
    """Print what JOB wrote.

    Exactly what it wrote: stdout to stdout, stderr to stderr. Lines are counted in each stream
    apart.

    \b
    Examples:
      scriptctl logs -f "$JOB"
      scriptctl logs -n 20 --stream stderr "$JOB"
      scriptctl logs --offset 1000 --limit 100 "$JOB"
    """
    if tail is not None and (offset, limit) != (None, None):
        raise click.UsageError(
            "-n is for the end of a log, --offset and --limit for a part: use one."
        )
    with options.runner() as runner:
        return follow.logs(
            runner,
            job,
            (stream,) if stream else STREAMS,
            follow.Part(tail, offset or 0, limit),
            is_followed=is_followed,
            sink=output.JsonLines()
            if options.as_json
            else output.Streams(all_to_stdout=stream is not None),
        )


@_command()
@_job_argument
def cancel(options: Options, job: str) -> int:
    """Cancel JOB, or tell its script to end."""
    with options.runner() as runner:
        found = runner.cancel(job)
    if options.as_json:
        output.print_json(words.json_of(found))
        return 0
    if found.status == Status.CANCELED:
        sentence = "is cancelled"
    elif has_ended(found):
        sentence = f"had already ended: {words.STATUS_WORDS.get(found.status, found.status)}"
    else:
        sentence = "was told to end"
    click.echo(words.harmless(f"{found.job_id} {sentence}"))
    return 0


@_command()
@click.option(
    "--limit",
    "-n",
    type=click.IntRange(1, 500),
    default=20,
    show_default=True,
    metavar="N",
    help="How many.",
)
@click.option(
    "--status",
    "word",
    type=click.Choice([str(word) for word in Status]),
    help="Only jobs of this status.",
)
@click.option(
    "--script", metavar="SCRIPT", shell_complete=complete.scripts, help="Only jobs of this script."
)
@click.option(
    "--before", metavar="JOB", shell_complete=complete.jobs, help="Only jobs older than JOB."
)
def jobs(
    options: Options, limit: int, word: str | None, script: str | None, before: str | None
) -> int:
    """List jobs, the newest first (local-runner only).

    In a pipe: id, status, exit code, script, time, milliseconds and arguments, with tabs between
    them.

    \b
    Examples:
      scriptctl jobs --status running
      scriptctl jobs --script backup -n 5
      scriptctl jobs --status running | cut -f1 | xargs -n1 scriptctl cancel
    """
    query = {"limit": limit, "status": word, "scriptId": script, "before": before}
    with options.runner() as runner:
        found = lists.list_jobs(runner, **{key: value for key, value in query.items() if value})
    if options.as_json:
        output.print_json(found.document)
    else:
        show.jobs(found.jobs, found.next_id)
    return 0


@_command()
def scripts(options: Options) -> int:
    """List the scripts (local-runner only).

    In a pipe: id, mode, time limit in seconds, most at once, running, queued and description, with
    tabs between them.
    """
    with options.runner() as runner:
        found = lists.list_scripts(runner)
    if options.as_json:
        output.print_json(found.document)
    else:
        show.scripts(found.scripts)
    return 0


@_command()
def agents(options: Options) -> int:
    """List the machines of a cluster (local-runner only).

    In a pipe: name, state, running, slots, labels and host, with tabs between them.
    """
    with options.runner() as runner:
        found = lists.list_scripts(runner)
        if found.agents is None:
            raise lists.NoLists(f"The runner at {runner.url} runs all scripts on its own machine.")
    if options.as_json:
        output.print_json({"agents": found.document["agents"]})
    else:
        show.agents(found.agents)
    return 0


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        # Never fail on a name that the terminal cannot show.
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    shells.add()
    try:
        return cli.main(args, prog_name="scriptctl", standalone_mode=False) or 0
    except click.UsageError as error:
        command = error.ctx.command_path if error.ctx else "scriptctl"
        output.say(f"{error.format_message()} See `{command} --help`.")
    except click.ClickException as error:
        output.say(error.format_message())
    except click.Abort:
        return CANCELLED
    except WaitTimedOut as error:
        output.say(str(error))
        return TIMED_OUT
    except RunnerUnreachable as error:
        output.say(f"{error} Another runner: --url or {URL_VARIABLE}.")
    except RequestRejected as error:
        known = " `scriptctl scripts` lists them." if error.code == "SCRIPT_NOT_FOUND" else ""
        output.say(f"{error}{known}")
    except ScriptRunnerError as error:
        output.say(str(error))
    except OSError as error:
        output.forget_stdout()
        output.say(f"cannot write the output: {error.strerror}")
    return OWN_FAILURE
