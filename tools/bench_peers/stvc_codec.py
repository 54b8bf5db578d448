"""Stvc as a codec to measure: through its public API, at the size of its file."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench_peers.cubes import Cube
from bench_peers.protocol import Encoded
from stvc.types import U16


@dataclass(frozen=True)
class StvcCodec:
    """The parameter is the PSNR on clear ground, or (``bounded``) the largest error there."""

    bounded: bool = False
    """See `protocol.Codec`."""
    options: tuple[tuple[str, str], ...] = ()
    """Further arguments of ``stvc.encode``: ``reference``, ``clouds``, ``effort``."""
    mode: str = "append"
    """See `protocol.Codec`."""
    ladder: tuple[float, ...] = ()
    """Empty: stvc is measured at the very PSNRs (bounds) that are reported."""

    @property
    def model(self) -> str:
        """Id of the entropy model that archives are written with."""
        from stvc._header_rules import FORMAT_VERSION
        from stvc.model.weights import default_model_id

        return f"{default_model_id(self._effort)}, format {FORMAT_VERSION}"

    @property
    def _effort(self) -> str:
        return dict(self.options).get("effort", "default")

    @property
    def exact_psnr(self) -> bool:
        """Sweep the reported PSNRs themselves."""
        return not self.bounded

    def encode(self, cube: Cube, parameter: float) -> Encoded:
        """Write an archive; its bytes hold masks, metadata and checksums as well."""
        import stvc
        from stvc.dataset import dataset_from_series

        quality: dict[str, Any] = (
            {"psnr": parameter}
            if not self.bounded
            else ({"max_error": int(parameter)} if parameter else {"lossless": True})
        )
        with _no_cache() as scratch:
            path = scratch / "cube.stvc"
            stvc.encode(
                dataset_from_series(cube.series),
                path,
                cache_dir=scratch / "cache",
                **quality,
                **dict(self.options),
            )
            return Encoded(([path.read_bytes()],))

    def decode(self, encoded: Encoded) -> tuple[U16, ...]:
        """Open and decode the archive, with nothing beside it."""
        import stvc
        from stvc.dataset import series_from_dataset

        with _no_cache() as scratch:
            path = scratch / "cube.stvc"
            path.write_bytes(encoded.payloads[0][0])
            return series_from_dataset(stvc.open(path).to_xarray()).pixels


def stvc_codec(bounded: bool = False, **options: str) -> StvcCodec:
    """Build the codec; an ImportError if this stvc cannot encode.

    Parameters
    ----------
    bounded : bool
        The parameter is an error bound.
    **options : str
        ``reference``, ``clouds`` or ``effort`` of ``stvc.encode``.
    """
    from stvc import encode, open  # noqa: F401

    return StvcCodec(bounded, tuple(options.items()))


@contextmanager
def _no_cache() -> Iterator[Path]:
    """Make an empty folder, the background cache too: a rate counts what the file alone holds."""
    with tempfile.TemporaryDirectory() as folder:
        before = os.environ.get("STVC_CACHE_DIR")
        os.environ["STVC_CACHE_DIR"] = str(Path(folder, "cache"))
        try:
            yield Path(folder)
        finally:
            del os.environ["STVC_CACHE_DIR"]
            if before is not None:
                os.environ["STVC_CACHE_DIR"] = before
