"""Reading a reply of the Process API: a tar of TIFFs, believed as far as it fits the request."""

from __future__ import annotations

import io
import json
import logging
import tarfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stvc.types import U8, U16

_RAW, _LZW = 1, 5
_DEFLATE = (8, 32946)
_DTYPES: dict[str, np.dtype[Any]] = {
    "bands": np.dtype(np.uint16),
    "mask": np.dtype(np.uint8),
    "dataMask": np.dtype(np.uint8),
}


class DamagedReplyError(Exception):
    """A reply is not what was asked for: cut short, undecodable, or of another size."""


@dataclass(frozen=True)
class Pixels:
    """What a reply holds."""

    bands: U16
    """(C, H, W) digital numbers, 0 = nodata; what is imaged is never 0."""
    mask: U8
    """(M, H, W) mask layers as they came."""
    imaged: npt.NDArray[np.bool_]
    """(H, W) whether there is data."""
    products: tuple[str, ...]
    """Products that the service says it used; () if it does not say."""


def read_reply(body: bytes, content: Mapping[str, int], shape: tuple[int, int]) -> Pixels:
    """Read the images of a reply.

    Parameters
    ----------
    body : bytes
        A tar with one ``NAME.tif`` an output.
    content : mapping of str to int
        Expected outputs with their channels, ``dataMask`` among them.
    shape : tuple of int
        (H, W) of each.

    Returns
    -------
    Pixels

    Raises
    ------
    DamagedReplyError
        If anything is missing, damaged or of another size or type. Nothing is allocated by what
        the reply says of itself.
    """
    members = _members(body)
    images = {}
    for name, channels in content.items():
        if f"{name}.tif" not in members:
            raise DamagedReplyError(f"{name}.tif is missing in it")
        try:
            images[name] = _read_tiff(members[f"{name}.tif"], (*shape, channels), _DTYPES[name])
        except DamagedReplyError as problem:
            raise DamagedReplyError(f"{name}.tif {problem}") from None
    imaged = images["dataMask"][0] != 0
    bands = images.get("bands", np.zeros((0, *shape), np.uint16))
    # A clear pixel may be as dark as 0 once the offset is off; 0 would declare it nodata.
    bands = np.where(imaged, np.maximum(bands, 1), 0).astype(np.uint16)
    return Pixels(
        bands=bands,
        mask=images.get("mask", np.zeros((0, *shape), np.uint8)),
        imaged=imaged,
        products=_products(members.get("userdata.json")),
    )


def _members(body: bytes) -> dict[str, bytes]:
    members: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(body), mode="r:") as tar:
            for member in tar:
                if not member.isfile():
                    continue
                if member.size > len(body) or len(members) >= 16:
                    raise DamagedReplyError("is no archive of a few images")
                file = tar.extractfile(member)
                content = b"" if file is None else file.read()
                if len(content) != member.size:
                    raise DamagedReplyError("is cut short")
                members[member.name.removeprefix("./")] = content
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise DamagedReplyError(f"is no archive of images, or cut short ({error})") from None
    return members


def _read_tiff(body: bytes, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Read a TIFF of (H, W, C) pixels as (C, H, W)."""
    import tifffile

    height, width, channels = shape
    try:
        with tifffile.TiffFile(io.BytesIO(body)) as tiff:
            page = tiff.pages.first
            found = (page.imagelength, page.imagewidth, page.samplesperpixel)
            if found != shape or page.imagedepth != 1 or page.dtype != dtype:
                raise DamagedReplyError(
                    f"has {found} pixels of {page.dtype}, want {shape} of {dtype}"
                )
            _check_segments(body, page)
            pixels = np.asarray(page.asarray(maxworkers=1))
            planar = int(page.planarconfig) == 2
    except DamagedReplyError:
        raise
    except Exception as error:
        # Whatever a decoder stumbles over in foreign bytes: zlib.error, IndexError, struct.error...
        raise DamagedReplyError(f"cannot be decoded ({type(error).__name__})") from None
    if pixels.size != height * width * channels:
        raise DamagedReplyError(f"decodes to {pixels.shape} pixels, want {shape}")
    if planar and channels > 1:
        return pixels.reshape(channels, height, width)
    return np.moveaxis(pixels.reshape(shape), -1, 0)


def _check_segments(body: bytes, page: Any) -> None:
    """Check strips and tiles before they are decoded: all there, and none larger than it says.

    The decoder takes strips that lie beyond the end of a file for empty, and inflates whatever
    there is.
    """
    compression = int(page.compression)
    if compression not in (_RAW, _LZW, *_DEFLATE):
        raise DamagedReplyError(f"has compression {compression}, want deflate, LZW or none")
    height, width = page.imagelength, page.imagewidth
    rows, cols = min(page.rowsperstrip or height, height), width
    if page.is_tiled:
        rows, cols = page.tilelength, page.tilewidth
        if rows * cols > max(4 * height * width, 1 << 20):
            raise DamagedReplyError(f"has tiles of {rows} by {cols} pixels")
    planes = page.samplesperpixel if int(page.planarconfig) == 2 else 1
    line = cols * (page.samplesperpixel // planes) * page.dtype.itemsize
    down, across = -(-height // rows), -(-width // cols)
    offsets, counts = page.dataoffsets, page.databytecounts
    if len(offsets) != len(counts) or len(offsets) != down * across * planes:
        raise DamagedReplyError(f"has {len(offsets)} strips, want {down * across * planes}")
    for index, (offset, count) in enumerate(zip(offsets, counts, strict=True)):
        if count <= 0 or offset < 0 or offset + count > len(body):
            raise DamagedReplyError("is cut short")
        # The last strip may end with the image, or go on to its full height.
        least = rows if page.is_tiled else min(rows, height - index % down * rows)
        if compression in _DEFLATE:
            inflater = zlib.decompressobj()
            size = len(inflater.decompress(body[offset : offset + count], rows * line + 1))
            if not inflater.eof:
                raise DamagedReplyError("is cut short, or inflates to more than it holds")
        else:
            size = count
        if size < least * line and compression != _LZW:
            raise DamagedReplyError("is cut short")


def _products(raw: bytes | None) -> tuple[str, ...]:
    """Read which products the service says it used: a courtesy, whose lack is no error."""
    try:
        told = json.loads(raw or b"{}")["products"]
        return tuple(sorted({p.removesuffix(".SAFE") for p in told if isinstance(p, str) and p}))
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()


logging.getLogger("tifffile").addHandler(logging.NullHandler())
# ^ It logs what it finds odd in a file; we raise instead, and stderr stays ours.
