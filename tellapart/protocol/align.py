"""Maps between the spaces of two encoders (parts of shape `align`).

**Seeds** (`digits`, `openmoji`, `docstrings`): two encoders that differ by their seed alone, A and B. On `digits` they
are small autoencoders; a linear head is fitted on A's latents of the training share and asked about B's latents of the
test share (`accuracy`). On pairs they are heads trained by InfoNCE; held-out queries of B are asked of documents stored
by A (`R@10`). The part is fitted on the training items, and what is stored is converted where it does that. The
baseline `absolute` does nothing: B's vectors are used as if they were A's. `A to A` is the part on one encoder.

**Upgrade** (`weak-openmoji`, `weak-docstrings`): the old encoder is a 64-dimensional head on weak features (grey
pictures of 32 pixels, counts of letter triples), the new one a head on EfficientNet-Lite0 and MiniLM features, trained
on the same pairs. R@10 of held-out queries among held-out documents that the old one stored. A part of trait `texts` is
fitted on all training texts and tuned by `pairs` training pairs; others are fitted on both sides of those pairs.

Further figures are against `old queries` (compatible means better), against the baseline on the same texts, against the
part without its second stage, of both encoders on their own (`new to new`), and with half or all of the documents
embedded anew (`backfilled`).

Options of parts are chosen on the validation share by mean reciprocal rank (on `digits` by accuracy, together with the
penalty of the linear head), for part and baseline alike; the test share is looked at once.

Options (`[options]` of the spec):
    part_grid, baseline_grid: {option: list of values} to choose from.
    controls: further parts that the variant is compared with, at their defaults.
    pairs: how many pairs there are to fit an upgrade on (100).
    items, epochs: at most so many pairs of a data set (2000), and the training of heads (15).
"""

from __future__ import annotations

import functools
import itertools
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from tellapart.core.errors import DataError, PartError
from tellapart.core.features import unit_rows
from tellapart.core.parts import card_of, make, parse_spec
from tellapart.data.spool import cache_folder
from tellapart.protocol import _sets

SEEDS, UPGRADES = ("digits", "openmoji", "docstrings"), ("weak-openmoji", "weak-docstrings")
KNOWN = ("part_grid", "baseline_grid", "controls", "pairs", "items", "epochs")
SIDES = ("query", "document")
TRIPLES, PIXELS, OLD, NEW, LATENT = 1024, 32, 64, 128, 16
PENALTIES = (1e-3, 1e-2, 0.1, 1.0, 10.0)
Figures = dict[str, tuple[Any, Any]]
Spaces = dict[str, dict[str, np.ndarray]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    options = spec.get("options", {})
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise PartError(f"the protocol align has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    if data not in SEEDS + UPGRADES:
        raise DataError(f"the protocol align knows {', '.join(SEEDS + UPGRADES)}, not {data!r}")
    return (
        upgraded(spec, data, seed) if data in UPGRADES else (latents if data == "digits" else seeds)(spec, data, seed)
    )


def choices(spec: str, grid: Mapping[str, list[Any]]) -> list[str]:
    """The part with every combination of its options; `absolute` has none."""
    if not grid:
        return [spec]
    name, given = parse_spec(spec)
    made = [{**given, **dict(zip(grid, values, strict=True))} for values in itertools.product(*grid.values())]
    return [f"{name}({', '.join(f'{k}={v!r}' for k, v in each.items())})" for each in made]


class _Absolute:
    """No map at all: the baseline of the first question."""

    def transform(self, new: np.ndarray, *, side: str = "query") -> np.ndarray:
        return new


def _fitted(spec: str, new: np.ndarray, old: np.ndarray, seed: int, pairs: Any = None) -> Any:
    if spec == "absolute":
        return _Absolute()
    return make("align", spec).fit(new, old, pairs=pairs, seed=seed)


def _stored(part: Any, old: np.ndarray) -> np.ndarray:
    return part.convert(old) if hasattr(part, "convert") else old


def _places(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    """[n] expected place of each query's own document, ties broken at random."""
    scores = q @ k.T
    own = scores.diagonal()[:, None]
    return (scores > own).sum(1) + ((scores == own).sum(1) - 1) / 2 + 1


def _found(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    return (_places(q, k) <= 10).astype(np.float64)


def _good(q: np.ndarray, k: np.ndarray) -> float:
    return float((1 / _places(q, k)).mean())


# --- encoders that differ by their seed ---


def latents(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """Accuracy of a head fitted on A's latents, on those of B."""
    from sklearn.linear_model import RidgeClassifier

    options = spec.get("options", {})
    held = _sets.load(data)
    train, validation, test = _sets.split(held, seed, (0.5, 0.2, 0.3))
    encoders = [_autoencoder(train.x, 2 * seed + which) for which in (0, 1)]
    a, b = ({p: encode(x.x) for p, x in (("train", train), ("validation", validation), ("test", test))}
            for encode in encoders)  # fmt: skip

    def answers(name: str, *, into: dict[str, np.ndarray]) -> tuple[float, np.ndarray]:
        part = _fitted(name, into["train"], a["train"], seed)
        stored, asked = _stored(part, a["train"]), [part.transform(into[p]) for p in ("validation", "test")]
        found = []
        for penalty in PENALTIES:
            head = RidgeClassifier(alpha=penalty).fit(stored, train.y)
            right = [head.predict(x) == y.y for x, y in zip(asked, (validation, test), strict=True)]
            found.append((float(right[0].mean()), right[1].astype(np.float64)))
        return max(found, key=lambda r: r[0])

    def best(name: str, grid: str, *, into: dict[str, np.ndarray] = b) -> np.ndarray:
        return max((answers(c, into=into) for c in choices(name, options.get(grid, {}))), key=lambda r: r[0])[1]

    ours = best(spec["part"], "part_grid")
    figures = {"accuracy, A to B": (best(spec["baseline"], "baseline_grid"), ours)}
    figures["accuracy, A to A"] = (best("absolute", "", into=a), best(spec["part"], "part_grid", into=a))
    for control in options.get("controls", []):
        figures[f"accuracy, A to B, against {control}"] = (best(control, ""), ours)
    return figures


def _autoencoder(x: np.ndarray, seed: int) -> Any:
    """A small autoencoder with one hidden layer a side, trained on x; gives its encoder."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        encode = torch.nn.Sequential(torch.nn.Linear(x.shape[1], 64), torch.nn.ReLU(), torch.nn.Linear(64, LATENT))
        decode = torch.nn.Sequential(torch.nn.Linear(LATENT, 64), torch.nn.ReLU(), torch.nn.Linear(64, x.shape[1]))
        held = torch.from_numpy(np.asarray(x, np.float32))
        optimiser = torch.optim.Adam([*encode.parameters(), *decode.parameters()], lr=3e-3)
        for _ in range(40):
            for rows in torch.randperm(len(held)).split(64):
                optimiser.zero_grad()
                ((decode(encode(held[rows])) - held[rows]) ** 2).mean().backward()
                optimiser.step()

    def latent(items: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return unit_rows(encode(torch.from_numpy(np.asarray(items, np.float32))).numpy())

    return latent


def seeds(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """R@10 of B's queries among A's documents."""
    options = spec.get("options", {})
    a, b = (
        _trained(data, seed, 2 * seed + which, "strong", NEW, options.get("items", 2000), options.get("epochs", 15))
        for which in (0, 1)
    )

    def asked(name: str, into: Spaces) -> tuple[float, np.ndarray]:
        new, old = (np.concatenate([x["train"][side] for side in SIDES]) for x in (into, a))
        part = _fitted(name, new, old, seed, tuple(into["train"][s] for s in SIDES))
        q, k = ([part.transform(into[p]["query"]) for p in ("validation", "test")],
                [_stored(part, a[p]["document"]) for p in ("validation", "test")])  # fmt: skip
        return _good(q[0], k[0]), _found(q[1], k[1])

    def best(name: str, grid: str, *, into: Spaces = b) -> np.ndarray:
        return max((asked(c, into) for c in choices(name, options.get(grid, {}))), key=lambda r: r[0])[1]

    ours = best(spec["part"], "part_grid")
    figures = {"R@10, B to A": (best(spec["baseline"], "baseline_grid"), ours)}
    figures["R@10, A to A"] = (best("absolute", "", into=a), best(spec["part"], "part_grid", into=a))
    for control in options.get("controls", []):
        figures[f"R@10, B to A, against {control}"] = (best(control, ""), ours)
    return figures


# --- a weak encoder and a better one ---


def upgraded(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """R@10 of new queries among old documents, and what it is to be compared with."""
    options = spec.get("options", {})
    name = data.removeprefix("weak-")
    budget = options.get("items", 2000), options.get("epochs", 15)
    old = _trained(name, seed, 2 * seed, "weak", OLD, *budget)
    new = _trained(name, seed, 2 * seed + 1, "strong", NEW, *budget)
    few = np.random.default_rng([seed, 5]).permutation(len(old["train"]["query"]))[: options.get("pairs", 100)]
    pairs = tuple(new["train"][side][few] for side in SIDES)

    def fit(choice: str, *, texts: bool, tuned: bool) -> Any:
        held = [x["train"]["query"] for x in (new, old)] if texts else [
            np.concatenate([x["train"][side][few] for side in SIDES]) for x in (new, old)
        ]  # fmt: skip
        return _fitted(choice, held[0], held[1], seed, pairs if tuned else None)

    def best(part: str, grid: str, **how: bool) -> Any:
        made = [fit(choice, **how) for choice in choices(part, options.get(grid, {}))]
        at = new["validation"]["query"], old["validation"]["document"]
        return max(made, key=lambda p: _good(p.transform(at[0]), _stored(p, at[1])))

    def across(part: Any, share: float = 0.0) -> np.ndarray:
        k = _stored(part, old["test"]["document"])
        fresh = part.transform(new["test"]["document"], side="document")
        order = np.random.default_rng([seed, 6]).permutation(len(k)) / len(k)
        return _found(part.transform(new["test"]["query"]), np.where((order < share)[:, None], fresh, k))

    texts = "texts" in card_of("align", parse_spec(spec["part"])[0]).traits
    part, base = best(spec["part"], "part_grid", texts=texts, tuned=True), best(
        spec["baseline"], "baseline_grid", texts=False, tuned=False
    )  # fmt: skip
    ours, before = across(part), _found(old["test"]["query"], old["test"]["document"])
    figures = {"R@10, new to old": (across(base), ours), "R@10, new to old, against old queries": (before, ours)}
    figures["R@10, the baseline against old queries"] = (before, across(base))
    if texts:
        alone = across(best(spec["part"], "part_grid", texts=True, tuned=False))
        figures["R@10, new to old, against the part without pairs"] = (alone, ours)
        on_texts = across(best(spec["baseline"], "baseline_grid", texts=True, tuned=False))
        figures["R@10, new to old, against the baseline on texts"] = (on_texts, ours)
    for share in (0.5, 1.0):
        figures[f"R@10, {share:.0%} backfilled"] = (across(base, share), across(part, share))
    figures["R@10, new to new, against old to old"] = (before, _found(new["test"]["query"], new["test"]["document"]))
    return figures


@functools.lru_cache(maxsize=8)
def _trained(data: str, seed: int, start: int, kind: str, dim: int, items: int, epochs: int) -> Spaces:
    """{part of the split: {side: unit vectors}} under heads trained from a start of their own."""
    from tellapart.data.splits import split
    from tellapart.engine.fit import fit
    from tellapart.engine.prepare import train_data
    from tellapart.engine.trial import held_out
    from tellapart.recipe import Recipe

    made, vectors = _features(data, kind, items)
    made = split(made, seed=seed, shares=(0.6, 0.15, 0.25))
    recipe = Recipe(head=f"linear-head(dim={dim})", epochs=epochs)
    rows = np.flatnonzero(np.asarray(made.values("split"), dtype=object) == "train")
    held = train_data(made.take(rows), {s: x[rows] for s, x in vectors.items()}, recipe)
    fitted = fit(recipe, held, seed=start)
    parts = {part: held_out(made, part) for part in ("train", "validation", "test")}
    return {part: {s: fitted.encode(s, x[at]) for s, x in vectors.items()} for part, at in parts.items()}


@functools.lru_cache(maxsize=8)
def _features(data: str, kind: str, items: int) -> tuple[Any, dict[str, np.ndarray]]:
    """Pairs with their duplicate groups, and features of both sides: those of good encoders, or weak ones."""
    from tellapart.data.identity import curate
    from tellapart.engine.prepare import features
    from tellapart.recipe import Recipe

    made = _sets.shipped(data)
    if len(made) > items:
        made = made.take(np.linspace(0, len(made) - 1, items).astype(int))
    made = curate(made)
    if kind == "strong":
        found = features(made, Recipe(), cache=cache_folder(None, "evidence-vectors"))
        return made, {side: np.array(x) for side, x in found.items()}
    sides = made.sides()
    return made, {name: _weak(made, getattr(sides, name)) for name in SIDES}


def _weak(made: Any, side: Any) -> np.ndarray:
    """Grey pictures of 32 pixels a side, or counts of letter triples in 1,024 places."""
    from tellapart.data.images import image_source, open_image

    values = made.values(side.column)
    if side.modality == "image":
        small = [open_image(image_source(v, made.root)).convert("L").resize((PIXELS, PIXELS)) for v in values]
        return np.stack([np.asarray(image, np.float32).ravel() / 255 for image in small])
    counts = np.zeros((len(values), TRIPLES), np.float32)
    for row, text in enumerate(values):
        held = f" {str(text).lower()} "
        for at in range(len(held) - 2):
            counts[row, zlib.crc32(held[at : at + 3].encode()) % TRIPLES] += 1
    return np.log1p(counts)
