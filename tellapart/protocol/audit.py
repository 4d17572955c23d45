"""Audits against a truth that was planted or held back.

**interp-extrap** (`clustered`, `unclustered`: made up; `wordnet`: the words of a synset to its gloss): some kinds of
query (planted clusters; lexicographer files) are held back altogether. The audit sees the rest. Then the truth is
measured: a model trained on all training queries of the rest is asked for the kinds held back, among as many documents.
Metrics: `error about new kinds` (how far the figure of a random split, and that of extrapolation, are from that truth;
lower is better) and `random split and interpolation` (both figures, which should not differ).

**mmvp** (`openmoji`, `fashion`): pictures and their mirror images, in EfficientNet-Lite0 features (A) and oriented
gradients (B). Mirror images are what A may be blind to. Metrics, on control pairs of the same nearness under A and on
blind pairs: `mirror images` (share of pairs that are a picture and its own mirror image) and `sides differ`; and, on
blind pairs, `pair accuracy` of a linear probe for the side on A, and on A and B together.

Options (`[options]` of the spec):
    items: items of a data set (2000 for texts, 400 pictures).
    kinds: how many of the kinds are held back (a quarter).
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import unit_rows
from tellapart.core.linear import ridge_map
from tellapart.core.parts import make, parse_spec
from tellapart.data.spool import cache_folder
from tellapart.protocol import _sets

LOWER_IS_BETTER = ("error",)
PICTURES = 800
Figures = dict[str, tuple[Any, Any]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    protocols: dict[str, Callable[..., Figures]] = {"interp-extrap": forecast, "mmvp": blindness}
    name = parse_spec(spec["part"])[0]
    if name not in protocols:
        raise DataError(f"the protocol audit knows {', '.join(protocols)}, not {name}")
    return protocols[name](spec, data, seed)


def forecast(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """How well a random split and extrapolation foretell the figure on kinds of query that are held back."""
    q, d, kind = queries(data, seed, spec["options"].get("items", 2000))
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    kinds = rng.permutation(np.unique(kind))
    back = np.isin(kind, kinds[: max(1, round(spec["options"].get("kinds", len(kinds) / 4)))])
    known, new = rng.permutation(np.flatnonzero(~back)), rng.permutation(np.flatnonzero(back))
    test = known[: len(known) // 4]
    split = np.where(np.isin(known, test), "test", "train")
    collection = Collection.of({"id": [f"{i:06d}" for i in known], "split": split.tolist()})
    report = make("audit", spec["part"])({"query": q[known], "document": d[known]}, collection, seed=seed)
    told = {name: report.figure(name).value for name in ("random split", "interpolation", "extrapolation")}
    count = report.figure("random split").count
    asked = new[:count]
    pool = np.concatenate([asked, test[: max(0, count - len(asked))]])
    truth = hit_rate(q, d, known[len(known) // 4 :], asked, pool, report.facts["k"])
    return {
        "error about new kinds": (abs(told["random split"] - truth), abs(told["extrapolation"] - truth)),
        "random split and interpolation": (told["random split"], told["interpolation"]),
    }


def hit_rate(q: np.ndarray, d: np.ndarray, train: np.ndarray, asked: np.ndarray, pool: np.ndarray, k: int) -> float:
    """Share of queries whose own document is among the first k of a ridge map fitted on the training rows."""
    centre = d[train].mean(axis=0)
    mapped = unit_rows(ridge_map(q[train], d[train], 1.0)(q[asked]) - centre)
    scores = mapped @ unit_rows(d[pool] - centre).T
    own = np.array([np.flatnonzero(pool == i)[0] for i in asked])
    rank = 1 + (scores > scores[np.arange(len(asked)), own][:, None]).sum(axis=1)
    return float((rank <= k).mean())


def queries(data: str, seed: int, items: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit features of queries and of their documents, and the kind of each query."""
    if data == "wordnet":
        x, y, kind = synsets()
        rows = np.random.default_rng(np.random.SeedSequence([seed, 2])).permutation(len(x))[:items]
        return x[rows], y[rows], kind[rows]
    if data not in ("clustered", "unclustered"):
        raise DataError(f"interp-extrap is judged on clustered, unclustered and wordnet, not on {data!r}")
    rng = np.random.default_rng(np.random.SeedSequence([seed, 3]))
    kind = np.arange(items) % 12
    apart = data == "clustered"
    q = apart * 1.2 * rng.normal(size=(12, 24))[kind] + rng.normal(size=(items, 24))
    common = rng.normal(size=(24, 24))
    maps = [common + apart * rng.normal(size=(24, 24)) for _ in range(12)]
    d = np.stack([row @ maps[of] for row, of in zip(q, kind, strict=True)])
    d = unit_rows(d) + 0.25 * rng.normal(size=d.shape)
    return unit_rows(q), unit_rows(d), kind


@functools.cache
def synsets() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """MiniLM vectors of the words and of the glosses of nouns, 150 of each lexicographer file, and its number."""
    from tellapart.engine.embed import embed

    made = _sets.shipped("wordnet").where("pos", "n")
    kind, _ = made.codes("lexname")
    rng = np.random.default_rng(0)
    rows = np.sort(np.concatenate([rng.permutation(np.flatnonzero(kind == k))[:150] for k in np.unique(kind)]))
    made, encoder, cache = made.take(rows), make("encode", "minilm"), cache_folder(None, "evidence-vectors")
    x, y = (np.array(embed(made, column, encoder, cache=cache), dtype=np.float64) for column in ("anchor", "gloss"))
    return unit_rows(x), unit_rows(y), kind[rows]


def blindness(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """How often blind pairs and their controls are mirror images, and what a probe makes of the blind ones."""
    vectors, glyph = mirrored(data)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 4]))
    chosen = rng.permutation(PICTURES)[: spec["options"].get("items", 400)]
    rows = np.flatnonzero(np.isin(glyph, chosen))
    side = np.where(rows < PICTURES, "as drawn", "mirrored")
    collection = Collection.of({"id": [f"{r:05d}" for r in rows], "side": side.tolist(), "glyph": glyph[rows].tolist()})
    parts = {column: make("audit", spec["part"], column=column) for column in ("glyph", "side")}
    held = {name: x[rows] for name, x in vectors.items()}
    same, sides = (parts[column](held, collection, seed=seed).figure for column in ("glyph", "side"))
    return {
        "mirror images": (1 - same("differ, control").value, 1 - same("differ, blind").value),
        "sides differ": (sides("differ, control").value, sides("differ, blind").value),
        "pair accuracy, on A against on A and B": (
            sides("pair accuracy on A, blind").value,
            sides("pair accuracy on A and B, blind").value,
        ),
    }


@functools.cache
def mirrored(data: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A's vectors and the pixels of 800 pictures, and then of their mirror images; and which picture each is."""
    from PIL import Image, ImageOps

    from tellapart.data.images import image_source, open_image
    from tellapart.engine.embed import embed

    if data not in ("openmoji", "fashion"):
        raise DataError(f"mmvp is judged on openmoji and fashion, not on {data!r}")
    made = _sets.shipped(data)
    if "concept" in made.columns:
        made = made.take(np.sort(np.unique(made.codes("concept")[0], return_index=True)[1]))
    made = made.take(np.linspace(0, len(made) - 1, PICTURES).astype(int))
    images = [open_image(image_source(v, made.root)).resize((112, 112)) for v in made.values("image")]
    images += [ImageOps.mirror(image) for image in images]
    encoded = Collection.of({"image": [_png(image) for image in images]})
    cache = cache_folder(None, "evidence-vectors")
    x = np.array(embed(encoded, "image", make("encode", "lite0"), cache=cache))
    small = [np.asarray(image.convert("L").resize((48, 48), Image.Resampling.BOX)) for image in images]
    return {"image": x, "pixels": np.stack(small)}, np.arange(len(images)) % PICTURES


def _png(image: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
