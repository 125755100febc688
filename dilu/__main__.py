"""The `dilu` command, also `python -m dilu`: gathers the verbs, and turns errors into one line and a status.

Status: 0 success, 1 the program's own fault, 2 bad input, 129 hung up, 130 interrupted, 141 nobody reads the
output, 143 terminated.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

import click

from dilu.calibrate import calibrate_verb
from dilu.compare import compare
from dilu.help_text import examples
from dilu.paper import paper
from dilu.replay import replay
from dilu.size import size
from dilu.systems import systems
from dilu.traces import traces
from dilu.validate import validate
from experiments import ExperimentError
from policies import PolicyError
from profiles import ProfileError
from realgpu.errors import RealGpuError
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


for verb in (replay, compare, size, calibrate_verb, validate, systems, traces, paper):
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
    except (StalledError, RealGpuError) as error:
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
    with suppress(OSError):  # after SIGHUP the terminal may be gone
        click.echo(f"dilu: {' '.join(message.split())}", err=True)
    return status


def main() -> None:
    """Run the command with the arguments of the process; SIGTERM and SIGHUP end it as tidily as Ctrl-C."""
    if sys.stdout is None:  # closed, as by `>&-`
        sys.exit(_say("standard output: is closed, allowed is to discard it (>/dev/null)", 1))
    stops = [one for one in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is not signal.SIG_IGN]
    received = [int(signal.SIGINT)]

    def stop(number: int, _frame: FrameType | None) -> None:
        for one in stops:  # a second one must not disturb the tidying up
            signal.signal(one, signal.SIG_IGN)
        received.append(number)
        raise KeyboardInterrupt

    for one in stops:
        signal.signal(one, stop)
    status = run(sys.argv[1:])
    sys.exit(128 + received[-1] if status == 130 else status)


if __name__ == "__main__":
    main()
