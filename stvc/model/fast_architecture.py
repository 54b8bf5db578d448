"""Shape of the fast entropy model: small dense layers, all tokens of a unit in one batch.

A token is one 8x8 block of one spectral component. Components are coded one after the other, each
in three frequency groups, coarse to fine; there are no phases and no attention.

    references, side, magnitudes of two earlier components -> trunk -> h
    for each group:  h, magnitudes of the coarser groups -> around (told to the eight neighbors)
                     h, coarser groups, neighbors' around -> hidden -> scale of every coefficient
    (the lowest group has locations too: gates on what the references suggest)
"""

from __future__ import annotations

from dataclasses import dataclass

FAST_GROUPS: tuple[tuple[int, int], ...] = ((0, 10), (10, 28), (28, 64))
"""Zigzag ranges of the frequency groups."""
LOW = FAST_GROUPS[0][1]
"""Coefficients that have a location; all others lie around the prediction."""
OWN = 32
"""Inputs for the coarser groups of the same component: 28, and zeros up to a multiple of 8."""
PLANES = 4
"""Magnitudes of: running mean against the constant mean; recent against second reference; recent
against prediction; background (running mean, where there is none) against prediction."""
SIDE = 32
MOVES = 5
EARLIER = 2
"""Components before a token's own that it hears of."""
TOP = 127
"""Activations are 0 to 127, in units of 1/16."""
LOCATION_GRAIN = 2
"""Locations are rounded to multiples of it (in 1/8 step): fewer tables in use, faster coding."""


@dataclass(frozen=True)
class FastConfig:
    """Widths; stored with the weights."""

    kind: str = "fast"
    generation: int = 2
    """Of the codec that the model was trained for; it serves later ones as well."""
    trunk: int = 128
    around: int = 32
    hidden: int = 96

    @property
    def known(self) -> int:
        """Inputs that do not wait for symbols."""
        return 64 * PLANES + SIDE

    @property
    def heard(self) -> int:
        """Inputs of a group's hidden layer."""
        return self.trunk + OWN + 2 * self.around
