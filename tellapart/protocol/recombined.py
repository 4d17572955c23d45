"""Things put before other grounds, moved and resized: whether few of them say what many would, and which cue matters.

**recombination** is judged in two ways.

- `error about a drop`: the drops that it reports of few things against those of other things, many of them; the
  encoders are oriented gradients and colour histograms, the grounds are even colours. `openmoji` has no labels (the
  picture is found again), `fashion` has. The baseline is the mean of the four drops, said of each.
- `planted cue first`: the class is told by the ground, or by the size, of a thing in the share `strength` of pictures
  (`planted_cues`); the share in which that cue's drop is the largest. The baseline takes the cue of the smallest chance
  among differences of accuracy between its values, on the pictures as they are. Beside it `called found where nothing
  is planted`: classes are a coin; the share of collections in which either calls anything at 5%, corrected (Holm).

Options (`[options]` of the spec):
    items: of a planted collection (500); strengths: [0.75, 0.95]; clean: how many (4); few: (60); many: (240).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tellapart.core.chance import difference, holm
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.outcomes import outcomes
from tellapart.core.parts import make
from tellapart.core.picture_cues import picture_cues
from tellapart.protocol import _sets
from tellapart.protocol.planted_cues import ENCODER, planted

LOWER_IS_BETTER = ("called", "error")
KNOWN = ("items", "strengths", "clean", "few", "many")
ERROR, FIRST, CALLED = "error about a drop", "planted cue first", "called found where nothing is planted"
CUE_OF = {"another ground": "ground", "off the centre": "place", "smaller": "size", "larger": "size"}
CLEAR = 0.05
Figures = dict[str, tuple[Any, Any]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and seed."""
    options = spec["options"]
    if unknown := [name for name in options if name not in KNOWN]:
        raise PartError(f"the protocol recombined has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    if data not in ("openmoji", "fashion"):
        raise DataError(f"the protocol recombined knows openmoji and fashion, not {data!r}")
    items, first, called = options.get("items", 500), [], []
    for cue in ("ground", "size"):
        for strength in options.get("strengths", [0.75, 0.95]):
            plain, drops, _ = asked(spec["part"], planted(data, cue, strength, items, seed), seed)
            best = max(drops, key=lambda name: drops[name])
            first.append([min(plain, key=lambda name: plain[name]) == cue, CUE_OF[best] == cue and drops[best] > 0])
    for number in range(options.get("clean", 4)):
        plain, _, p = asked(spec["part"], planted(data, "", 0.5, items, 1000 * (number + 1) + seed), seed)
        called.append([bool((holm(list(v.values())) < CLEAR).any()) for v in (plain, p)])
    told = error(spec["part"], data, seed, options.get("few", 60), options.get("many", 240))
    found = {ERROR: told, FIRST: np.mean(first, axis=0), CALLED: np.mean(called, axis=0)}
    return {name: (float(value[0]), float(value[1])) for name, value in found.items()}


def asked(
    part: str, made: tuple[Collection, list[Any]], seed: int
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """p of accuracy by the values of every cue, and the part's drops and their p."""
    collection, pictures = made
    encode = make("encode", ENCODER).encode
    x = np.asarray(encode(pictures, batch_size=64))
    vectors = {"document": x, "image": x, "pictures": pictures, "image-encoder": encode}
    findings = make("audit", part)(vectors, collection, seed=seed).findings()
    names = [f.figure.name.removeprefix("drop ") for f in findings]
    said, plain = outcomes(vectors, collection, seed=seed), {}
    for cue in picture_cues(pictures, said.rows.tolist()):
        known = cue.codes >= 0
        tests = [difference(said.right[known], cue.codes[known] == v, np.flatnonzero(known), seed=seed)
                 for v in np.unique(cue.codes[known])]  # fmt: skip
        plain[cue.name] = min(1.0, sum(t is not None for t in tests) * min([t.p for t in tests if t], default=1.0))
    drops = {name: f.figure.value for name, f in zip(names, findings, strict=True)}
    return plain, drops, {name: f.p for name, f in zip(names, findings, strict=True)}


def error(part: str, data: str, seed: int, few: int, many: int) -> tuple[float, float]:
    """How far the drops of few things are from those of many others: their mean said of each, and each by itself."""
    from tellapart.data.images import image_source, open_image

    made = _sets.shipped(data)
    made = made.take(np.random.default_rng(np.random.SeedSequence([seed, 95])).permutation(len(made))[: 2 * many])
    images = [open_image(image_source(v, made.root)).resize((64, 64)) for v in made.values("image")]
    columns: dict[str, Any] = {"id": [f"p{i:04d}" for i in range(len(images))]}
    if data == "fashion":
        columns["label"] = made.values("label")
    collection, errors = Collection.of(columns), []
    for encoder in ("hog", "colour-histogram"):
        encode = make("encode", encoder).encode
        drops = []
        for side, count in enumerate((few, many)):
            rows = np.arange(side, len(images), 2)
            held = [images[i] for i in rows]
            vectors = {"image": encode(held), "pictures": held, "image-encoder": encode}
            report = make("audit", part, items=count, grounds="colours")(vectors, collection.take(rows), seed=seed)
            drops.append({f.figure.name: f.figure.value for f in report.findings()})
        told, truth = drops
        both = [name for name in told if name in truth]
        middle = float(np.mean([told[name] for name in both]))
        errors.append([[abs(middle - truth[n]), abs(told[n] - truth[n])] for n in both])
    found = np.mean([np.mean(e, axis=0) for e in errors], axis=0)
    return float(found[0]), float(found[1])
