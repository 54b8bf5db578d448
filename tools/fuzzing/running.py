"""Execute inputs, bounded in memory and time, and keep what should not have happened."""

from __future__ import annotations

import random
import resource
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

from fuzzing.targets import TARGETS
from stvc.errors import StvcError


@dataclass
class Tally:
    """What a run found."""

    executions: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    findings: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    """Per place in the code: the traceback and the first input that reached it."""
    slowest: float = 0.0
    slowest_input: bytes = b""

    def attempt(self, use: Callable[[bytes, Path], None], block: bytes, scratch: Path) -> None:
        """Execute one input."""
        began = time.perf_counter()
        self.executions += 1
        try:
            use(block, scratch)
            self.outcomes["well"] += 1
        except StvcError as error:
            self.outcomes[type(error).__name__] += 1
        except Exception as error:
            self.outcomes["finding"] += 1
            place = f"{type(error).__name__} at {_place(error)}"
            self.findings.setdefault(place, (traceback.format_exc(), block))
        took = time.perf_counter() - began
        if took > self.slowest:
            self.slowest, self.slowest_input = took, block


def _place(error: BaseException) -> str:
    lines = [f for f in traceback.extract_tb(error.__traceback__) if "/stvc/" in f.filename]
    return f"{Path(lines[-1].filename).name}:{lines[-1].lineno}" if lines else "outside stvc"


@contextmanager
def limits(memory: int, patience: int) -> Iterator[None]:
    """Turn over-allocation into MemoryError, and hanging into TimeoutError."""

    def too_slow(_: int, __: FrameType | None) -> None:
        raise TimeoutError(f"more than {patience} s")

    before = resource.getrlimit(resource.RLIMIT_DATA)
    used = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmData")
    )
    resource.setrlimit(resource.RLIMIT_DATA, (used + memory, before[1]))
    previous = signal.signal(signal.SIGALRM, too_slow)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)
        resource.setrlimit(resource.RLIMIT_DATA, before)


def fuzz(
    name: str,
    *,
    seconds: float = 1e9,
    executions: int = 1 << 60,
    seed: int = 0,
    memory: int = 1 << 30,
    patience: int = 60,
    largest: int = 1 << 30,
) -> Tally:
    """Attack one target for a while; smaller inputs more often, those beyond ``largest`` never."""
    target, dice, tally = TARGETS[name], random.Random(seed), Tally()
    seeds = sorted((block for block in target.seeds() if len(block) <= largest), key=len)
    with TemporaryDirectory() as scratch:
        for block in seeds:
            target.use(block, Path(scratch))
            # ^ what is imported and cached once counts as nobody's memory; whole inputs must work
        until = time.monotonic() + seconds
        with limits(memory, patience):
            while time.monotonic() < until and tally.executions < executions:
                try:
                    chosen = seeds[int(len(seeds) * dice.random() ** 3)]
                    block = target.mutate(chosen, dice)
                except (ValueError, OverflowError):
                    continue  # the format cannot even say it
                signal.alarm(patience)
                tally.attempt(target.use, block, Path(scratch))
                signal.alarm(0)
    return tally
