"""Ways to break an input: any byte of it, or its structure behind right checksums."""

from __future__ import annotations

import hashlib
import io
import json
import random
from dataclasses import dataclass, replace
from typing import Any

from stvc.archive import ArchiveReader, FrameRecord, Kind, UnitInfo, UnitKey
from stvc.archive.blobs import pack_text
from stvc.archive.columns import deflate
from stvc.archive.index import pack_index
from stvc.archive.layout import Locator, build_head, crc

ABSURD: tuple[Any, ...] = (
    None, True, "", "x", "../../etc/passwd", "a/b", "\0", "\x1b[2J", "é" * 300, -1, 0, 1, 2, 3, 7,
    255, 256, 65535, 65536, 2**24, 2**31, 2**53, 2**63, 2**64, 10**400, -(2**40), 0.5, 1e-320,
    1e308, float("inf"), float("nan"), [], {}, [[]], [None], {"": None}, [0] * 40,
    ["values"], ["values", 0], [0, 0, 5], [0, 10, 2**24], [0, 1e308, 9], ["values", "a", "b"],
)  # fmt: skip


@dataclass
class Parts:
    """An archive taken apart, to be changed and put together again with right checksums."""

    header: Any
    frames: list[FrameRecord]
    units: list[tuple[UnitKey, bytes, tuple[int, int, int]]]
    major: int

    @classmethod
    def of(cls, block: bytes) -> Parts:
        """Take an archive apart."""
        reader = ArchiveReader.open(io.BytesIO(block))
        units = [(key, reader.read(key), info.stats) for key, info in reader.units.items()]
        header, major = json.loads(json.dumps(reader.header)), reader.locator.major
        return cls(header, list(reader.frames), units, major)

    def join(self, dice: random.Random | None = None) -> bytes:
        """Put it together; numbers that the format cannot hold raise ValueError.

        With ``dice`` the bytes of the index are broken behind its checksum.
        """
        told = json.dumps(self.header).encode("utf-8", "surrogatepass")
        frame = pack_text(told, self.major)
        header = frame + crc(frame)
        entries, offset = [], 0
        for key, payload, stats in self.units:
            check = int.from_bytes(crc(payload), "little")
            entries.append((key, UnitInfo(offset, len(payload), check, stats)))
            offset += len(payload)
        index = pack_index(self.frames, entries, self.major)
        if dice is not None:
            body = mutate_bytes(index[:-4], dice)
            index = body + crc(body)
        head = build_head(Locator(len(header), len(index), offset, self.major))
        return head + header + index + b"".join(payload for _, payload, _ in self.units)


def mutate_json(value: Any, dice: random.Random) -> Any:
    """Change one place of a JSON value."""
    if isinstance(value, (dict, list)) and value and dice.random() < 0.93:
        if isinstance(value, dict):
            key = dice.choice(list(value))
            turn = dice.random()
            if turn < 0.06:
                return {k: v for k, v in value.items() if k != key}
            if turn < 0.1:
                return {**value, str(dice.choice(ABSURD)): dice.choice(ABSURD)}
            return {**value, key: mutate_json(value[key], dice)}
        copy, where = list(value), dice.randrange(len(value))
        turn = dice.random()
        if turn < 0.06:
            del copy[where]
        elif turn < 0.12:
            copy.insert(where, dice.choice([dice.choice(ABSURD), copy[where]]))
        else:
            copy[where] = mutate_json(copy[where], dice)
        return copy
    if isinstance(value, (int, float)) and dice.random() < 0.5:
        return value + dice.choice((-1, 1, 0.5, 2**15, -(2**15), 2**40)) * dice.randint(1, 9)
    if dice.random() < 0.02:
        deep: Any = 0
        for _ in range(dice.choice((10, 900))):
            deep = [deep]
        return deep
    return dice.choice(ABSURD)


def mutate_bytes(block: bytes, dice: random.Random) -> bytes:
    """Flip, cut, repeat, insert or replace bytes."""
    out = bytearray(block)
    for _ in range(dice.choice((1, 1, 1, 2, 4, 16))):
        turn, where = dice.random(), dice.randrange(len(out) + 1)
        if turn < 0.4 and out:
            out[where % len(out)] ^= 1 << dice.randrange(8)
        elif turn < 0.55 and out:
            out[where % len(out)] = dice.choice((0, 1, 127, 128, 255))
        elif turn < 0.7:
            out[where : where + dice.choice((1, 2, 8, 64))] = b""
        elif turn < 0.85:
            out[where:where] = dice.randbytes(dice.choice((1, 2, 8, 64)))
        else:
            size = dice.choice((4, 16, 256))
            out[where : where + size] = dice.randbytes(size)
    return bytes(out)


def mutate_archive(block: bytes, dice: random.Random) -> bytes:
    """Break an archive: any byte, or header, index or provenance behind right checksums."""
    if dice.random() < 0.2:
        return mutate_bytes(block, dice)
    parts = Parts.of(block)
    for _ in range(dice.choice((1, 1, 2, 3))):
        turn = dice.random()
        if turn < 0.55:
            parts.header = mutate_json(parts.header, dice)
        elif turn < 0.7 and parts.frames:
            where = dice.randrange(len(parts.frames))
            frame = parts.frames[where]
            parts.frames[where] = dice.choice(
                (
                    replace(frame, time=dice.choice((-(2**59), 2**59, 0, 2**33, -(2**36)))),
                    replace(frame, stats=tuple(dice.choice((0, 1, 255, 2**59)) for _ in range(3))),
                    replace(frame, provenance=_provenance(frame.provenance, dice)),
                    parts.frames[dice.randrange(len(parts.frames))],
                )
            )
        elif turn < 0.8 and parts.frames:
            dice.choice((parts.frames.pop, parts.frames.reverse, lambda: None))()
        elif parts.units:
            where = dice.randrange(len(parts.units))
            key, payload, stats = parts.units[where]
            changed = list(key)
            changed[dice.randrange(4)] = dice.choice((0, 1, 2, 5, 255, 2**31, 2**59))
            numbers = tuple(dice.choice((0, 1, 1000, 2**31, 2**59)) for _ in range(3))
            parts.units[where] = dice.choice(
                (
                    (UnitKey(Kind(changed[0] % 3), *changed[1:]), payload, stats),
                    (key, payload, (numbers[0], numbers[1], numbers[2])),
                    (key, b"", stats),
                    (key, dice.choice(parts.units)[1], stats),
                )
            )
    return parts.join(dice if dice.random() < 0.15 else None)


def _provenance(before: dict[str, Any], dice: random.Random) -> dict[str, Any]:
    known = {**before, dice.choice(("product_id", "B04", "time", "__supersedes__")): 0}
    changed = mutate_json(known, dice)
    return changed if isinstance(changed, dict) else known


def mutate_payload(block: bytes, dice: random.Random) -> bytes:
    """Break payloads behind right checksums, in a few units."""
    parts = Parts.of(block)
    for _ in range(dice.choice((1, 1, 2, 5))):
        where = dice.randrange(len(parts.units))
        key, payload, stats = parts.units[where]
        turn = dice.random()
        if turn < 0.25:
            payload = dice.randbytes(dice.choice((1, 2, 3, 5, 9, 40, 600)))
        elif turn < 0.4:
            first = dice.randrange(256) if dice.random() < 0.3 else dice.choice((0, 1, 2, 4, 5))
            payload = bytes([first]) + dice.randbytes(len(payload) + 3)
        elif turn < 0.45:
            payload = bytes([2, 1]) + deflate(bytes(dice.choice((1 << 8, 1 << 22))))
        else:
            payload = mutate_bytes(payload, dice)
        parts.units[where] = (key, payload, stats)
        if key.kind is Kind.BACKGROUND and isinstance(parts.header, dict):
            parts.header["background"] = hashlib.sha256(payload).hexdigest()
    return parts.join()


def mutate_aoi(block: bytes, dice: random.Random) -> bytes:
    """Break GeoJSON: its text, or its structure."""
    if dice.random() < 0.3:
        return mutate_bytes(block, dice)
    if dice.random() < 0.1:
        depth = dice.choice((50, 5000))
        kind = dice.choice(("geometries", "features"))
        return (b'{"type":"GeometryCollection","%s":[' % kind.encode()) * depth
    value = json.loads(block)
    for _ in range(dice.randint(1, 4)):
        value = mutate_json(value, dice)
    return json.dumps(value).encode("utf-8", "surrogatepass")


def mutate_toml(block: bytes, dice: random.Random) -> bytes:
    """Break TOML: its text, its values, its depth."""
    lines = block.decode("utf-8", "replace").split("\n")
    where = dice.randrange(len(lines))
    turn = dice.random()
    if turn < 0.3:
        return mutate_bytes(block, dice)
    if turn < 0.4:
        lines.insert(where, "x = " + "[" * dice.choice((20, 20_000)))
    elif turn < 0.75 and "=" in lines[where]:
        value = dice.choice(ABSURD)
        told = json.dumps(value).replace("null", "nan").replace("NaN", "nan")
        lines[where] = lines[where].split("=")[0] + "= " + told.replace("Infinity", "inf")
    elif turn < 0.9:
        lines.insert(where, dice.choice(lines))
    else:
        del lines[where]
    return "\n".join(lines).encode("utf-8", "surrogatepass")
