"""Damaged pictures: what training on them is worth, and whether an audit of few of them says what all would.

**targeted-corruptions** (`digits`, `fashion`): a small convolutional network is trained for labels on altered copies of
400 pictures of 24 x 24, by RandAugment (the baseline), by the part, by the part without one family of corruptions after
the other, and on the pictures as they are. Strengths are chosen by the error on damaged validation pictures, among as
many for both. Metrics, all lower is better: `BE` and `rBE` (errors on test pictures, of every corruption at every
severity, relative to a ridge regression on pixels), `BE of the family left out` (each family's errors by the network
that never saw it), `error, clean`, and `BE against no augmentation`.

**medmnist-c** (`openmoji`, without labels; `fashion`): the part looks at few pictures, each at one severity of each
corruption; the truth is the drop of other pictures at all severities. Two encoders without weights. Metric, lower is
better: `error about a drop`, mean over corruptions; the baseline is the mean drop over all corruptions, said of each.

Options (`[options]` of the spec):
    items: that are trained on (400), or audited (60); epochs: (15); copies: of each (5).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from tellapart.core.collection import Collection
from tellapart.core.corruptions import SEVERITIES, corruptions, families
from tellapart.core.errors import DataError
from tellapart.core.linear import ridge_map
from tellapart.core.parts import make, parse_spec
from tellapart.protocol import _sets

LOWER_IS_BETTER = ("BE", "rBE", "error")
SIDE, HELD, TRUTH = 24, 200, 200
GRIDS: dict[str, list[dict[str, Any]]] = {
    "randaugment": [{"operations": n, "magnitude": m} for n, m in ((1, 4), (2, 4), (2, 9))],
    "targeted-corruptions": [{"clean": share} for share in (0.0, 0.25, 0.5)],
}
Figures = dict[str, tuple[Any, Any]]
Told = Callable[[np.ndarray], np.ndarray]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    name = parse_spec(spec["part"])[0]
    if name not in ("targeted-corruptions", "medmnist-c"):
        raise DataError(f"the protocol corrupted knows targeted-corruptions and medmnist-c, not {name}")
    return trained(spec, data, seed) if name == "targeted-corruptions" else audited(spec, data, seed)


def trained(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """Errors on damaged pictures of networks that were trained on copies altered in different ways."""
    options, (x, y) = spec["options"], pictures(data)
    order = np.random.default_rng(np.random.SeedSequence([seed, 11])).permutation(len(x))
    test, validation, train = order[:HELD], order[HELD : 2 * HELD], order[2 * HELD :][: options.get("items", 400)]
    budget = {"epochs": options.get("epochs", 15), "copies": options.get("copies", 5), "seed": seed}
    clean, damaged = x[test].astype(np.float32) / 255, every(x[test], seed)
    tuning = some(x[validation], seed)

    def learnt(alter: Callable[..., Any] | None) -> Told:
        return network(x[train], y[train], alter, **budget)

    def chosen(part: str) -> Told:
        made = [learnt(make("augment", part, **each)) for each in GRIDS[part]]
        return min(made, key=lambda told: float(np.mean([(told(v) != y[validation]).mean() for v in tuning.values()])))

    plain, generic, ours = learnt(None), chosen(spec["baseline"]), chosen("targeted-corruptions")
    ridge = ridge_map(flat(x[train]), np.eye(int(y.max()) + 1)[y[train]], 1.0)
    reference: Told = lambda pixels: ridge(pixels.reshape(len(pixels), -1)).argmax(axis=1)  # noqa: E731

    def errors(told: Told) -> dict[str, float]:
        return {name: float(np.mean([unbalanced(told(p), y[test]) for p in v])) for name, v in damaged.items()}

    base = errors(reference), unbalanced(reference(clean), y[test])
    found = {name: (errors(told), unbalanced(told(clean), y[test]))
             for name, told in (("plain", plain), ("generic", generic), ("ours", ours))}  # fmt: skip
    be = {name: float(np.mean([e[c] / base[0][c] for c in e])) for name, (e, _) in found.items()}
    rbe = {name: float(np.mean([(e[c] - c0) / max(base[0][c] - base[1], 0.02) for c in e]))
           for name, (e, c0) in found.items()}  # fmt: skip
    unseen: dict[str, list[float]] = {"generic": [], "left out": []}
    for family in families():
        mine = [c.name for c in corruptions() if c.family == family]
        without = errors(learnt(make("augment", "targeted-corruptions", but=family)))
        for name, e in (("generic", found["generic"][0]), ("left out", without)):
            unseen[name] += [e[c] / base[0][c] for c in mine]
    return {
        "BE": (be["generic"], be["ours"]),
        "rBE": (rbe["generic"], rbe["ours"]),
        "BE of the family left out": (float(np.mean(unseen["generic"])), float(np.mean(unseen["left out"]))),
        "error, clean": (found["generic"][1], found["ours"][1]),
        "BE against no augmentation": (be["plain"], be["ours"]),
    }


@functools.cache
def pictures(data: str) -> tuple[np.ndarray, np.ndarray]:
    """[n, 24, 24] uint8 and [n] labels, of `digits` and of 3,000 of `fashion`."""
    from tellapart.data.shipped import pixels

    if data not in ("digits", "fashion"):
        raise DataError(f"targeted-corruptions is judged on digits and fashion, not on {data!r}")
    made = _sets.shipped(data)
    made = made.take(np.linspace(0, len(made) - 1, min(len(made), 3000)).astype(int))
    x = [np.asarray(Image.fromarray(p).resize((SIDE, SIDE), Image.Resampling.BILINEAR)) for p in pixels(made)]
    return np.stack(x), made.codes("label")[0]


def flat(x: np.ndarray) -> np.ndarray:
    """[n, h * w] in 0..1."""
    return x.reshape(len(x), -1).astype(np.float64) / 255


def unbalanced(said: np.ndarray, y: np.ndarray) -> float:
    """1 - balanced accuracy."""
    return 1 - float(np.mean([(said[y == c] == c).mean() for c in np.unique(y)]))


def every(x: np.ndarray, seed: int) -> dict[str, list[np.ndarray]]:
    """Each corruption at each severity, of all pictures, in 0..1."""
    return {c.name: [_damaged(x, c, s, seed) for s in range(1, SEVERITIES + 1)] for c in corruptions()}


def some(x: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    """Each corruption, each picture at one of the severities."""
    parts = [np.arange(len(x)) % SEVERITIES == s for s in range(SEVERITIES)]
    found = {}
    for kind in corruptions():
        held = np.empty(x.shape, np.float32)
        for s, mine in enumerate(parts):
            held[mine] = _damaged(x[mine], kind, s + 1, seed)
        found[kind.name] = held
    return found


def _damaged(x: np.ndarray, kind: Any, severity: int, seed: int) -> np.ndarray:
    made = [kind.at(Image.fromarray(p), severity, np.random.default_rng([seed, severity, i])) for i, p in enumerate(x)]
    return np.stack([np.asarray(p, np.float32) for p in made]) / 255


def network(x: np.ndarray, y: np.ndarray, alter: Any, *, epochs: int, copies: int, seed: int) -> Told:
    """A network of two convolutions after training on altered copies, another of each picture in each epoch."""
    held = np.repeat((x.astype(np.float32) / 255)[:, None], 1 if alter is None else copies, axis=1)
    if alter is not None:
        for i, picture in enumerate(x):
            drawn = [alter(Image.fromarray(picture), rng=np.random.default_rng([seed, i, c])) for c in range(copies)]
            held[i] = np.stack([np.asarray(d, np.float32) for d in drawn]) / 255
    inputs, labels = torch.from_numpy(held), torch.from_numpy(y)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32),
            nn.ReLU(), nn.Flatten(), nn.Linear(32 * (SIDE // 4) ** 2, int(y.max()) + 1),
        )  # fmt: skip
        optimiser = torch.optim.Adam(net.parameters(), lr=2e-3)
        for epoch in range(epochs):
            for rows in torch.randperm(len(x)).split(64):
                optimiser.zero_grad()
                z = net(inputs[rows, epoch % held.shape[1], None])
                nn.functional.cross_entropy(z, labels[rows]).backward()
                optimiser.step()
    net.eval()

    def told(pixels: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            said: Tensor = net(torch.from_numpy(pixels)[:, None])
        return np.asarray(said.argmax(dim=1))

    return told


def audited(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """How far the drops that the part reports are from those of other pictures at all severities."""
    from tellapart.data.images import image_source, open_image

    if data not in ("openmoji", "fashion"):
        raise DataError(f"medmnist-c is judged on openmoji and fashion, not on {data!r}")
    made = _sets.shipped(data)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 12]))
    rows = rng.permutation(len(made))[: 2 * TRUTH]
    images = [
        open_image(image_source(v, made.root)).convert("RGB").resize((48, 48)) for v in made.take(rows).values("image")
    ]
    labels = {"label": made.take(rows).values("label")} if data == "fashion" else {}
    collection = Collection.of({"id": [f"p{i:04d}" for i in range(len(rows))], **labels})
    ours, base, few = [], [], spec["options"].get("items", 60)
    for encoder in ("hog", "colour-histogram"):
        encode = make("encode", encoder).encode
        halves = [np.arange(len(rows)) % 2 == side for side in (0, 1)]
        drops = []
        for short, half in zip((True, False), halves, strict=True):
            mine = np.flatnonzero(half)
            held = [images[i] for i in mine]
            vectors = {"image": encode(held), "pictures": held, "image-encoder": encode}
            found: dict[str, list[float]] = {}
            # Each picture at every severity: one pass of the same part for each, with another deal of the severities.
            for deal in range(1 if short else SEVERITIES):
                part = make("audit", "medmnist-c", items=few if short else TRUTH)
                for f in part(vectors, collection.take(mine), seed=1000 * deal + seed).findings():
                    found.setdefault(f.figure.name, []).append(f.figure.value)
            drops.append({name: float(np.mean(v)) for name, v in found.items()})
        told, truth = drops
        middle = float(np.mean(list(told.values())))
        ours.append(float(np.mean([abs(told[c] - truth[c]) for c in truth])))
        base.append(float(np.mean([abs(middle - truth[c]) for c in truth])))
    return {"error about a drop": (float(np.mean(base)), float(np.mean(ours)))}
