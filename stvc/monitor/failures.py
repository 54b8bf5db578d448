"""What an exception means for the field that it ended."""

from __future__ import annotations

import errno

from stvc.errors import StvcError
from stvc.exit_codes import ExitCode
from stvc.monitor.results import Failure


def failure_of(error: Exception) -> Failure:
    """Say what an exception means for a field, with the exit code that it would have alone.

    Parameters
    ----------
    error : Exception

    Returns
    -------
    Failure
    """
    name = type(error).__name__
    if isinstance(error, StvcError):
        return Failure(name, str(error), error.exit_code)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        what = f"no space left to write ({error.strerror}); free some: the archive is as it was"
        return Failure(name, what, ExitCode.IO_ERROR)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return Failure(name, f"{where}{error.strerror or error}", ExitCode.IO_ERROR)
    if isinstance(error, MemoryError):
        message = "out of memory; set a smaller batch for this field, or use fewer workers"
        return Failure(name, message, ExitCode.IO_ERROR)
    return Failure(name, f"unexpected {name}: {error}", ExitCode.FAILURE)
