"""Generations of the codec: versions of the bit stream, each read and appended to for ever.

1: what stvc 0.1.0 wrote. 2: links to later frames, a running mean, pixel-domain units. 3: in-loop
restoration. 4: scales that follow a unit's coefficients, smaller masks. 5: a pixel network in
pixel-domain units. 6: turns of components; lossless units lean on traces of earlier processing.
7: no narrow tiles, a larger pixel network. 8: lossless units know what half precision makes.
"""

from __future__ import annotations

NEWEST = 8
"""What new archives use."""
