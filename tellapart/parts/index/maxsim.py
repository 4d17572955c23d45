from __future__ import annotations

from tellapart.core.parts import part
from tellapart.parts.index._token_index import TokenIndex


@part(
    paper="Khattab and Zaharia, ColBERT: Efficient and Effective Passage Search via Contextualized Late Interaction "
    "over BERT, SIGIR 2020",
    place="retrieve",
    traits=("tokens",),
    aliases=("late-interaction", "chamfer"),
)
class Maxsim(TokenIndex):
    """Several vectors an item, every one compared with every vector of the query: the oracle of `muvera`.

    Formula: score(Q, P) = 1/|Q| sum_{q in Q} max_{p in P} q · p over unit vectors, ties by id. ColBERT's sum is divided
    by the number of query vectors, which changes no order and makes scores of several queries comparable.

    `add(ids, tokens)` and `search(tokens, k)` take a matrix [t, d] an item, such as an encoder's `encode_tokens`
    gives. They are kept in float16, memory-mapped once saved, 2 t d bytes an item, and multiplied in float32 in blocks.

    When to use it: some thousand items, where words have to be found and not the gist of a text. In a run
    (`tellapart run TEXTS --set index=maxsim`) searches by words go this way, all others by single vectors. With
    `parallel-windows` as encoder the best window of a long text decides.

    Relations: `muvera` looks at a few hundred items only; `exact` is this with one vector an item.
    """
