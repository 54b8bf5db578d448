"""A sample of an image's pixels, spread evenly over those that count."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

_CHUNK = 1 << 20
# ^ pixels whose positions are listed at once: eight bytes each, which a whole tile has no room for


def spread_sample(hidden: npt.NDArray[np.bool_], most: int) -> npt.NDArray[np.intp]:
    """Choose every k-th of the pixels that are not hidden.

    Parameters
    ----------
    hidden : array, any shape, bool
    most : int
        About how many are wanted; fewer than twice as many come.

    Returns
    -------
    array, (n,) intp
        Positions in the flattened array, ascending.
    """
    flat = hidden.reshape(-1)
    stride = max(1, (flat.size - int(np.count_nonzero(flat))) // most)
    found, passed = [np.zeros(0, np.intp)], 0
    for start in range(0, flat.size, _CHUNK):
        clear = np.flatnonzero(~flat[start : start + _CHUNK])
        found.append(clear[-passed % stride :: stride] + start)
        passed += len(clear)
    return np.concatenate(found)
