"""The exit codes of the command line: a contract for scripts, cron and workflow engines."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """What ``stvc`` returns to the shell; 64 to 78 mean what BSD's ``sysexits.h`` says."""

    OK = 0
    """Done, and also: there was nothing new to encode."""
    FAILURE = 1
    """An error that stvc did not foresee; ``STVC_DEBUG=1`` shows the traceback."""
    USAGE = 2
    """The command line itself is wrong."""
    PARTIAL = 3
    """The output is written but not whole: damaged parts were skipped as asked, or some fields of
    a job are not up to date."""
    BAD_VALUE = 64
    """The area of interest or the quality settings cannot be used."""
    CORRUPT = 65
    """An archive or an input dataset is damaged, or not what it claims to be."""
    NO_INPUT = 66
    """An input file, or a background that an archive needs, is not there."""
    UNAVAILABLE = 69
    """The source cannot deliver, or holds nothing for this place and time."""
    SOFTWARE = 70
    """The entropy model that an archive names is not installed, or is damaged."""
    IO_ERROR = 74
    """The operating system refused: disk full, no permission, not a directory."""
    TEMPORARY = 75
    """Try again later: another process writes the same archive, or the source is busy or down."""
    RADIOMETRY = 76
    """A frame's DN look as if a baseline's offset had been left in, or removed twice."""
    DENIED = 77
    """The source refused: credentials, quota or budget."""
    CONFIG = 78
    """A configuration file or an environment variable cannot be used."""
    INTERRUPTED = 130
    """Ctrl-C; archives are whole, as they were before or as they are after."""
    TERMINATED = 143
    """SIGTERM; what had begun was ended, and the next run goes on from there."""
