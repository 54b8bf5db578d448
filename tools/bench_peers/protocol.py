"""What a codec must do to be measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from bench_peers.cubes import Cube
from bench_peers.spectral import Spectral
from stvc.types import U16


@dataclass(frozen=True)
class Encoded:
    """Everything a decoder gets."""

    payloads: tuple[list[bytes], ...]
    """Per band group."""
    shapes: tuple[tuple[int, ...], ...] = ()
    """Per band group (T, C, H, W)."""
    transform: Spectral | None = None
    """Spectral side information."""

    @property
    def nbytes(self) -> int:
        """Rate: payloads, four uint16 per shape, side information; no framing (peers' favor)."""
        return (
            sum(len(payload) for group in self.payloads for payload in group)
            + 8 * len(self.shapes)
            + (self.transform.nbytes if self.transform else 0)
        )


class Codec(Protocol):
    """A codec that can be measured."""

    mode: str
    """``"image"`` or ``"append"``: dates can be added; ``"series"``: all dates at once."""
    ladder: tuple[float, ...]
    """Parameters from fine to coarse; () if it has no lossy parameter to sweep."""
    bounded: bool
    """The parameter is the largest error, kept on clear pixels; 0 is lossless."""

    def encode(self, cube: Cube, parameter: float) -> Encoded:
        """Code all groups of a cube."""

    def decode(self, encoded: Encoded) -> tuple[U16, ...]:
        """Decode to one (T, C, H, W) array per group."""
