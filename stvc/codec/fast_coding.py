"""A unit's symbols under the fast model, on native kernels: all of its groups in one call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from stvc.codec.adaptation import Correction, lessons, widened
from stvc.codec.batches import batch_bits, corrected_batches
from stvc.codec.fast_coder import Told, tell, told_batches
from stvc.codec.rangecoder import Models, Writer
from stvc.codec.widening import widening_bits, widening_of, write_widening
from stvc.model.fast_architecture import FAST_GROUPS

if TYPE_CHECKING:
    from stvc.model.fast_features import FastFeatures
    from stvc.model.weights import EntropyModel

I64 = npt.NDArray[np.int64]

_STOPS = np.array([high for _, high in FAST_GROUPS], np.int64)


@dataclass(frozen=True)
class FastCoding:
    """Does what `stvc.codec.network_coding.NetworkCoding` does."""

    told: Told
    widening: I64
    """(C, bands) see `stvc.codec.widening`."""

    @property
    def correction(self) -> Correction:
        """How scales are corrected."""
        return widened(self.widening, "fast")

    def bits(self, models: Models) -> float:
        """Code length, about."""
        batches = corrected_batches(told_batches(self.told), self.correction, models)
        return batch_bits(batches, models) + widening_bits(self.widening)

    def write(self, writer: Writer, models: Models) -> None:
        """Range-code it."""
        write_widening(writer, self.widening)
        learned, how = lessons(models), self.correction
        cast(Any, writer).unit(
            (*self.told.scale.shape, self.told.location.shape[2]),
            *models.edges,
            learned.scores,
            learned.information,
            *self.told,
            np.ascontiguousarray(how.widening),
            how.weights,
            _STOPS,
        )


def code_fast(
    symbols: npt.NDArray[np.int32], features: FastFeatures, model: EntropyModel
) -> FastCoding:
    """Let the fast network tell of a unit's symbols (C, N, 64), and choose its widenings."""
    told = tell(model.fast_network, features, symbols)
    return FastCoding(told, widening_of(*told, model.models))
