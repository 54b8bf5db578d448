"""Every error that stvc raises on purpose, each with its exit code for the command line."""

from __future__ import annotations


class StvcError(Exception):
    """Root of all stvc errors; the message says what happened, with the value, then what to do."""

    exit_code = 1


class AoiError(StvcError):
    """The area of interest is unusable: not GeoJSON, not a polygon, or off the source's ground."""

    exit_code = 64


class CorruptInputError(StvcError):
    """An input dataset breaks the contract (dtype, dims, missing coordinates)."""

    exit_code = 65


class SourceError(StvcError):
    """A source cannot deliver frames."""

    exit_code = 69


class AuthError(SourceError):
    """A source refused the credentials."""

    exit_code = 77


class QuotaError(SourceError):
    """A source refused because a quota or budget is used up."""

    exit_code = 77


class BudgetError(QuotaError):
    """A budget of the user's own (requests, processing units) would be exceeded."""


class UnavailableError(SourceError):
    """A source did not answer, or was too busy, at every attempt; try again later."""

    exit_code = 75


class NoDataError(SourceError):
    """A source holds nothing for this place and time."""

    exit_code = 69


class LockedError(StvcError):
    """Another process is writing the same archive; try again later."""

    exit_code = 75


class RadiometryError(StvcError):
    """A frame's DN lie one baseline's offset beside what the archive holds of the place."""

    exit_code = 76


class BackgroundError(StvcError):
    """A historical background is missing, damaged, or does not fit the place."""

    exit_code = 66


class ModelError(StvcError):
    """An entropy model that an archive names is not installed, or its weights are damaged."""

    exit_code = 70


class BitstreamError(StvcError):
    """An archive cannot be read."""

    exit_code = 65


class CorruptError(BitstreamError):
    """A part of an archive is damaged; the message names the part."""


class VersionError(BitstreamError):
    """An archive was written by a format version that this stvc does not know."""


class TooLargeError(BitstreamError):
    """An archive or input declares a size beyond the accepted limits."""


class QualityError(StvcError):
    """Contradicting or impossible quality settings."""

    exit_code = 64


class ConfigError(StvcError):
    """A configuration file or environment variable cannot be used."""

    exit_code = 78
