"""Which place of a picture was spoilt: scratches, holes and blobs of known place, pasted onto pictures.

Every seed draws pictures: `fit` that a score is fitted on, `tune` and `probe` that it is judged on, each of these as it
is and with one fault somewhere on what it shows (a place that is not of the colour of its rim): a scratch, a straight
line; a hole, a disc in the colour of the rim; or a blob, a disc of one colour. All are drawn as in 112 x 112 pixels.

Three contenders choose their options by the pixel AUROC of `tune`, each from as many, and `probe` is looked at once:

- `plain`: positions as they are, `smoothing` 0.0001, no adapter; chooses among `anchors`;
- `smoothed`: no adapter; chooses among `smoothings`, with the anchors that `plain` has chosen;
- the part, smoothed as the second has chosen and with its adapter; chooses among `steps`.

Metrics: `pixel auroc` over all pixels of the spoilt pictures, maps being grown linearly; `image auroc`, a spoilt
picture's score above a clean one's. The baseline is `plain`; `, smoothed against plain` and `, adapter against
smoothed` say which of the two does what.

Options (`[options]` of the spec):
    anchors, smoothings, steps: lists of values.
    fit, tune, probe: pictures of each (60, 20, 40).

Data: `fashion`, one kind of clothes a seed, and `openmoji`, drawings of all kinds, of which none is like another.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import make
from tellapart.engine.embed import items_of
from tellapart.protocol import _sets
from tellapart.protocol._unknown import auroc

KNOWN = ("anchors", "smoothings", "steps", "fit", "tune", "probe")
SIDE, UNSMOOTHED = 112, 1e-4


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, variant)} for one data set and seed."""
    options = spec["options"]
    if unknown := [name for name in options if name not in KNOWN]:
        raise PartError(f"the protocol pasted has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    rng = np.random.default_rng(np.random.SeedSequence([seed, 53]))
    sizes = [options.get(name, usual) for name, usual in (("fit", 60), ("tune", 20), ("probe", 40))]
    shares = np.split(np.array(pictures(data, seed, sum(sizes), rng)), np.cumsum(sizes)[:-1])
    encode = make("encode", "lite0").encode_positions
    known = encode([Image.fromarray(p) for p in shares[0]])
    judged = []
    for share in shares[1:]:
        faulty, masks = zip(*(spoilt(p, rng) for p in share), strict=True)
        judged.append((*(encode([Image.fromarray(p) for p in some]) for some in (share, faulty)), np.array(masks)))
    fitted: dict[tuple[tuple[str, float], ...], Any] = {}

    def best(choices: Iterable[dict[str, float]]) -> tuple[dict[str, float], dict[str, float]]:
        """What does best on `tune`, of equals the first, and its figures on `probe`."""
        made = {tuple(sorted(choice.items())): choice for choice in choices}
        for key, choice in made.items():
            if key not in fitted:
                fitted[key] = make("score", spec["part"], **choice).fit(known)
        key = (
            max(made, key=lambda k: figures(fitted[k], *judged[0])["pixel auroc"])
            if len(made) > 1
            else next(iter(made))
        )
        return made[key], figures(fitted[key], *judged[1])

    chosen, plain = best({"smoothing": UNSMOOTHED, "steps": 0, "anchors": a} for a in options["anchors"])
    chosen, smoothed = best({**chosen, "smoothing": s} for s in options["smoothings"])
    _, ours = best({**chosen, "steps": s} for s in options["steps"])
    found = {name: (plain[name], ours[name]) for name in ours}
    found |= {f"{name}, smoothed against plain": (plain[name], smoothed[name]) for name in ours}
    return found | {f"{name}, adapter against smoothed": (smoothed[name], ours[name]) for name in ours}


def figures(score: Any, clean: np.ndarray, faulty: np.ndarray, masks: np.ndarray) -> dict[str, float]:
    """Pixel and image AUROC of a fitted score."""
    usual, odd = score.maps(clean), score.maps(faulty)
    grown = np.array([Image.fromarray(m).resize((SIDE, SIDE), Image.Resampling.BILINEAR) for m in odd])
    return {
        "pixel auroc": auroc(grown[~masks], grown[masks]),
        "image auroc": auroc(usual.max(axis=(1, 2)), odd.max(axis=(1, 2))),
    }


def pictures(data: str, seed: int, count: int, rng: np.random.Generator) -> list[np.ndarray]:
    """[SIDE, SIDE, 3] uint8 each."""
    if data not in ("fashion", "openmoji"):
        raise DataError(f"the protocol pasted knows fashion and openmoji, not {data!r}")
    made = _sets.shipped(data)
    rows = np.arange(len(made))
    if data == "fashion":
        labels = np.asarray(made.values("label"))
        kinds = np.unique(labels)
        rows = np.flatnonzero(labels == kinds[seed % len(kinds)])
    items = items_of(made, "image", "image")
    some = rng.choice(rows, count, replace=False)
    small = (items.at(int(r)).convert("RGB").resize((SIDE, SIDE), Image.Resampling.BICUBIC) for r in some)
    return [np.asarray(p) for p in small]


def spoilt(picture: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The picture with a fault, and [SIDE, SIDE] where it is."""
    rim = np.median(np.concatenate([picture[0], picture[-1]]), axis=0)
    shown = np.argwhere(np.abs(picture.astype(float) - rim).max(axis=2) > 40)
    y, x = (int(v) for v in shown[rng.integers(len(shown))]) if len(shown) else (SIDE // 2, SIDE // 2)
    where = Image.new("L", (SIDE, SIDE))
    kind, colour, size = rng.integers(3), rng.integers(0, 256, 3), rng.uniform(6, 12)
    angle = rng.uniform(0, np.pi)
    if kind == 0:
        dx, dy = 3 * size * np.cos(angle), 3 * size * np.sin(angle)
        ImageDraw.Draw(where).line([x - dx, y - dy, x + dx, y + dy], fill=255, width=4)
    else:
        ImageDraw.Draw(where).ellipse([x - size, y - size, x + size, y + size], fill=255)
    mask = np.asarray(where) > 0
    found = picture.copy()
    found[mask] = rim if kind == 1 else colour
    return found, mask
