"""Integer columns in few bytes, and zstd frames; see `docs/format/file.md`."""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
import zstandard

from stvc.errors import CorruptError, TooLargeError

I64 = npt.NDArray[np.int64]

_LEVEL = 19
_DIFFERENCES = 16
_BOUND = 2**60
_MAGICLESS = zstandard.FORMAT_ZSTD1_MAGICLESS
# No content size, checksum or dictionary: all of that is told, or checked, around the frame.
_COMPACT = zstandard.ZstdCompressionParameters.from_level(
    _LEVEL, format=_MAGICLESS, write_content_size=False, write_checksum=False, write_dict_id=False
)


def deflate(block: bytes, dictionary: bytes = b"") -> bytes:
    """Compress ``block`` to a zstd frame; with a dictionary, to one without its magic number."""
    if dictionary:
        words = zstandard.ZstdCompressionDict(dictionary, zstandard.DICT_TYPE_FULLDICT)
        packer = zstandard.ZstdCompressor(dict_data=words, compression_params=_COMPACT)
        return packer.compress(block)
    return zstandard.ZstdCompressor(level=_LEVEL, write_content_size=False).compress(block)


def inflate(block: bytes, limit: int, *, magicless: bool = False, dictionary: bytes = b"") -> bytes:
    """Decompress a zstd frame without trusting the size that it declares.

    Parameters
    ----------
    block : bytes
        One zstd frame.
    limit : int
        Most bytes to accept.
    magicless : bool
        Whether the frame lacks its magic number.
    dictionary : bytes
        What it was compressed with.

    Returns
    -------
    bytes

    Raises
    ------
    TooLargeError
        If more than ``limit`` bytes come out.
    CorruptError
        If this is no zstd frame.
    """
    words = None
    if dictionary:
        words = zstandard.ZstdCompressionDict(dictionary, zstandard.DICT_TYPE_FULLDICT)
    decompressor = zstandard.ZstdDecompressor(
        format=_MAGICLESS if magicless else zstandard.FORMAT_ZSTD1,
        max_window_size=2**27,
        dict_data=words,
    )
    parts: list[bytes] = []
    total = 0
    try:
        with decompressor.stream_reader(io.BytesIO(block)) as stream:
            while part := stream.read(1 << 20):
                parts.append(part)
                total += len(part)
                if total > limit:
                    raise TooLargeError(
                        f"a compressed block of {len(block)} bytes unpacks to more than the "
                        f"accepted {limit} bytes; raise max_bytes if the file is trusted"
                    )
    except zstandard.ZstdError as error:
        raise CorruptError(f"a compressed block cannot be unpacked ({error})") from error
    return b"".join(parts)


def write_varint(value: int) -> bytes:
    """Write a non-negative integer in base 128, least significant group first."""
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    groups.append(value)
    return bytes(groups)


class Cursor:
    """Reads numbers from a block and complains instead of running over its end.

    Parameters
    ----------
    block : bytes
        What to read from.
    """

    def __init__(self, block: bytes) -> None:
        self._block = block
        self.position = 0

    def take(self, count: int) -> bytes:
        """Return the next ``count`` bytes; CorruptError if there are fewer."""
        end = self.position + count
        if end > len(self._block):
            raise CorruptError(
                f"a record of {count} bytes runs over the end of its {len(self._block)} byte block"
            )
        part = self._block[self.position : end]
        self.position = end
        return part

    def varint(self) -> int:
        """Read a varint of at most 63 bits."""
        value = 0
        for shift in range(0, 63, 7):
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise CorruptError("a variable-length number does not end")

    def zigzag(self) -> int:
        """Read a signed varint."""
        value = self.varint()
        return -(value + 1 >> 1) if value & 1 else value >> 1

    def rest(self) -> bytes:
        """Return all bytes that are left."""
        return self.take(len(self._block) - self.position)


def encode_column(values: npt.ArrayLike) -> bytes:
    """Write a column of integers in the cheapest of the modes.

    Parameters
    ----------
    values : array-like, (n,) integers
        Magnitudes below 2**60.

    Returns
    -------
    bytes

    Raises
    ------
    ValueError
        If a value is too large.
    """
    column = np.asarray(values, dtype=np.int64)
    if column.size == 0:
        return b""
    if int(column.max()) >= _BOUND or int(column.min()) <= -_BOUND:
        raise ValueError(f"column value {np.abs(column).max()} is not below 2**60")
    candidates = [
        candidate
        for flag, numbers in ((0, column), (_DIFFERENCES, np.diff(column, prepend=0)))
        for candidate in _packings(numbers, flag)
    ]
    return min(candidates, key=len)


def _packings(numbers: I64, flag: int) -> list[bytes]:
    base = int(numbers.min())
    offsets = (numbers - base).astype(np.uint64)
    width = int(offsets.max()).bit_length()
    start = write_varint(base << 1 if base >= 0 else -(base << 1) - 1)
    if width == 0:
        return [bytes((flag,)) + start]
    planes = offsets.astype("<u8").view(np.uint8).reshape(-1, 8)
    bits = np.unpackbits(planes, axis=1, count=width, bitorder="little")
    packed = np.packbits(bits.ravel(), bitorder="little").tobytes()
    count = (width + 7) // 8
    squeezed = zstandard.ZstdCompressor(compression_params=_COMPACT).compress(
        planes[:, :count].T.tobytes()
    )
    return [
        bytes((flag | 1,)) + start + bytes((width,)) + packed,
        bytes((flag | 2,)) + start + bytes((count,)) + write_varint(len(squeezed)) + squeezed,
    ]


def decode_column(cursor: Cursor, count: int) -> I64:
    """Read a column.

    Parameters
    ----------
    cursor : Cursor
        Stands at the column; afterwards behind it.
    count : int
        Number of values. The caller bounds it: ``8 * count`` bytes are allocated.

    Returns
    -------
    ndarray, (count,) int64

    Raises
    ------
    CorruptError
        If the column breaks the format.
    """
    if count == 0:
        return np.zeros(0, np.int64)
    mode = cursor.take(1)[0]
    base = cursor.zigzag()
    offsets = np.zeros(count, np.uint64)
    kind = mode & ~_DIFFERENCES
    if kind in (1, 2):
        width = cursor.take(1)[0]
        if not 1 <= width <= (63 if kind == 1 else 8):
            raise CorruptError(f"a column declares a width of {width}")
        if kind == 1:
            packed = np.frombuffer(cursor.take((count * width + 7) // 8), np.uint8)
            bits = np.unpackbits(packed, count=count * width, bitorder="little")
            planes = np.zeros((count, 8), np.uint8)
            grouped = np.packbits(bits.reshape(count, width), axis=1, bitorder="little")
            planes[:, : grouped.shape[1]] = grouped
        else:
            squeezed = cursor.take(cursor.varint())
            plain = inflate(squeezed, count * width, magicless=True)
            if len(plain) != count * width:
                raise CorruptError(f"a column has {len(plain)} bytes instead of {count * width}")
            planes = np.zeros((count, 8), np.uint8)
            planes[:, :width] = np.frombuffer(plain, np.uint8).reshape(width, count).T
        offsets = planes.view("<u8").ravel().astype(np.uint64)
    elif kind != 0:
        raise CorruptError(f"a column has the unknown mode {mode}")
    numbers = offsets.astype(np.int64) + base
    return np.cumsum(numbers) if mode & _DIFFERENCES else numbers
