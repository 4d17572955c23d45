"""Tags in their usual company: five pairs (b, c) of which c stands with b in nine of ten items, and helps to tell it.

An item has three pieces, each of one of five kinds: an object b_j, a context c, which is that of its object (c_j) in
the share `company`, and a thing that has no tag. Tags u_j and v_j stand together as often, and nothing shows them: they
cannot be what a model goes by.

`openmoji`: the vector is the mean of the EfficientNet-Lite0 vectors of three drawings; an object or a thing is any
drawing of a theme (a row of 16 code points, such as animals), a context always the same one. `digits`: object, context
and thing are handwritten digits side by side (0 to 4; 5 to 9; 0 to 4), with noise of 0.3 of the range on every pixel,
a tenth of that on the context.

**context-bias**: of the first five pairs that are named the share that is an object and its own context (either may be
told by the other); the baseline names those that stand together most beyond chance (lift), of every tag one.

**feature-split**: average precision of b where c is missing (`AP exclusive`) and where it is there (`AP co-occur`), of
test items, mean over the five. Compared with plain binary cross entropy and with exclusive items weighed up. All three
choose among four by the mean of both on validation items: those two among `decays`, the part between the second and the
third of these and two values of `split`.

Options (`[options]` of the spec):
    items: of training (800); company: 0.9; decays: [0.1, 10.0, 100.0].
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.company import precision
from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import make, parse_spec

KNOWN = ("items", "company", "decays", "splits")
KINDS, NOISE = 5, 0.3
NAMED = "first five whose company is seen"
LONE, BOTH = "AP exclusive", "AP co-occur"
PLAIN, WEIGHED = "feature-split(pairs=5, split=0, weigh=False)", "feature-split(pairs=5, split=0)"

Figures = dict[str, tuple[Any, Any]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and seed."""
    options = spec["options"]
    if unknown := [name for name in options if name not in KNOWN]:
        raise PartError(f"the protocol company has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    rng = np.random.default_rng(np.random.SeedSequence([seed, 71]))
    items, company = options.get("items", 800), options.get("company", 0.9)
    x, y = made(data, 3 * items, company, rng)
    if parse_spec(spec["part"])[0] == "context-bias":
        return named(spec["part"], x, y, seed)
    parts = [(x[rows], y[rows]) for rows in np.split(np.arange(3 * items), [items, 3 * items // 2])]
    decays = options.get("decays", [0.003, 0.03, 0.3, 1.0])
    grid = [{"decay": decay, "split": split} for decay in decays[1:3] for split in options.get("splits", [0.2, 0.5])]
    ours = best(spec["part"], parts, grid)
    plain, weighed = (best(other, parts, [{"decay": decay} for decay in decays]) for other in (PLAIN, WEIGHED))
    found = {name: (plain[name], ours[name]) for name in ours}
    return found | {f"{name}, against exclusive items weighed up": (weighed[name], ours[name]) for name in ours}


def made(data: str, items: int, company: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Vectors [items, d], and their tags with "|" between."""
    draw = pieces(data)
    b, u, other, thing = (rng.integers(0, KINDS, items) for _ in range(4))
    c = np.where(rng.random(items) < company, b, other)
    v = np.where(rng.random(items) < company, u, rng.integers(0, KINDS, items))
    x = draw(b, c, thing, rng)
    y = np.array([f"b{p}|c{q}|u{r}|v{s}" for p, q, r, s in zip(b, c, u, v, strict=True)])
    return x, y


def pieces(data: str) -> Any:
    """What makes vectors of three pieces."""
    if data == "digits":
        from tellapart.protocol._sets import load

        digits = load("digits")
        rows = [np.flatnonzero(digits.y == number) for number in range(10)]

        def side_by_side(b: np.ndarray, c: np.ndarray, u: np.ndarray, rng: np.random.Generator) -> np.ndarray:
            sides = []
            for kind, noise in ((b, NOISE), (c + KINDS, NOISE / 10), (u, NOISE)):
                side = digits.x[[rng.choice(rows[number]) for number in kind]]
                sides.append(side + noise * rng.normal(size=side.shape))
            return np.concatenate(sides, axis=1)

        return side_by_side
    if data != "openmoji":
        raise DataError(f"the protocol company knows openmoji and digits, not {data!r}")
    vectors, themes = themed()

    def pooled(b: np.ndarray, c: np.ndarray, u: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        own = [np.flatnonzero(themes == kind) for kind in range(3 * KINDS)]
        rows = [[rng.choice(own[kind]) for kind in b], [own[KINDS + kind][0] for kind in c],
                [rng.choice(own[2 * KINDS + kind]) for kind in u]]  # fmt: skip
        pooled: np.ndarray = vectors[np.array(rows)].mean(axis=0)
        return pooled

    return pooled


@functools.cache
def themed() -> tuple[np.ndarray, np.ndarray]:
    """Lite0 vectors of drawings of many themes, and the themes, the largest first."""
    from tellapart.data.spool import cache_folder
    from tellapart.engine.embed import embed
    from tellapart.protocol.composites import drawings
    from tellapart.protocol.regions import png

    _, pictures, themes = drawings()
    taken = Collection.of({"image": [png(picture) for picture in pictures]})
    z = np.array(embed(taken, "image", make("encode", "lite0"), cache=cache_folder(None, "evidence-vectors")))
    size = np.bincount(themes)
    return z, np.argsort(np.argsort(-size, kind="stable"), kind="stable")[themes]


def named(part: str, x: np.ndarray, y: np.ndarray, seed: int) -> Figures:
    """Share of the planted pairs among the first five that lift and that the part name."""
    report = make("audit", part)({"document": x}, Collection.of({"tags": y.tolist()}), seed=seed)
    table = next((block for block in report.blocks if type(block).__name__ == "Table"), None)
    rows = sorted(table.rows if table else [], key=lambda row: -row[2])
    ours = [(str(row[0]), str(row[1])) for row in rows[:KINDS]]
    tags = sorted({tag for one in y for tag in one.split("|")})
    has = np.array([[tag in one.split("|") for tag in tags] for one in y], float)
    share = has.mean(axis=0)
    lift = has.T @ has / len(has) / share / share[:, None]
    np.fill_diagonal(lift, 0)
    plain = [(tags[b], tags[int(lift[b].argmax())]) for b in np.argsort(-lift.max(axis=1), kind="stable")[:KINDS]]
    return {NAMED: (float(np.mean([_seen(pair) for pair in plain])), sum(_seen(pair) for pair in ours) / KINDS)}


def _seen(pair: tuple[str, str]) -> bool:
    """Whether the two stand together and can be seen: an object and its context, either of which may tell the other."""
    return {tag[0] for tag in pair} == {"b", "c"} and pair[0][1:] == pair[1][1:]


def best(part: str, parts: list[tuple[np.ndarray, np.ndarray]], grid: list[dict[str, float]]) -> dict[str, float]:
    """Figures on test items of the options that are best on validation items."""
    fitted = [make("classify", part, **options).fit(*parts[0]) for options in grid]
    # The validation half of what is left is the smaller one: figures there only choose.
    tried = [figures(f, *parts[1]) for f in fitted]
    chosen = max(range(len(grid)), key=lambda i: tried[i][LONE] + tried[i][BOTH])
    return figures(fitted[chosen], *parts[2])


def figures(fitted: Any, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Average precision of the objects without and with their own context, mean over the five."""
    p, has = fitted.tag_proba(x), np.array([[t in one.split("|") for t in fitted.tags_] for one in y])
    found: dict[str, list[float]] = {LONE: [], BOTH: []}
    for j in range(KINDS):
        b, c = fitted.tags_.index(f"b{j}"), fitted.tags_.index(f"c{j}")
        for name, kind in ((LONE, ~has[:, c]), (BOTH, has[:, c])):
            among = ~has[:, b] | kind
            found[name].append(precision(p[among, b], has[among, b]))
    return {name: float(np.mean(values)) for name, values in found.items()}
