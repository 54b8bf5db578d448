"""Normal equations of the predictive coder in C: the same doubles as in numpy, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
from native_kernels import needs_kernels

from stvc import native
from stvc.codec import predictive_learning, predictive_local

pytestmark = needs_kernels


def sums(seed: int, systems: int, variables: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.integers(-4095, 4096, (systems, variables, rows)).astype(np.float64)
    y = rng.integers(-4095, 4096, (systems, rows, 1)).astype(np.float64)
    return x @ x.transpose(0, 2, 1), (x @ y)[..., 0]


@pytest.mark.parametrize("variables", [1, 2, 7, 39, 95, 121])
@pytest.mark.parametrize("rows", [3, 40, 400])
def test_nested_systems(variables: int, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    gram, moment = sums(variables, 5, variables, rows)
    gram[1] = 0
    gram[2] *= 1e250
    moment[3] = np.inf
    gram[4, 0, 0] = np.nan
    sizes = (variables, (variables + 1) // 2, 1)
    found = predictive_learning.solve_nested(gram, moment, sizes, 3e-4, 14)
    monkeypatch.setattr(predictive_learning, "kernels", None)
    with np.errstate(all="ignore"):
        wanted = predictive_learning.solve_nested(gram, moment, sizes, 3e-4, 14)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("n", [0, 1, 31, 32, 33, 200])
def test_local_systems(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(n)
    x = rng.integers(-4095, 4096, (7, n, 5)).astype(np.float64)
    both = np.concatenate([x, rng.integers(-99, 99, (1, n, 5))])
    system = np.einsum("inq,jnq->ijn", x, both) * 0.9
    system[:, :, : n // 3] = 0
    system[2, 3, n // 2 :] = np.nan
    found = predictive_local._solve(system.copy())
    monkeypatch.setattr(predictive_local, "kernels", None)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(found, predictive_local._solve(system.copy()))


def test_arguments_that_disagree_are_refused() -> None:
    assert native.kernels is not None
    gram, moment = sums(1, 2, 5, 9)
    sizes, out = np.array([5, 2]), np.empty((2, 2, 5))
    native.kernels.solve_nested((2, 5, 1e-3, 4.0), sizes, gram, moment, out)
    for wrong in (
        ((-1, 5, 1e-3, 4.0), sizes, gram, moment, out),
        ((2, 0, 1e-3, 4.0), sizes, gram, moment, out),
        ((2, 2**40, 1e-3, 4.0), sizes, gram, moment, out),
        ((3, 5, 1e-3, 4.0), sizes, gram, moment, out),
        ((2, 5, 1e-3, 4.0), sizes[:1], gram, moment, out),
        ((2, 5, 1e-3, 4.0), sizes, gram[:1], moment, out),
        ((2, 5, 1e-3, 4.0), sizes, gram, moment[:1], out),
    ):
        with pytest.raises(ValueError, match="outside|aligned"):
            native.kernels.solve_nested(*wrong)
    with pytest.raises(ValueError, match="aligned"):
        native.kernels.solve_local(np.empty((7, 8, 3)), np.empty((7, 4)))
