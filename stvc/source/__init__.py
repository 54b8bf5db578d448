"""Where frames come from: a registry of sources by name."""

from __future__ import annotations

from importlib import import_module

from stvc.errors import SourceError
from stvc.source.protocol import Source

__all__ = ["Source", "get_source", "names"]

_REGISTRY = {"sample": "stvc.source.sample:SampleSource"}
# ^ Dotted paths, so that listing the names imports nothing.


def names() -> tuple[str, ...]:
    """List the names of all sources.

    Returns
    -------
    tuple of str
    """
    return tuple(_REGISTRY)


def get_source(name: str) -> Source:
    """Make a source by its name.

    Parameters
    ----------
    name : str
        One of `names`.

    Returns
    -------
    Source

    Raises
    ------
    SourceError
        If there is no such source.
    """
    if name not in _REGISTRY:
        raise SourceError(f"source {name!r} is unknown; choose from: {', '.join(_REGISTRY)}")
    module, _, attribute = _REGISTRY[name].partition(":")
    source: Source = getattr(import_module(module), attribute)()
    return source
