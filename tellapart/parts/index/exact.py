from __future__ import annotations

from tellapart.core.parts import part
from tellapart.core.vectors import VectorIndex


@part(paper="(plain baseline)", place="retrieve", traits=("exact",), aliases=("flat", "brute-force"))
class Exact(VectorIndex):
    """Every item is compared with every query: right up to about 200,000 items, and the oracle of the others.

    Formula: the k greatest q · z_i in float32 over unit vectors, ties by id. No training, no build time; a filter or
    a deletion costs nothing. The matrix of scores is never whole: memory is bounded by a block of it.

    Relations: `sign-bits` looks at 1 bit a dimension first and is several times faster for single queries; `hnsw` is
    the fastest beyond that, and costs a build.
    """
