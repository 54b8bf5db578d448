"""The command line: the app, what its commands return, and how errors are told.

Nothing heavy is imported before a command runs, so that ``stvc --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from stvc import console
from stvc.cli import (
    background_command,
    bundle_command,
    compare_command,
    config_command,
    decode_command,
    encode_command,
    export_command,
    info_command,
    monitor_command,
    quicklook_command,
    report_command,
    stac_command,
)
from stvc.errors import StvcError
from stvc.exit_codes import ExitCode

app = typer.Typer(
    name="stvc",
    help="A codec for satellite image time series: append-only archives that decode to the same "
    "pixels everywhere.",
    epilog="Exit codes: 0 done, or nothing new; 2 wrong usage; 3 written, but damaged parts were "
    "skipped; 65 damaged; 75 try again later; all of them in stvc/exit_codes.py.",
    rich_markup_mode="rich",
    pretty_exceptions_show_locals=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"stvc {version('stvc')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            metavar="",
            callback=_show_version,
            is_eager=True,
            help="Print the version and exit.",
        ),
    ] = False,
) -> None:
    pass


# In the order of the help.
for _command in (
    encode_command,
    decode_command,
    info_command,
    background_command,
    bundle_command,
    config_command,
    monitor_command,
    export_command,
    stac_command,
    quicklook_command,
    report_command,
    compare_command,
):
    _command.register(app)


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Parameters
    ----------
    arguments : sequence of str
        The command line without the program's name.

    Returns
    -------
    int
        The exit code; see `stvc.exit_codes.ExitCode`. Errors are told on stderr, in one line.
    """
    command = typer.main.get_command(app)
    try:
        returned = command.main(
            args=list(arguments) or ["--help"], prog_name="stvc", standalone_mode=False
        )
        sys.stdout.flush()
        if returned == ExitCode.INTERRUPTED:  # typer's answer to Ctrl-C, without a word
            console.error("interrupted")
        return int(returned or 0)
    except (KeyboardInterrupt, typer.Abort):
        console.error("interrupted")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever read our stdout has left (`stvc info | head`): say no more, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILURE
    except Exception as problem:
        if console.debugging():
            import traceback

            traceback.print_exc()
        return _tell(problem)


def _tell(problem: Exception) -> int:
    """Say in one line what went wrong, and return its exit code."""
    if isinstance(problem, StvcError):
        console.error(str(problem))
        return problem.exit_code
    if isinstance(problem, typer.TyperException):
        message = problem.format_message()
        console.error(message if "--help" in message else f"{message} (see stvc --help)")
        return problem.exit_code
    if isinstance(problem, OSError):
        console.error(
            f"{problem.filename}: {problem.strerror}" if problem.filename else str(problem)
        )
        missing = isinstance(problem, (FileNotFoundError, IsADirectoryError))
        return ExitCode.NO_INPUT if missing else ExitCode.IO_ERROR
    if isinstance(problem, MemoryError):
        console.error("out of memory; choose fewer dates or a smaller area")
        return ExitCode.IO_ERROR
    console.error(
        f"unexpected {type(problem).__name__}: {problem} (STVC_DEBUG=1 shows the traceback)"
    )
    return ExitCode.FAILURE


def main() -> NoReturn:
    """Run the command line of this process and exit."""
    # torch's threads spin while they wait, which makes a busy machine many times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(run(sys.argv[1:]))
