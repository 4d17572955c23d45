from __future__ import annotations

import numpy as np

from tellapart.engine.spill import spilled


def test_blocks_stand_one_under_the_other_and_leave_nothing(tmp_path):
    x = np.random.default_rng(0).standard_normal((50, 4))
    with spilled((x[i : i + 7] for i in range(0, 50, 7)), tmp_path, what="50 items") as z:
        assert z.dtype == np.float32 and isinstance(z, np.memmap)
        np.testing.assert_array_equal(z, x.astype(np.float32))
    assert list(tmp_path.iterdir()) == []


def test_no_blocks_are_no_rows(tmp_path):
    with spilled(iter(()), tmp_path, what="no items") as z:
        assert len(z) == 0
