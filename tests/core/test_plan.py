from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.plan import kmeans


def planted(n, clusters, d=8):
    rng = np.random.default_rng(0)
    label = rng.integers(0, clusters, n)
    return (10 * rng.standard_normal((clusters, d))[label] + rng.standard_normal((n, d))).astype(np.float32), label


@pytest.mark.parametrize("n", [300, 3000])
def test_clusters_are_found_from_all_rows_and_from_a_sample(n):
    pytest.importorskip("sklearn")
    x, label = planted(n, 4)
    found = kmeans(x, 4, 0)
    assert found.shape == (n,) and found.dtype == np.int64
    assert len({(a, b) for a, b in zip(found.tolist(), label.tolist(), strict=True)}) == 4
    np.testing.assert_array_equal(found, kmeans(x.copy(), 4, 0))
