"""The `dilu` command, also `python -m dilu`: gathers the verbs, and turns errors into one line and a status.

Status: 0 success, 1 the program's own fault, 2 bad input, 130 interrupted, 141 nobody reads the output.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from dilu.compare import compare
from dilu.help_text import examples
from dilu.replay import replay
from dilu.size import size
from dilu.systems import systems
from experiments import ExperimentError
from policies import PolicyError
from profiles import ProfileError
from recording import RecordingError
from sim import StalledError
from traces import TraceError

BAD_INPUT = (ExperimentError, PolicyError, ProfileError, RecordingError, TraceError)


@click.group(invoke_without_command=True, epilog=examples("dilu replay", "dilu replay --help"))
@click.version_option(package_name="dilu-lab", prog_name="dilu")
@click.pass_context
def cli(context: click.Context) -> None:
    """Find out which scheduler and scaling policy should serve deep-learning functions on shared GPUs."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for verb in (replay, compare, size, systems):
    cli.add_command(verb)


def run(arguments: Sequence[str]) -> int:
    """Run the command and return its exit status."""
    try:
        with cli.make_context("dilu", list(arguments)) as context:
            cli.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        return _say(error.format_message(), 2)
    except BAD_INPUT as error:
        return _say(str(error), 2)
    except StalledError as error:
        return _say(str(error), 1)
    except BrokenPipeError:
        # The interpreter flushes once more when it ends; that must not complain either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except OSError as error:
        return _say(f"{error.filename or 'input or output'}: {error.strerror or error}", 1)
    except KeyboardInterrupt:
        return _say("interrupted", 130)
    return 0


def _say(message: str, status: int) -> int:
    """Print one line about what went wrong."""
    click.echo(f"dilu: {' '.join(message.split())}", err=True)
    return status


def main() -> None:
    """Run the command with the arguments of the process."""
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
