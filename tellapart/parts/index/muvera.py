from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import PartError
from tellapart.core.parts import card_of, make, parse_spec, part
from tellapart.parts.index._fde import Encodings
from tellapart.parts.index._token_index import Found, TokenIndex

ITEMS_A_BLOCK = 1024
ROOM = 1.1
DRAWS, INNER = "draws.safetensors", "single"


@part(
    paper="Dhulipala et al., MUVERA: Multi-Vector Retrieval via Fixed Dimensional Encodings, NeurIPS 2024",
    place="retrieve",
    system="muvera",
    traits=("tokens", "recall-0.90"),
)
class Muvera(TokenIndex):
    """Several vectors an item on an index of single vectors: candidates by one dot product, then MaxSim.

    Formula: a repetition draws `k_sim` normal vectors g; the signs [g · x > 0] put a token x in one of 2^k_sim buckets.
    A query's block of a bucket is the sum of its tokens there, an item's the mean, and where an item has none, its
    token whose signs differ in the fewest places (of several the first). Each block goes through a matrix of random
    ±1 / sqrt(dim_proj); blocks of all buckets and repetitions stand one after the other, over sqrt(repetitions) on
    both sides, so that <F(Q), F(P)> estimates sum_q max_p q · p. `final` compresses the whole by one more such matrix.
    The `candidates` items of the greatest dot product are compared by MaxSim, as in `maxsim`.

    The inner index compares by cosine, and encodings must be compared by dot product, so item x becomes
    (x / M, sqrt(1 - |x|²/M²)) with one M for all, at least the longest, and query q becomes (q / |q|, 0): the order by
    cosine is then that by q · x exactly (Bachrach et al., RecSys 2014). An item longer than M makes all be set anew.

    When to use it: `encode_tokens` gives the vectors, and `maxsim` takes too long. Memory: 2 t d bytes an item for its
    tokens, 4 times the encoding's width for the inner index. The defaults were chosen on docstrings and functions under
    MiniLM, whose tokens lie close together: there few buckets and wide blocks (2,560 numbers) hold more of the best ten
    than the paper's 20 x 2^5 x 16, and `final` loses much. `k_sim=0, dim_proj=0` is the mean of an item's tokens.

    Args:
        inner: the index part of the encodings, such as `exact`, `hnsw(width=400)` or `rabitq`.
        candidates: how many are compared by MaxSim; at least 4 k are.
        repetitions, k_sim, dim_proj: of the encoding; `dim_proj=0` leaves blocks as wide as tokens.
        final: width after the last projection; 0: repetitions x 2^k_sim x dim_proj numbers as they are.
        seed: of all draws, kept with the index, so that both sides have the same.

    Relations: `maxsim` compares all. Of the paper, the ball carving of queries and product quantisation are left out:
    `inner` may be any index.
    """

    def __init__(
        self,
        *,
        inner: str = "exact",
        candidates: Annotated[int, Field(ge=1, le=100_000)] = 400,
        repetitions: Annotated[int, Field(ge=1, le=200)] = 10,
        k_sim: Annotated[int, Field(ge=0, le=10)] = 2,
        dim_proj: Annotated[int, Field(ge=0, le=1024)] = 64,
        final: Annotated[int, Field(ge=0, le=16_384)] = 0,
        seed: Annotated[int, Field(ge=0, le=2_147_483_647)] = 0,
    ) -> None:
        super().__init__()
        self.inner, self.candidates = inner, candidates
        self.repetitions, self.k_sim, self.dim_proj, self.final, self.seed = repetitions, k_sim, dim_proj, final, seed
        if "tokens" in card_of("index", parse_spec(inner)[0]).traits:
            raise PartError(f"inner={inner} holds several vectors an item: name an index of single ones, such as exact")
        self._drawn: Encodings | None = None
        self._single: Any = make("index", inner)
        self._longest = 0.0

    @property
    def encodings(self) -> Encodings:
        """The draws, made when the width of the vectors is known."""
        if self._drawn is None:
            self._drawn = Encodings(
                self.dim or 0, repetitions=self.repetitions, k_sim=self.k_sim, dim_proj=self.dim_proj,
                final=self.final, seed=self.seed,
            )  # fmt: skip
        return self._drawn

    def delete(self, ids: Iterable[str]) -> None:
        """Take items out; an id that is not there raises `DataError`, and then nothing is deleted."""
        names = list(dict.fromkeys(ids))
        super().delete(names)
        self._single.delete(names)

    def _changed(self, names: list[str], tokens: list[np.ndarray]) -> None:
        for start in range(0, len(names), ITEMS_A_BLOCK):
            x = self.encodings.documents(tokens[start : start + ITEMS_A_BLOCK])
            squared = np.einsum("nd,nd->n", x, x, dtype=np.float64)
            if squared.max() > self._longest**2:
                self._longest = ROOM * float(np.sqrt(squared.max()))
                if len(self._single):
                    self._set_anew()
                    return
            rest = np.sqrt(1 - squared / self._longest**2)
            self._single.add(names[start : start + ITEMS_A_BLOCK], np.column_stack([x / self._longest, rest]))

    def _set_anew(self) -> None:
        """Encode all items again: one is longer than those before left room for."""
        self._single = make("index", self.inner)
        rows = np.flatnonzero(self._alive).tolist()
        self._changed([self._ids[row] for row in rows], [self._of(row) for row in rows])

    def _find(self, queries: list[np.ndarray], k: int, allowed: np.ndarray) -> Found:
        x = np.pad(self.encodings.queries(queries), ((0, 0), (0, 1)))
        x[~x.any(1), -1] = 1
        every = np.array_equal(allowed, self._alive)
        looked = None if every else {self._ids[row] for row in np.flatnonzero(allowed).tolist()}
        hits = self._single.search(x, max(self.candidates, 4 * k), filter=looked)
        out = []
        for query, names in zip(queries, hits.ids.tolist(), strict=True):
            rows = np.sort([self._rows[name] for name in names if name])
            out.append(self._again(query, rows, self._scores([query], rows)[:, 0], k))
        return np.stack([r for r, _ in out]), np.stack([s for _, s in out])

    def _write(self, folder: Path) -> None:
        self.encodings.save(folder / DRAWS)
        np.save(folder / "longest.npy", np.asarray([self._longest]), allow_pickle=False)
        self._single.save(folder / INNER)

    def _read(self, folder: Path) -> None:
        self._drawn = Encodings.load(folder / DRAWS)
        self._longest = float(np.load(folder / "longest.npy", allow_pickle=False)[0])
        self._single = make("index", self.inner).load(folder / INNER)
        if self._single.dim != self._drawn.width + 1 or len(self._single) != len(self):
            raise ValueError("the inner index does not fit the tokens")
