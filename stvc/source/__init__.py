"""Where frames come from: a registry of sources by name."""

from __future__ import annotations

from importlib import import_module
from inspect import Parameter, signature
from typing import Any

from stvc.errors import SourceError
from stvc.source.protocol import Source

__all__ = ["Source", "get_source", "names", "needs_area", "takes"]

_REGISTRY = {
    "sample": "stvc.source.sample:SampleSource",
    "sentinelhub": "stvc.source.sentinelhub:SentinelHubSource",
    "stac": "stvc.source.stac:StacSource",
    "files": "stvc.source.files:FilesSource",
}
# ^ Dotted paths, so that listing the names imports nothing.

_AREA_OPTIONAL = frozenset({"files"})


def names() -> tuple[str, ...]:
    """List the names of all sources.

    Returns
    -------
    tuple of str
    """
    return tuple(_REGISTRY)


def needs_area(name: str) -> bool:
    """Tell whether a source must be given an area of interest.

    Parameters
    ----------
    name : str
        One of `names`.

    Returns
    -------
    bool
        False if the source has an extent of its own to fall back on.
    """
    return name not in _AREA_OPTIONAL


def takes(name: str, option: str) -> bool:
    """Tell whether a source has an option.

    Parameters
    ----------
    name : str
        A source's name; of an unknown one, False.
    option : str
        As for `get_source`.
    """
    return name in _REGISTRY and option in signature(_class_of(name)).parameters


def _class_of(name: str) -> Any:
    module, _, attribute = _REGISTRY[name].partition(":")
    return getattr(import_module(module), attribute)


def get_source(name: str, **options: Any) -> Source:
    """Make a source by its name.

    Parameters
    ----------
    name : str
        One of `names`.
    **options
        What the source's class takes; its docstring explains them.

    Returns
    -------
    Source

    Raises
    ------
    SourceError
        If there is no such source, or it has no such option, or lacks one that it needs.
    """
    if name not in _REGISTRY:
        raise SourceError(f"source {name!r} is unknown; choose from: {', '.join(_REGISTRY)}")
    made = _class_of(name)
    known = signature(made).parameters
    unknown = [option for option in options if option not in known]
    if unknown:
        raise SourceError(
            f"source {name} has no option {', '.join(unknown)}; "
            f"it takes {', '.join(known) or 'none'}"
        )
    missing = [
        option
        for option, parameter in known.items()
        if parameter.default is Parameter.empty and option not in options
    ]
    if missing:
        raise SourceError(f"source {name} needs the option {', '.join(missing)}")
    source: Source = made(**options)
    return source
