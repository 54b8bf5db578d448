"""stvc: a temporal, video-style codec for Sentinel image time series.

import stvc
stvc.encode(ds, "field.stvc", psnr=50)
ds = stvc.open("field.stvc").to_xarray()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from stvc.api import EncodeReport, append, encode, open
    from stvc.archive_verify import VerifyReport
    from stvc.archive_view import Archive

_HOME = {
    "encode": "stvc.api",
    "append": "stvc.api",
    "open": "stvc.api",
    "EncodeReport": "stvc.api",
    "Archive": "stvc.archive_view",
    "VerifyReport": "stvc.archive_verify",
}

__all__ = ["Archive", "EncodeReport", "VerifyReport", "__version__", "append", "encode", "open"]


def __getattr__(name: str) -> Any:
    """Import the public names when first used: ``import stvc`` loads neither torch nor xarray."""
    if name in _HOME:
        from importlib import import_module

        return getattr(import_module(_HOME[name]), name)
    raise AttributeError(f"module 'stvc' has no attribute {name!r}")
