"""Parts of prediction on native kernels; their twins tell what they do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from stvc.codec.profiles import WEIGHT_BITS, profiles_of
from stvc.codec.transform import COEFFICIENTS, I32
from stvc.codec.unit_plan import MAX_OFFSET
from stvc.native import kernels

if TYPE_CHECKING:
    from stvc.codec.prediction import ReferenceCoefficients

F32 = npt.NDArray[np.float32]


def native_costs(
    target: I32, refs: ReferenceCoefficients, probes: npt.NDArray[np.intp], rows: F32, step: int
) -> tuple[npt.NDArray[np.float64], F32]:
    """Compute proxy costs; see `stvc.codec.prediction_choice.plain_costs`."""
    assert kernels is not None
    shape = (len(target), len(rows))
    cost, lift = np.empty(shape), np.empty(shape, np.float32)
    kernels.profile_costs(
        (len(target), target[0].size // COEFFICIENTS, step, MAX_OFFSET),
        np.ascontiguousarray(target),
        *(None if p is refs.mean else np.ascontiguousarray(p) for p in refs.planes),
        np.ascontiguousarray(refs.mean[:, 0, 0], np.float32),
        np.ascontiguousarray(probes, np.int64),
        rows,
        cost,
        lift,
    )
    return cost, lift


def native_prediction(
    refs: ReferenceCoefficients, profiles: npt.NDArray[np.int64], offsets: npt.NDArray[np.int64]
) -> I32:
    """Predict all coefficients; see `stvc.codec.prediction.predict`."""
    assert kernels is not None
    out = np.empty(refs.mean.shape, np.int32)
    kernels.predict(
        (len(out), out[0].size // COEFFICIENTS, WEIGHT_BITS),
        tuple(None if p is refs.mean else np.ascontiguousarray(p) for p in refs.planes),
        np.ascontiguousarray(refs.mean[:, 0, 0]),
        np.ascontiguousarray(profiles_of(refs.generation)[profiles], np.int32),
        np.ascontiguousarray(offsets, np.int64),
        out,
    )
    return out
