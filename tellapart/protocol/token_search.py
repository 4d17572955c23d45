"""What finds the best by MaxSim among few candidates: encodings of one vector an item, and what stands against them.

Items are texts under MiniLM, a vector for each word piece; queries are other texts. The truth are the ten best items by
MaxSim over all. Ways to order candidates, read off at 20, 50 and 200 of them:

- the baseline `token-neighbours`, the single-vector heuristic: the nearest tokens of each query token, and their items
  in the order of rank, each once;
- the mean of an item's tokens against the sum of the query's, by dot product;
- the encodings of the part, with its options (not its inner index, and without MaxSim afterwards).

Metrics: `best ten found, N candidates`, heuristic against encodings; `… , mean of tokens`, that against the encodings
at 50; `candidates for 95% of the best ten` (fewer is better). Of the encodings' own pieces, at 50: `… without filling`
(empty buckets stay zero), `… with sums of items` (sums on both sides, and nothing filled), and `error of the estimate`,
the mean |<F(Q), F(P)> - sum of maxima| over |Q| for random pairs, with 5 repetitions against 20 (lower is better).

Data: `wordnet` (glosses, asked for by the synset's words) and `docstrings` (functions of numpy, scipy and scikit-learn,
cut at `max_tokens`, asked for by the first sentence of their docstrings). Items are the same for all seeds; queries and
draws are new.

Options: items (4000), queries (150), max_tokens (66), of the whole protocol; encodings: options of the part.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tellapart.core.errors import DataError
from tellapart.core.files import write_atomically
from tellapart.core.parts import make, parse_spec
from tellapart.data import shipped
from tellapart.data.spool import cache_folder
from tellapart.parts.index._fde import Encodings

LOWER_IS_BETTER = ("candidates", "error")
PACKAGES = ("numpy", "scipy", "sklearn")
CANDIDATES, ABLATED, BEST, NEAREST, SHARE = (20, 50, 200), 50, 10, 400, 0.95
PAIRS = 200


class Unfilled(Encodings):
    """Encodings whose empty buckets stay zero."""

    def documents(self, tokens: Any) -> np.ndarray:
        """[n, width] means of buckets: their sums over the number of tokens there, by an encoding of ones."""
        out = []
        for t in tokens:
            sums = self.queries([t])[0].reshape(len(self.planes), 2 ** self.planes.shape[1], -1)
            codes = ((self.planes @ t.T > 0) << np.arange(self.planes.shape[1])[:, None]).sum(1)
            counts = np.stack([np.bincount(c, minlength=sums.shape[1]) for c in codes])
            out.append((sums / np.maximum(counts, 1)[..., None]).ravel())
        return np.asarray(out, np.float32)


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[Any, Any]]:
    """{metric: (baseline, variant)} for one data set and seed."""
    options = spec["options"]
    items, asked = texts(data, options.get("items", 4000), options.get("max_tokens", 66))
    rng = np.random.default_rng(seed)
    queries = [asked[i] for i in rng.choice(len(asked), min(options.get("queries", 150), len(asked)), replace=False)]
    part = make("index", spec["part"], **{**parse_spec(spec["part"])[1], "seed": seed})
    chosen = {name: getattr(part, name) for name in ("repetitions", "k_sim", "dim_proj", "final")}
    whole, starts = np.concatenate(items), np.cumsum([0, *(len(t) for t in items)])[:-1]
    of_token = np.repeat(np.arange(len(items)), [len(t) for t in items])
    maxima, heuristic = [], []
    for query in queries:
        scores = whole @ query.T
        maxima.append(np.maximum.reduceat(scores, starts, axis=0).sum(1))
        near = np.argsort(-scores, axis=0)[:NEAREST]
        order = of_token[near].ravel()
        first = np.sort(np.unique(order, return_index=True)[1])
        heuristic.append(order[first])
    exact = np.asarray(maxima)
    best = np.argsort(-exact, axis=1)[:, :BEST]
    drawn = Encodings(whole.shape[1], **chosen, seed=seed)
    asks = drawn.queries(queries)
    found = {
        "heuristic": np.asarray([_places(h, b, len(items)) for h, b in zip(heuristic, best, strict=True)]),
        "encodings": _ranks(asks @ drawn.documents(items).T, best),
        "mean": _ranks(_sums(queries) @ np.stack([t.mean(0) for t in items]).T, best),
        "sums": _ranks(asks @ drawn.queries(items).T, best),
    }
    if not chosen["final"]:
        bare = Unfilled(whole.shape[1], **chosen, seed=seed)
        found["unfilled"] = _ranks(asks @ bare.documents(items).T, best)
    figures: dict[str, tuple[Any, Any]] = {
        f"best ten found, {n} candidates": tuple((found[k] < n).mean(1) for k in ("heuristic", "encodings"))
        for n in CANDIDATES
    }
    figures["candidates for 95% of the best ten"] = (_needed(found["heuristic"]), _needed(found["encodings"]))
    for name, words in (("mean", "mean of tokens"), ("unfilled", "without filling"), ("sums", "with sums of items")):
        if name in found:
            pair = tuple((found[k] < ABLATED).mean(1) for k in (name, "encodings"))
            figures[f"best ten found, {ABLATED} candidates, {words}"] = pair
    return figures | {"error of the estimate, 5 against 20 repetitions": _errors(exact, queries, items, chosen, rng)}


def _errors(
    exact: np.ndarray, queries: list[np.ndarray], items: list[np.ndarray], chosen: dict[str, int], rng: Any
) -> tuple[float, float]:
    rows = rng.integers(0, len(items), PAIRS)
    which = rng.integers(0, len(queries), PAIRS)
    lengths = np.asarray([len(queries[q]) for q in which])
    out = []
    for repetitions in (5, 20):
        drawn = Encodings(items[0].shape[1], **{**chosen, "repetitions": repetitions}, seed=int(rng.integers(2**31)))
        pairs = (drawn.queries([queries[q] for q in which]) * drawn.documents([items[r] for r in rows])).sum(1)
        out.append(float((np.abs(pairs - exact[which, rows]) / lengths).mean()))
    return out[0], out[1]


def _sums(queries: list[np.ndarray]) -> np.ndarray:
    return np.stack([q.sum(0) for q in queries])


def _ranks(scores: np.ndarray, best: np.ndarray) -> np.ndarray:
    """[queries, 10] place of each of the best in the order of these scores."""
    order = np.argsort(-scores, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(order.shape[1])[None].repeat(len(order), 0), 1)
    return np.take_along_axis(ranks, best, 1)


def _places(order: np.ndarray, best: np.ndarray, items: int) -> np.ndarray:
    where = np.full(items, items)
    where[order] = np.arange(len(order))
    return where[best]


def _needed(ranks: np.ndarray) -> float:
    """The fewest candidates that hold 95% of the best, over all queries."""
    return float(np.sort(ranks, axis=None)[int(np.ceil(SHARE * ranks.size)) - 1] + 1)


@functools.lru_cache(maxsize=2)
def texts(data: str, most: int, max_tokens: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Token vectors of items and of what they are asked for by; kept in the cache folder."""
    if data not in ("wordnet", "docstrings"):
        raise DataError(f"the protocol token_search knows wordnet and docstrings, not {data!r}")
    encoder = make("encode", "minilm", max_tokens=max_tokens)
    collection = shipped.wordnet() if data == "wordnet" else shipped.docstrings(PACKAGES, limit=most)
    rows = np.linspace(0, len(collection) - 1, min(most, len(collection))).astype(int)
    columns = [collection.take(rows).values(column) for column in ("positive", "anchor")]
    folder = cache_folder(None, "evidence") / "tokens"
    folder.mkdir(parents=True, exist_ok=True)
    return tuple(_kept(encoder, folder, f"{data}-{most}-{column}", said) for column, said in enumerate(columns))


def _kept(encoder: Any, folder: Any, name: str, said: list[str]) -> list[np.ndarray]:
    import hashlib
    import io

    key = hashlib.sha256("\0".join([encoder.fingerprint, *said]).encode()).hexdigest()[:16]
    file = folder / f"{name}-{key}.npz"
    if not file.is_file():
        tokens = encoder.encode_tokens(said)
        held = io.BytesIO()
        np.savez(held, rows=np.concatenate(tokens).astype(np.float16), counts=np.asarray([len(t) for t in tokens]))
        write_atomically(file, held.getvalue())
    with np.load(file, allow_pickle=False) as found:
        return np.split(found["rows"].astype(np.float32), np.cumsum(found["counts"])[:-1])
