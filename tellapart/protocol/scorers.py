"""Search under an expensive scorer with few calls of it: what is found of the scorer's own best ten.

`digits`: the query is the left half of a digit, items are right halves; the scorer is a perceptron on both, trained to
tell halves of one digit from others, the dual encoder two linear heads trained by InfoNCE on the same pairs. `wordnet`:
from glosses to glosses; `docstrings`: from what a function says of itself to code; the scorer is MaxSim of MiniLM's
tokens, the dual encoder its mean vectors. Truth is the scorer asked about all items. Part and baseline have the same
calls of the scorer; what the part asked beforehand (`anchor queries` times items) is not counted.

Training, anchor and asked queries are different; a fifth of the asked ones chooses the part's options (the baseline has
none), the rest is the test, looked at once. Metrics: `recall@10 at N calls`, a value a query; `random` is what as many
calls of random items find.

Options (`[options]` of the spec):
    calls: numbers of calls ([70, 100, 150]); anchor_queries: (200); asked: (150); items: at most so many (1000).
    part_grid: {option: list of values} to choose from, as shares of the calls for `anchors`.
"""

from __future__ import annotations

import functools
import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.core.errors import DataError, PartError
from tellapart.core.features import unit_rows
from tellapart.core.hits import Hits
from tellapart.core.needs import require
from tellapart.core.parts import make
from tellapart.core.scoring import Scoring

DATA = ("digits", "wordnet", "docstrings")
KNOWN = ("calls", "anchor_queries", "asked", "items", "part_grid")
K = 10
CHOOSING = 0.2
ASKED_POOL = 500


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
    held = _digits(seed, anchors + asked) if data == "digits" else texts(data, options.get("items", 1000), seed)
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
            part = make("rank", spec["part"], calls=calls, anchor_queries=anchors, seed=seed, **given)
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
    hits = Hits.sorted(np.tile(ids, (len(rows), 1)), held.q[rows] @ held.k.T, max(calls, K))
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
    torch = require("torch", "the protocol scorers")
    from sklearn.datasets import load_digits

    x = (load_digits().images / 16).astype(np.float32)
    left, right = x[:, :, :4].reshape(len(x), -1), x[:, :, 4:].reshape(len(x), -1)
    order = np.random.default_rng(np.random.SeedSequence([seed, 32])).permutation(len(x))
    test, train = order[:asked], order[asked:]
    draw = torch.Generator().manual_seed(seed)

    def layer(inside: int, outside: int) -> Any:
        made = torch.randn(inside, outside, generator=draw) * inside**-0.5
        return made.requires_grad_()

    a, b = torch.from_numpy(left), torch.from_numpy(right)
    mlp, dual = [layer(64, 64), layer(64, 64), layer(64, 1)], [layer(32, 32), layer(32, 32)]

    def cross(one: Any, two: Any) -> Any:
        hidden = torch.relu(torch.cat([one, two], -1) @ mlp[0])
        return (torch.relu(hidden @ mlp[1]) @ mlp[2])[..., 0]

    def vectors(one: Any, two: Any) -> Any:
        return [torch.nn.functional.normalize(z @ w, dim=-1) for z, w in ((one, dual[0]), (two, dual[1]))]

    optimiser = torch.optim.Adam([*mlp, *dual], 0.003)
    for _ in range(12):
        for rows in torch.from_numpy(train)[torch.randperm(len(train), generator=draw)].split(32):
            n = len(rows)
            sim = cross(a[rows][:, None].expand(n, n, -1), b[rows][None].expand(n, n, -1))
            z = vectors(a[rows], b[rows])
            right_one = torch.arange(n)
            loss = torch.nn.functional.cross_entropy(sim, right_one)
            loss = loss + torch.nn.functional.cross_entropy(z[0] @ z[1].T / 0.1, right_one)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    items = np.sort(train)
    with torch.no_grad():
        scores = torch.stack([cross(a[row].expand(len(items), -1), b[items]) for row in test.tolist()])
        q, k = vectors(a[test], b[items])
    return Held(scores.numpy(), q.numpy(), k.numpy())


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
