"""The choices that a unit's header carries, and their syntax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stvc.codec.profiles import profiles_of
from stvc.codec.quantize import MAX_STEP_INDEX, step_size
from stvc.codec.rangecoder import Reader, Writer
from stvc.codec.references import ReferenceState
from stvc.codec.registration import MAX_SHIFT
from stvc.codec.restoration import RESTORED, STRENGTH_ONE, STRENGTHS
from stvc.codec.turns import TURNED, read_turns, write_turns

if TYPE_CHECKING:
    from stvc.codec.unit import UnitContext

MAX_OFFSET = 127
MAX_SHRINK = 7
_SAME_STEP = (1, 15)
_SHIFTED = (3, 1)
_LIFTED = (3, 1)
_ALIKE = (1, 2)


@dataclass(frozen=True)
class UnitPlan:
    """The choices that a unit's header carries."""

    step_index: int
    """Base quantization step."""
    shift: tuple[int, int]
    """Registration of the references, 1/8 pixel."""
    profiles: npt.NDArray[np.int64]
    """(C,) rows of `profiles.profiles_of`."""
    offsets: npt.NDArray[np.int64]
    """(C,) DC offsets in base steps."""
    shrink: tuple[int, int]
    """Reconstruction points, see `quantize.dequantize`."""
    strengths: npt.NDArray[np.int64]
    """(C,) of restoration, see `stvc.codec.restoration`."""
    turns: npt.NDArray[np.int64] | None = None
    """(pairs, bands) angles between components, see `stvc.codec.turns`; None: none is turned."""
    leniency: float = 1.0
    """Not in the header: what an encoder that chooses levels multiplies their squared error by, to
    meet a PSNR that lies between two steps."""

    def offsets_at(self, step_index: int) -> npt.NDArray[np.int64]:
        """DC offsets of nearly the same size in DN with another step."""
        ratio = int(step_size(self.step_index)) / int(step_size(step_index))
        moved = np.clip(np.rint(self.offsets * ratio), -MAX_OFFSET, MAX_OFFSET)
        return np.asarray(moved, np.int64)


Plans = dict[tuple[int, int, int], UnitPlan]
"""What was chosen for units, by place in coding order, group and tile."""


def resting_plan(state: ReferenceState, step_index: int) -> UnitPlan:
    """Plan of a unit of which nothing is visible: the recent state as it is (shared)."""
    c = len(state.mean)
    profiles = np.full(c, 0 if state.empty else 1, np.int64)
    zeros = np.zeros(c, np.int64)
    return UnitPlan(step_index, (0, 0), profiles, zeros, (0, 0), zeros)


def write_plan(writer: Writer, plan: UnitPlan, context: UnitContext, state: ReferenceState) -> None:
    """Range-code a plan."""
    same = plan.step_index == context.base_step
    writer.flag(same, _SAME_STEP)
    if not same:
        writer.uniform(plan.step_index, MAX_STEP_INDEX + 1)
    if not state.empty:
        moved = plan.shift != (0, 0)
        writer.flag(moved, _SHIFTED)
        if moved:
            for axis in plan.shift:
                writer.uniform(axis + MAX_SHIFT, 2 * MAX_SHIFT + 1)
        for profile in plan.profiles.tolist():
            writer.uniform(profile, len(profiles_of(state.generation)))
    for offset in plan.offsets.tolist():
        writer.flag(offset != 0, _LIFTED)
        if offset:
            writer.uniform(offset + MAX_OFFSET, 2 * MAX_OFFSET + 1)
    for shrink in plan.shrink:
        writer.uniform(shrink + MAX_SHRINK, 2 * MAX_SHRINK + 1)
    if state.generation >= RESTORED:
        alike = bool((plan.strengths == plan.strengths[0]).all())
        alike &= int(plan.strengths[0]) in (0, STRENGTH_ONE)
        writer.flag(alike, _ALIKE)
        if alike:
            writer.flag(bool(plan.strengths[0]), _ALIKE)
        else:
            for strength in plan.strengths.tolist():
                writer.uniform(strength, STRENGTHS)
    if state.generation >= TURNED:
        write_turns(writer, plan.turns)


def read_plan(reader: Reader, context: UnitContext, state: ReferenceState) -> UnitPlan:
    """Read what `write_plan` wrote."""
    c = len(context.klt.mean)
    step_index = (
        context.base_step if reader.flag(_SAME_STEP) else reader.uniform(MAX_STEP_INDEX + 1)
    )
    shift, profiles = (0, 0), np.zeros(c, np.int64)
    if not state.empty:
        if reader.flag(_SHIFTED):
            dy, dx = (reader.uniform(2 * MAX_SHIFT + 1) - MAX_SHIFT for _ in range(2))
            shift = (dy, dx)
        rows = len(profiles_of(state.generation))
        profiles = np.array([reader.uniform(rows) for _ in range(c)], np.int64)
    offsets = np.array(
        [
            reader.uniform(2 * MAX_OFFSET + 1) - MAX_OFFSET if reader.flag(_LIFTED) else 0
            for _ in range(c)
        ],
        np.int64,
    )
    first, more = (reader.uniform(2 * MAX_SHRINK + 1) - MAX_SHRINK for _ in range(2))
    strengths = np.zeros(c, np.int64)
    if state.generation >= RESTORED:
        if reader.flag(_ALIKE):
            strengths[:] = STRENGTH_ONE * reader.flag(_ALIKE)
        else:
            strengths[:] = [reader.uniform(STRENGTHS) for _ in range(c)]
    turns = read_turns(reader, c) if state.generation >= TURNED else None
    return UnitPlan(step_index, shift, profiles, offsets, (first, more), strengths, turns)
