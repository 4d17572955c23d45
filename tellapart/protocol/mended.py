"""What a step before an encoder does for pictures that were altered so that a small network is wrong about them.

Every seed draws training, validation and test pictures. `small-cnn(width=8, side=16)` with a linear layer learns the
training labels, and is never changed again. The part is fitted before that encoder on the training pictures, without
labels, and so is what it is compared with; what has options chooses them on the validation pictures by the mean of the
accuracies on clean and on attacked ones. The test is looked at once, picture by picture.

An attack moves no number of a picture by more than a size, in 20 steps of a fifth of it along the sign of a gradient,
from a random start. It is made twice, to raise the cross-entropy, and to raise the best other logit over the right one;
a picture counts as right if it is so after both. Two attackers:

- `unaware`: the gradients are those of the network alone, and the same pictures are given to all;
- `aware`: the gradients go through the step too, which is known in full, its draws included where it has any; beside
  this attack a picture must withstand that of the unaware one. JPEG has no gradient: its own is taken for one.

Metrics: `clean`, `unaware` and `aware`, against the baseline, `the best fixed step` by validation: `bilinear` and
`bicubic`, down and up again; `JPEG`; `random places`, bilinear where each pixel was moved. The same against `random
places` alone, which is the paper's basic resampling; against `no step`; and against `learnt, without places`, the part
with `reach=0`.

Options (`[options]` of the spec): items (1200 training pictures at most), steps, hidden of the part (120, 16), test
(200 pictures at most), size: {data: size}.

Data: `digits` (8 pixels a side, doubled) and `fashion` (28, halved).
"""

from __future__ import annotations

import functools
import io
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import make
from tellapart.protocol._small_pictures import DATA, SIDE, pictures, shares

KNOWN = ("items", "steps", "hidden", "test", "size")
SIZES = {"digits": 0.1, "fashion": 0.03}
ENCODER = "small-cnn(width=8, side=16)"
EPOCHS, RATE, STEPS = 12, 3e-3, 20
SMALLER, QUALITIES, MOVES = (8, 10, 12), (30, 50, 75, 90), (0.25, 0.5, 1.0)

Step = Callable[[Tensor], Tensor]
Loss = Callable[[Tensor, Tensor], Tensor]


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[Any, Any]]:
    """{metric: (baseline, part)} for one data set and one seed."""
    options = spec["options"]
    if unknown := [name for name in options if name not in KNOWN]:
        raise PartError(f"the protocol mended has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    if data not in DATA:
        raise DataError(f"the protocol mended knows {', '.join(DATA)}, not {data!r}")
    x, y = pictures(data)
    images = [Image.fromarray(each).convert("RGB") for each in x]
    train, bank, tune, test = shares(len(x), seed, options.get("items", 1200))
    probe = np.concatenate([test, bank])[: options.get("test", 200)]
    size = options.get("size", {}).get(data, SIZES[data])
    encoder = make("encode", ENCODER)
    shown = {name: (encoder.prepare([images[i] for i in rows])[0], torch.from_numpy(y[rows]))
             for name, rows in (("train", train), ("tune", tune[: len(probe)]), ("probe", probe))}  # fmt: skip
    with torch.random.fork_rng(devices=[]), tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(seed)
        network, last = learnt(encoder, *shown["train"])
        encoder.save(folder, {name: value.numpy() for name, value in network.state_dict().items()})
        held = f"small-cnn(width=8, side=16, path={folder!r})"
        fit = functools.partial(make, "encode", spec["part"], encoder=held, size=size,
                                steps=options.get("steps", 120), hidden=options.get("hidden", 16))  # fmt: skip
        steps = {name: fit(**more).fit([images[i] for i in train], seed=seed).module()[0].requires_grad_(False)
                 for name, more in (("", {}), ("learnt, without places", {"reach": 0.0}))}  # fmt: skip
        answer = nn.Sequential(network, last)
        steps["the best fixed step"] = best(answer, fixed() | random_places(), *shown["tune"], size)
        steps["random places"] = best(answer, random_places(), *shown["tune"], size)
        steps["no step"] = nn.Identity()
        torch.manual_seed(seed)
        altered = [attacked(answer, *shown["probe"], size, loss) for loss in LOSSES]
        found = {name: judged(answer, step, *shown["probe"], altered, size) for name, step in steps.items()}
    ours = found.pop("")
    others = {"" if name == spec["baseline"] else f", against {name}": figures for name, figures in found.items()}
    return {f"{kind}{words}": (other[kind], ours[kind]) for words, other in others.items() for kind in ours}


def learnt(encoder: Any, x: Tensor, y: Tensor) -> tuple[nn.Module, nn.Module]:
    """Network and linear layer after `EPOCHS` of Adam on the cross-entropy."""
    network, last = encoder.module(), nn.Linear(encoder.dim, int(y.max()) + 1)
    optimiser = torch.optim.Adam([*network.parameters(), *last.parameters()], RATE)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, EPOCHS * (len(x) // 64))
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x))[: len(x) // 64 * 64].split(64):
            optimiser.zero_grad()
            nn.functional.cross_entropy(last(network(x[rows])), y[rows]).backward()
            optimiser.step()
            falling.step()
    return network.eval().requires_grad_(False), last.requires_grad_(False)


def fixed() -> dict[str, Step]:
    """The steps that learn nothing and draw nothing, by name."""
    made: dict[str, Step] = {}
    for side in SMALLER:
        for mode in ("bilinear", "bicubic"):
            made[f"{mode} {side}"] = functools.partial(smaller, side=side, mode=mode)
    return made | {f"JPEG {quality}": functools.partial(jpeg, quality=quality) for quality in QUALITIES}


def random_places() -> dict[str, Step]:
    """The basic resampling of the paper, by how far pixels are moved."""
    return {f"random places {move}": functools.partial(moved, reach=move) for move in MOVES}


def smaller(x: Tensor, *, side: int, mode: str) -> Tensor:
    """Pictures made smaller, by the means of what falls on a pixel, and as large as before again."""
    small = nn.functional.interpolate(x, (side, side), mode=mode, antialias=True)
    return nn.functional.interpolate(small, x.shape[2:], mode=mode).clamp(0, 1)


def jpeg(x: Tensor, *, quality: int) -> Tensor:
    """Pictures after JPEG; the gradient is that of the pictures themselves."""
    made = []
    for each in x.detach():
        with io.BytesIO() as file:
            Image.fromarray((each.permute(1, 2, 0) * 255).round().byte().numpy()).save(file, "JPEG", quality=quality)
            made.append(torch.from_numpy(np.asarray(Image.open(file), np.float32) / 255).permute(2, 0, 1))
    return x + (torch.stack(made) - x).detach()


def moved(x: Tensor, *, reach: float) -> Tensor:
    """Pictures at places moved by as much as `reach`, the same for all pictures, drawn once."""
    draw = torch.Generator().manual_seed(0)
    shift = reach * (2 * torch.rand(2, *x.shape[2:], generator=draw) - 1)
    axes = torch.meshgrid(torch.arange(float(x.shape[2])), torch.arange(float(x.shape[3])), indexing="ij")
    place = [(2 * (axis + by) + 1) / SIDE - 1 for axis, by in zip(axes, shift, strict=True)]
    grid = torch.stack(place[::-1], -1).expand(len(x), -1, -1, -1)
    return nn.functional.grid_sample(x, grid, padding_mode="border", align_corners=False)


def best(answer: Step, steps: dict[str, Step], x: Tensor, y: Tensor, size: float) -> Step:
    """Of some steps the one with the best mean of the accuracies on clean and attacked pictures."""
    altered = [attacked(answer, x, y, size, loss) for loss in LOSSES]

    def mean(step: Step) -> float:
        return float(right(answer, step, [x], y).mean() + right(answer, step, altered, y).mean())

    return max(steps.values(), key=mean)


def judged(answer: Step, step: Step, x: Tensor, y: Tensor, altered: list[Tensor], size: float) -> dict[str, np.ndarray]:
    """By metric, which pictures are answered rightly; `altered` are those of the unaware attacker."""

    def whole(pixels: Tensor) -> Tensor:
        return answer(step(pixels))

    aware = [] if isinstance(step, nn.Identity) else [attacked(whole, x, y, size, loss) for loss in LOSSES]
    versions = {"clean": [x], "unaware": altered, "aware": [*altered, *aware]}
    return {kind: right(answer, step, shown, y) for kind, shown in versions.items()}


def right(answer: Step, step: Step, versions: list[Tensor], y: Tensor) -> np.ndarray:
    """[n] 1 where every version of a picture is answered rightly."""
    with torch.no_grad():
        return np.prod([(answer(step(x)).argmax(1) == y).double().numpy() for x in versions], axis=0)


def attacked(answer: Step, x: Tensor, y: Tensor, size: float, loss: Loss) -> Tensor:
    """Pictures within `size` of what they were, after steps that raise the loss."""
    at = (x + size * (2 * torch.rand_like(x) - 1)).clamp(0, 1)
    for _ in range(STEPS):
        at.requires_grad_()
        (slope,) = torch.autograd.grad(loss(answer(at), y), [at])
        stepped = at.detach() + size / 5 * slope.sign()
        at = torch.minimum(torch.maximum(stepped, x - size), x + size).clamp(0, 1)
    return at.detach()


def _entropy(logits: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, y, reduction="sum")


def _margin(logits: Tensor, y: Tensor) -> Tensor:
    own = logits.gather(1, y[:, None])
    return (logits.scatter(1, y[:, None], -torch.inf).max(1, keepdim=True).values - own).sum()


LOSSES: tuple[Loss, ...] = (_entropy, _margin)
