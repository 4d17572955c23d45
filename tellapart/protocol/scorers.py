"""Search under an expensive scorer with few calls of it: what is found of the scorer's own best ten.

`digits`: the query is the left half of a digit, items are right halves; the scorer is a perceptron on both, trained to
tell halves of one digit from others, the dual encoder two linear heads trained by InfoNCE on the same pairs.
`relations`: from the gloss of a noun that nothing is a kind of to the gloss of what it is a kind of; on MiniLM's frozen
vectors q and k of both, the scorer is a perceptron on [q, k, q * k] and the dual encoder two linear heads, trained like
those of the digits on up to 3 other kinds of each item. `wordnet`: from glosses to glosses; `docstrings`: from what a
function says of itself to code; of both, the scorer is MaxSim of MiniLM's tokens, the dual encoder its mean vectors.
Truth is the scorer asked about all items. Part and baseline have the same calls of the scorer and, as in a search, the
nearest 500 hits of the dual encoder; what the part asked beforehand (`anchor queries` times items) is not counted.

Training, anchor and asked queries are different; a fifth of the asked ones chooses the part's options (the baseline has
none), the rest is the test, looked at once. Metrics: `recall@10 at N calls`, a value a query; `random` is what as many
calls of random items find.

Options (`[options]` of the spec):
    calls: numbers of calls ([70, 100, 150]); anchor_queries: (200); asked: (150); items: at most so many (1000).
    related: items of `relations` at most (5000).
    part_grid: {option: list of values} to choose from, as shares of the calls for `anchors`.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.features import unit_rows
from tellapart.core.hits import Hits
from tellapart.core.needs import require
from tellapart.core.parts import card_of, make
from tellapart.core.scoring import Scoring
from tellapart.engine.reorder import POOL

DATA = ("digits", "relations", "wordnet", "docstrings")
KNOWN = ("calls", "anchor_queries", "asked", "items", "related", "part_grid")
K = 10
CHOOSING = 0.2
ASKED_POOL = 500
TRAINED, RELATION_EPOCHS, RATE = 3, 4, 0.003


@dataclass(frozen=True)
class Held:
    """Scores [q, N] of all queries with all items, and unit vectors of both under the dual encoder; all items' rows
    are drawn at random, queries are not those that anything was trained on."""

    scores: np.ndarray
    q: np.ndarray
    k: np.ndarray


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[Any, Any]]:
    """{metric: (baseline, variant)} for one data set and one seed."""
    options = spec["options"]
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise PartError(f"the protocol scorers has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    if data not in DATA:
        raise DataError(f"the protocol scorers knows {', '.join(DATA)}, not {data!r}")
    anchors, asked = options.get("anchor_queries", 200), options.get("asked", 150)
    offered = {option.name for option in card_of("rank", spec["part"]).options}
    if data == "digits":
        held = _digits(seed, anchors + asked)
    elif data == "relations":
        held = _relations(seed, anchors + asked, options.get("related", 5000))
    else:
        held = texts(data, options.get("items", 1000), seed)
    rows = np.random.default_rng(np.random.SeedSequence([seed, 31])).permutation(len(held.q))
    bank, rest = rows[:anchors], rows[anchors : anchors + asked]
    choose, test = np.split(rest, [int(CHOOSING * len(rest))])
    found: dict[str, tuple[Any, Any]] = {}
    for calls in options.get("calls", [70, 100, 150]):
        grid = options.get("part_grid", {})
        tried = []
        for values in itertools.product(*grid.values()):
            given = dict(zip(grid, values, strict=True))
            if "anchors" in given:
                given["anchors"] = round(given["anchors"] * calls)
            if "anchor_queries" in offered:
                given |= {"anchor_queries": anchors, "seed": seed}
            part = make("rank", spec["part"], calls=calls, **given)
            tried.append(_fitted(part, held, bank))
        ours = max(tried, key=lambda part: float(recall(part, held, choose, calls).mean()))
        base = _fitted(make("rank", spec["baseline"], calls=calls), held, bank)
        before, after = (recall(part, held, test, calls) for part in (base, ours))
        found[f"recall@{K} at {calls} calls"] = (before, after)
        draws = np.random.default_rng(np.random.SeedSequence([seed, calls]))
        random = np.array([_share(held, row, draws.permutation(len(held.k))[:calls]) for row in test])
        found[f"recall@{K} at {calls} calls, against random items"] = (random, after)
    return found


def recall(part: Any, held: Held, rows: np.ndarray, calls: int) -> np.ndarray:
    """[q] share of each query's true best ten that are among the ten given; the calls are checked."""
    ids = _names(len(held.k))
    hits = Hits.sorted(np.tile(ids, (len(rows), 1)), held.q[rows] @ held.k.T, max(calls, POOL))
    ask = _scoring(held, rows)
    out = part.rank(held.q[rows], hits, lambda wanted: held.k[wanted.astype(int)], scoring=ask)
    if ask.calls > calls * len(rows):
        raise AssertionError(f"{ask.calls} calls were made of {calls * len(rows)} allowed")
    return np.array([_share(held, row, out.ids[i, :K].astype(int)) for i, row in enumerate(rows)])


def _share(held: Held, row: int, looked: np.ndarray) -> float:
    best = np.argsort(-held.scores[row], kind="stable")[:K]
    return float(np.isin(best, looked).mean())


def _names(n: int) -> np.ndarray:
    return np.array([f"{i:06d}" for i in range(n)])


def _scoring(held: Held, rows: np.ndarray) -> Scoring:
    def score(queries: Any, items: Any) -> np.ndarray:
        return held.scores[np.asarray(queries), np.asarray(items)]

    return Scoring(lambda row: int(rows[row]), int, score)


def _fitted(part: Any, held: Held, bank: np.ndarray) -> Any:
    return part.fit(held.q[bank], None, ids=_names(len(held.k)), scoring=_scoring(held, bank))


@functools.lru_cache(maxsize=2)
def _digits(seed: int, asked: int) -> Held:
    from sklearn.datasets import load_digits

    x = (load_digits().images / 16).astype(np.float32)
    left, right = x[:, :, :4].reshape(len(x), -1), x[:, :, 4:].reshape(len(x), -1)
    order = np.random.default_rng(np.random.SeedSequence([seed, 32])).permutation(len(x))
    test, train = order[:asked], np.sort(order[asked:])
    return _learnt(left[train], right[train], np.arange(len(train)), left[test], seed, epochs=12)


@functools.lru_cache(maxsize=2)
def _relations(seed: int, asked: int, items: int) -> Held:
    pool, x, of, y = related(items)
    if len(pool) < asked:
        raise DataError(f"relations has {len(pool)} queries that nothing is trained on, not {asked}: ask for fewer")
    rows = np.random.default_rng(np.random.SeedSequence([seed, 34])).permutation(len(pool))[:asked]
    return _learnt(x, y, of, pool[rows], seed, epochs=RELATION_EPOCHS, frozen=True)


def _learnt(
    x: np.ndarray, y: np.ndarray, of: np.ndarray, asked: np.ndarray, seed: int, *, epochs: int, frozen: bool = False
) -> Held:
    """Scorer and dual encoder, both trained by InfoNCE in batches so that x[i] finds y[of[i]]; then asked about all y.

    `frozen`: x and y are vectors of one encoder. Then their products are inputs of the perceptron too, and the heads
    begin as the identity and learn at a tenth of its rate.
    """
    torch = require("torch", "the protocol scorers")
    draw, width = torch.Generator().manual_seed(seed), x.shape[1]

    def layer(inside: int, outside: int) -> Any:
        made = torch.randn(inside, outside, generator=draw) * inside**-0.5
        return made.requires_grad_()

    mlp = [layer((3 if frozen else 2) * width, 64), layer(64, 64), layer(64, 1)]
    dual = [torch.eye(width).requires_grad_() if frozen else layer(width, width) for _ in range(2)]

    def cross(one: Any, two: Any) -> Any:
        w = mlp[0].split(width)
        hidden = (one @ w[0])[:, None] + two @ w[1]
        if frozen:
            hidden = hidden + (one[:, None] * two) @ w[2]
        return (torch.relu(torch.relu(hidden) @ mlp[1]) @ mlp[2])[..., 0]

    def vectors(one: Any, two: Any) -> Any:
        return [torch.nn.functional.normalize(z @ w, dim=-1) for z, w in ((one, dual[0]), (two, dual[1]))]

    a, b, owner = torch.from_numpy(x), torch.from_numpy(y), torch.from_numpy(of)
    slow = RATE / 10 if frozen else RATE
    optimiser = torch.optim.Adam([{"params": mlp, "lr": RATE}, {"params": dual, "lr": slow}])
    for _ in range(epochs):
        for rows in torch.randperm(len(a), generator=draw).split(32):
            one, two = a[rows], b[owner[rows]]
            z, right_one = vectors(one, two), torch.arange(len(rows))
            loss = torch.nn.functional.cross_entropy(cross(one, two), right_one)
            loss = loss + torch.nn.functional.cross_entropy(z[0] @ z[1].T / 0.1, right_one)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        queries = torch.from_numpy(asked)
        scores = torch.cat([cross(row, b) for row in queries.split(1)])
        q, k = vectors(queries, b)
    return Held(scores.numpy(), q.numpy(), k.numpy())


@functools.lru_cache(maxsize=1)
def related(items: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """MiniLM vectors of queries asked [q, d], of training queries [n, d], the rows of their items, and items [N, d]."""
    from tellapart.data.spool import cache_folder
    from tellapart.engine.embed import embed
    from tellapart.protocol import _sets

    told = glosses(_sets.shipped("wordnet"), items)
    encoder, cache = make("encode", "minilm(max_tokens=48)"), cache_folder(None, "evidence-vectors")

    def vectors(texts: list[str]) -> np.ndarray:
        made = unit_rows(np.array(embed(Collection.of({"text": texts}), "text", encoder, cache=cache), np.float64))
        return (made * made.shape[1] ** 0.5).astype(
            np.float32
        )  # a coordinate is then about as large as a layer expects

    of = np.repeat(np.arange(len(told)), [len(trained) for _, trained, _ in told])
    asked = [told[row][0] for row in np.linspace(0, len(told) - 1, min(ASKED_POOL, len(told))).astype(int)]
    return vectors(asked), vectors([t for _, trained, _ in told for t in trained]), of, vectors([k for *_, k in told])


def glosses(made: Collection, items: int) -> list[tuple[str, list[str], str]]:
    """(a kind that is asked, kinds that are trained on, what they are kinds of), at even distances, all as glosses.

    Kinds are nouns that nothing is a kind of, so none is an item; a gloss that two synsets share is left out.
    """
    ids, above = made.values("id"), made.values("hypernym")
    times, uppers = Counter(made.values("gloss")), set(above)
    once = {i: gloss for i, gloss in zip(ids, made.values("gloss"), strict=True) if times[gloss] == 1}
    kinds: dict[str, list[str]] = {}
    for i, upper, pos in zip(ids, above, made.values("pos"), strict=True):
        if pos == "n" and i in once and i not in uppers and upper in once:
            kinds.setdefault(upper, []).append(once[i])
    told = [(low[0], low[1 : 1 + TRAINED], once[upper]) for upper, low in kinds.items() if len(low) > 1]
    return [told[row] for row in np.linspace(0, len(told) - 1, min(items, len(told))).astype(int)]


@functools.lru_cache(maxsize=2)
def texts(data: str, items: int, seed: int) -> Held:
    """Frozen MiniLM on both sides; queries are other texts than the items."""
    asked, among = pools(data, items)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 33]))
    rows = rng.permutation(len(asked[0]))
    return Held(asked[1][rows], asked[0][rows], among)


@functools.cache
def pools(data: str, items: int) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
    """((unit vectors of queries, their scores with all items), unit vectors of the items)."""
    from tellapart.engine.scorers import open_scorer
    from tellapart.protocol import _sets

    made = _sets.shipped(data)
    if data == "wordnet":
        made = made.where("lexname", "noun.artifact")
        kept = np.unique(made.values("gloss"), return_index=True)[1]
        made = made.take(kept[np.linspace(0, len(kept) - 1, items + ASKED_POOL).astype(int)])
        order = np.random.default_rng(0).permutation(len(made))
        glosses = [made.values("gloss")[row] for row in order]
        asked, held = glosses[:ASKED_POOL], glosses[ASKED_POOL:]
    else:
        made = made.take(np.linspace(0, len(made) - 1, items).astype(int))
        asked, held = made.values("anchor")[:: max(1, items // ASKED_POOL)], made.values("positive")
    encoder, score = make("encode", "minilm(max_tokens=48)"), open_scorer("maxsim:minilm(max_tokens=48)")
    found = np.empty((len(asked), len(held)), np.float32)
    for start in range(0, len(held), 100):
        block = held[start : start + 100]
        found[:, start : start + len(block)] = score(
            np.repeat(np.asarray(asked, object), len(block)).tolist(), block * len(asked)
        ).reshape(len(asked), -1)
    q, k = (unit_rows(np.asarray(encoder.encode(t), np.float64)).astype(np.float32) for t in (asked, held))
    return (q, found), k
