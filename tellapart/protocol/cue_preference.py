"""Which of several equally good cues a network takes: taught on pictures where all agree, asked where each is dealt.

Silhouettes of four drawings (`openmoji`) or of four kinds of clothes (`fashion`), drawn anew for every seed, tinted,
scaled, placed and turned in four ways each, on four grounds. 240 pictures lie on the diagonal, 300 are dealt. Every
figure is of shape (as baseline) against colour (as variant), so "helps" says that colour is what is taken.

- `told by it`: accuracy on dealt pictures with the factor as the label; small networks from pixels, mean over starts:
  `mlp` (one hidden layer) and `conv` (two layers of convolution, averaged over places).
- `starts that end there`: the share of starts whose best factor it is, of all six.
- `sharpness, mlp`: how much the loss of a network that was taught this factor by itself (on dealt pictures) rises when
  every weight matrix is moved by noise of half its length; lower is flatter.
- `the audit, lite0`: figures `drawn, shape` and `drawn, colour` of the part, of a ridge regression on frozen features.

Options (`[options]` of the spec):
    starts: networks of each kind (4); steps: of Adam on all pictures (60).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from tellapart.core.collection import Collection
from tellapart.core.errors import PartError
from tellapart.core.factors import FACTORS, LEVELS, SIDE, diagonal, drawn, off_diagonal
from tellapart.core.parts import make
from tellapart.protocol.planted_cues import bases

LOWER_IS_BETTER = ("sharpness",)
KNOWN = ("starts", "steps")
TAUGHT, ASKED, PIXELS, NOISE, DRAWS = 240, 300, 24, 0.5, 5
SHAPE, COLOUR = FACTORS.index("shape"), FACTORS.index("colour")

Figures = dict[str, tuple[Any, Any]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (shape, colour)} for one set of silhouettes and one seed."""
    options = spec["options"]
    if unknown := [name for name in options if name not in KNOWN]:
        raise PartError(f"the protocol cue_preference has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    starts, steps = options.get("starts", 4), options.get("steps", 60)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 83]))
    masks = silhouettes(data, rng)
    same, dealt = diagonal(FACTORS, TAUGHT, rng), off_diagonal(FACTORS, ASKED, rng)
    taught, asked = (pixels(drawn(masks, FACTORS, levels, rng, side=PIXELS)) for levels in (same, dealt))
    found: Figures = {}
    for kind in ("mlp", "conv"):
        said = [answers(trained(kind, taught, same[:, 0], seed * 100 + s, steps), asked) for s in range(starts)]
        shares = np.array([[(one == dealt[:, f]).mean() for f in range(len(FACTORS))] for one in said])
        found[f"told by it, {kind}"] = float(shares[:, SHAPE].mean()), float(shares[:, COLOUR].mean())
        first = shares.argmax(axis=1)
        found[f"starts that end there, {kind}"] = float((first == SHAPE).mean()), float((first == COLOUR).mean())
    sharp = [
        sharpness(trained("mlp", asked, dealt[:, f], seed, steps), asked, dealt[:, f], seed) for f in (SHAPE, COLOUR)
    ]
    found["sharpness, mlp"] = sharp[0], sharp[1]
    encoder = make("encode", "lite0")
    vectors = {"document": np.ones((1, 1)), "image-encoder": functools.partial(encoder.encode, batch_size=32)}
    report = make("audit", spec["part"])(vectors, Collection.of({"id": ["one"]}), seed=seed)
    found["the audit, lite0"] = report.figure("drawn, shape").value, report.figure("drawn, colour").value
    return found


def silhouettes(data: str, rng: np.random.Generator) -> list[Image.Image]:
    """Four masks of what is on pictures, of four kinds where there are kinds."""
    base, kinds = bases(data)
    rows = rng.choice(len(base), LEVELS, replace=False)
    if kinds is not None:
        rows = np.concatenate([rng.choice(np.flatnonzero(kinds == k), LEVELS // 2, replace=False) for k in (0, 1)])
    return [Image.fromarray(base[row]).getchannel("A").resize((SIDE, SIDE)) for row in rows]


def pixels(pictures: list[Image.Image]) -> Tensor:
    """[n, 3, side, side], about zero."""
    return torch.from_numpy(np.stack([np.asarray(p, np.float32) for p in pictures]) / 255 - 0.7).permute(0, 3, 1, 2)


def trained(kind: str, x: Tensor, y: np.ndarray, seed: int, steps: int) -> nn.Module:
    """A small network after so many steps on all pictures."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net: nn.Module = nn.Sequential(nn.Flatten(), nn.Linear(3 * PIXELS**2, 64), nn.ReLU(), nn.Linear(64, LEVELS))
        if kind == "conv":
            net = nn.Sequential(
                nn.Conv2d(3, 16, 5, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 5, stride=2), nn.ReLU(),
                nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, LEVELS),
            )  # fmt: skip
    adam, wanted = torch.optim.Adam(net.parameters(), lr=3e-3), torch.from_numpy(y)
    for _ in range(steps):
        adam.zero_grad()
        nn.functional.cross_entropy(net(x), wanted).backward()
        adam.step()
    return net.eval()


def answers(net: nn.Module, x: Tensor) -> np.ndarray:
    """[n] levels."""
    with torch.no_grad():
        return net(x).argmax(dim=1).numpy()


def sharpness(net: nn.Module, x: Tensor, y: np.ndarray, seed: int) -> float:
    """How much the loss rises when every matrix is moved by noise of `NOISE` times its length."""
    wanted, rise = torch.from_numpy(y), []
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        plain = float(nn.functional.cross_entropy(net(x), wanted))
        for _ in range(DRAWS):
            kept = [p.clone() for p in net.parameters()]
            for p in net.parameters():
                noise = torch.randn(p.shape, generator=draw)
                p.add_(noise, alpha=float(NOISE * p.norm() / noise.norm()))
            rise.append(float(nn.functional.cross_entropy(net(x), wanted)) - plain)
            for p, old in zip(net.parameters(), kept, strict=True):
                p.copy_(old)
    return float(np.mean(rise))
