"""Predictive coder of one unit: lossless, or every pixel within a bound, in the pixel domain.

Payload: byte 0 is the form (constant, packed pixels, raw, predicted, learned). Predicted: per band
the first value and a curve for its scales, then the symbols, step by step: differences to the
prediction in units of ``2 E + 1`` DN, under logistic tables. Learned (from generation 5 on): some
bands, each as a bit says, have their differences under the pixel network's mixtures instead. From
generation 6 on, without loss, bands may lean on traces of earlier processing in their values; from
generation 7 on they may be told as they were before JPEG 2000 cut them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import zstandard

from stvc.codec.predictive_front import PEAK
from stvc.codec.predictive_layout import BANDS_BACK, MARGIN, Layout, layout_of
from stvc.codec.predictive_learning import Memories, Memory
from stvc.codec.predictive_part import (
    BandCoding,
    CodedStep,
    Part,
    mixture_at,
    mixture_bits,
    read_step,
)
from stvc.codec.predictive_scales import fit_curves
from stvc.codec.predictive_traces import Traces
from stvc.codec.predictive_walk import Bool, Step, walk
from stvc.codec.rangecoder import Reader, Writer
from stvc.codec.trace_choice import find_traces
from stvc.codec.trace_rules import BandTraces, Tellable
from stvc.errors import CorruptError

U16 = npt.NDArray[np.uint16]
I64 = npt.NDArray[np.int64]
F64 = npt.NDArray[np.float64]

CONSTANT, PACKED, RAW, PREDICTED, LEARNED = range(5)
NETWORKED = 5
"""The first generation with a pixel network."""
TRACED = 6
"""The first generation whose lossless units lean on traces of earlier processing."""
MAX_REFERENCES = 3
_BANDS_AT_ONCE = 13
_PACK_LEVEL = 19


@dataclass(frozen=True)
class EncodedPixels:
    """A payload and what the decoder will make of it."""

    payload: bytes
    decoded: U16
    """(C, H, W)."""
    memory: Memories
    """For the next date."""


def encode(
    pixels: U16,
    references: Sequence[npt.NDArray[np.generic]] = (),
    *,
    hidden: Bool | None = None,
    unclear: Bool | None = None,
    max_error: int = 0,
    memory: Memories = (),
    generation: int = 2,
    networked: bool = False,
) -> EncodedPixels:
    """Encode the pixels of one date.

    Parameters
    ----------
    pixels : array, (C, H, W) uint16
    references : sequence of array, each (C, H, W) integers in 0 to 65535
        Decoded earlier frames, the most alike first; more than three are ignored.
    hidden : array, (H, W) bool, optional
        Pixels that may become anything.
    unclear : array, (H, W) bool, optional
        Pixels whose values are hard to foresee: clouds that are coded all the same.
    max_error : int
        E: every pixel that is not hidden comes back within E DN; 0 is lossless.
    memory : tuple of Memory, optional
        What the date before taught, if it was coded this way, too.
    generation : int
        Of the codec.
    networked : bool
        Ask the pixel network, from generation 5 on: smaller, and slower to encode and to decode.
    """
    if not pixels.size:
        return EncodedPixels(bytes([CONSTANT]), pixels.copy(), memory)
    shown = pixels if hidden is None else pixels[:, ~hidden]
    low, high = (int(shown.min()), int(shown.max())) if shown.size else (0, 0)
    if high - low <= 2 * max_error:
        middle = (low + high) // 2
        constant = bytes([CONSTANT]) + middle.to_bytes(2, "little")
        return EncodedPixels(constant, np.full_like(pixels, middle), memory)
    pitch = 2 * max_error + 1
    networked = networked and generation >= NETWORKED
    decoded = np.empty_like(pixels)
    order = _order(generation)
    references = [frame[order] for frame in references]
    tellable = _tellable(generation, max_error, pixels.shape[1:], hidden)
    learned: list[Memory] = []
    parts: list[Part] = []
    for k, bands in enumerate(_parts(len(pixels))):
        values = pixels[order][bands].astype(np.int64)
        told: list[BandTraces] = []
        if tellable is not None:
            values, told = find_traces(values, hidden, tellable)
        layout = layout_of(values.shape, generation)
        source = layout.planes(values).astype(np.int64)
        coded: list[CodedStep] = []

        def code(step: Step, source: I64 = source, coded: list[CodedStep] = coded) -> I64:
            whole = step.whole
            levels = (source[step.cells] - whole + max_error) // pitch
            mixture = mixture_at(step, pitch, generation) if networked else None
            coded.append((replace(step, seen=None, copies=None, told=None), levels, mixture))
            return np.asarray(np.clip(whole + levels * pitch, 0, PEAK), np.int64)

        first = values[:, 0, 0].copy()
        own, taught = walk(
            layout,
            _planes(layout, references, bands),
            *_flags(layout, hidden, unclear),
            first.astype(np.float64),
            max_error,
            memory[k] if memory else None,
            code,
            generation,
            networked=networked,
        )
        learned.append(taught)
        curves, plain_bits = fit_curves(
            [(step, levels) for step, levels, _ in coded], len(values), pitch
        )
        by_mixture = np.zeros(len(values), bool)
        if networked:
            by_mixture = _cheaper(plain_bits, mixture_bits(coded, len(values)))
        coding = BandCoding(by_mixture, curves, tellable, told)
        decoded[bands] = coding.cut(_pixels(layout, own))
        parts.append(Part(first, coding, coded, source, coding.traces(layout, hidden)))
    form = LEARNED if any(part.coding.by_mixture.any() for part in parts) else PREDICTED
    # ^ where no band takes mixtures, decoders need not gather what the network would see
    writer = Writer()
    for part in parts:
        part.write(writer, pitch, flagged=form == LEARNED)
    payload = bytes([form]) + writer.getvalue()
    if len(payload) > pixels.nbytes // 2:
        little = np.ascontiguousarray(pixels, "<u2").tobytes()
        packed = zstandard.compress(little, _PACK_LEVEL)
        plain = bytes([PACKED]) + packed if len(packed) < len(little) else bytes([RAW]) + little
        if len(plain) < len(payload):
            return EncodedPixels(plain, pixels.copy(), memory)
    return EncodedPixels(payload, decoded[order], tuple(learned))


def decode(
    payload: bytes,
    shape: tuple[int, int, int],
    references: Sequence[npt.NDArray[np.generic]] = (),
    *,
    hidden: Bool | None = None,
    unclear: Bool | None = None,
    max_error: int = 0,
    memory: Memories = (),
    generation: int = 2,
) -> tuple[U16, Memories]:
    """Invert `encode`, given the same references, flags and memory.

    Raises
    ------
    CorruptError
        If the payload cannot have been written by `encode`.
    """
    form, body = payload[:1], payload[1:]
    if not int(np.prod(shape)):
        return np.zeros(shape, np.uint16), memory
    if form == bytes([CONSTANT]) and len(body) == 2:
        return np.full(shape, int.from_bytes(body, "little"), np.uint16), memory
    if form == bytes([PACKED]) or form == bytes([RAW]):
        return _unpack(body, shape, packed=form == bytes([PACKED])), memory
    networked = form == bytes([LEARNED]) and generation >= NETWORKED
    if form != bytes([PREDICTED]) and not networked:
        raise CorruptError(f"unknown form {form!r} of a predicted unit; the payload is damaged")
    pitch = 2 * max_error + 1
    tellable = _tellable(generation, max_error, shape[1:], hidden)
    reader = Reader(body)
    decoded = np.empty(shape, np.uint16)
    order = _order(generation)
    references = [frame[order] for frame in references]
    learned: list[Memory] = []
    for k, part in enumerate(_parts(shape[0])):
        layout = layout_of((part.stop - part.start, *shape[1:]), generation)
        count = part.stop - part.start
        first = reader.bits(count, 16)
        coding = BandCoding.read(reader, layout.shape, flagged=networked, tellable=tellable)
        traces = coding.traces(layout, hidden)

        def code(step: Step, coding: BandCoding = coding, traces: Traces | None = traces) -> I64:
            levels = read_step(reader, step, pitch, coding, traces, generation)
            return np.asarray(np.clip(step.whole + levels * pitch, 0, PEAK), np.int64)

        own, taught = walk(
            layout,
            _planes(layout, references, part),
            *_flags(layout, hidden, unclear),
            first.astype(np.float64),
            max_error,
            memory[k] if memory else None,
            code,
            generation,
            networked=networked,
        )
        learned.append(taught)
        decoded[part] = coding.cut(_pixels(layout, own))
    return decoded[order], tuple(learned)


def _tellable(
    generation: int, max_error: int, shape: tuple[int, ...], hidden: Bool | None
) -> Tellable | None:
    """What bands may say of traces in their values."""
    if generation < TRACED or max_error:
        return None
    return Tellable.of(generation, shape, hidden)


def _cheaper(plain: F64, mixed: F64) -> Bool:
    """Which bands take mixtures: of what the network has never seen, curves may tell more."""
    return np.asarray(mixed < plain, bool)


def _order(generation: int) -> slice:
    """Bands in coding order; it is its own inverse."""
    return slice(None, None, -1 if generation > 2 else 1)
    # ^ from generation 3 on the last one first: infrared tells more of blue than blue of it


def _parts(bands: int) -> Iterator[slice]:
    """Bands that are coded together: memory grows with their number."""
    for start in range(0, bands, _BANDS_AT_ONCE):
        yield slice(start, min(start + _BANDS_AT_ONCE, bands))


def _planes(
    layout: Layout, references: Sequence[npt.NDArray[np.generic]], part: slice
) -> list[npt.NDArray[np.float64]]:
    return [layout.planes(frame[part]) for frame in references[:MAX_REFERENCES]]


def _pixels(layout: Layout, own: npt.NDArray[np.float64]) -> U16:
    c, h, w = layout.shape
    planes = own[BANDS_BACK * layout.plane :].reshape(c, h + 2 * MARGIN, w + 2 * MARGIN)
    return planes[:, MARGIN:-MARGIN, MARGIN:-MARGIN].astype(np.uint16)


def _flags(layout: Layout, hidden: Bool | None, unclear: Bool | None) -> tuple[Bool | None, Bool]:
    """Bring (H, W) flags into coding order."""
    within = layout.cells % layout.plane

    def ordered(flags: Bool) -> Bool:
        return np.asarray(np.pad(flags, MARGIN).reshape(-1)[within], bool)

    never = np.zeros(len(layout.cells), bool)
    return (
        None if hidden is None or not hidden.any() else ordered(hidden),
        never if unclear is None else ordered(unclear),
    )


def _unpack(body: bytes, shape: tuple[int, int, int], *, packed: bool) -> U16:
    want = int(np.prod(shape)) * 2
    little = body
    if packed:
        try:
            if zstandard.frame_content_size(body) != want:
                raise CorruptError("a packed unit declares a wrong size; the payload is damaged")
            little = zstandard.decompress(body, max_output_size=want)
        except zstandard.ZstdError as error:
            raise CorruptError(
                f"a packed unit cannot be unpacked ({error}); the payload is damaged"
            ) from None
    if len(little) != want:
        raise CorruptError(
            f"a packed unit holds {len(little)} bytes, not {want}; the payload is damaged"
        )
    return np.frombuffer(little, "<u2").reshape(shape).astype(np.uint16)
