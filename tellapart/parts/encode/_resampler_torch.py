"""A picture as a function of continuous places, which places to look at, and how both are learnt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from tellapart.core.errors import PartError
from tellapart.core.files import write_atomically

RATE, ATTACK_STEPS = 3e-3, 3
WEIGHTS = "resampler.safetensors"

Encode = Callable[[Tensor], Tensor]
CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


class Resampler(nn.Module):
    """[n, 3, h, w] in 0..1 -> the pictures as they are at shifted places, of the same shape; new, the pictures."""

    def __init__(self, hidden: int, reach: float) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, hidden, 3, padding=1), nn.ReLU()
        )
        # A convolution of 3 x 3 is the unfolding of neighbours and the first layer above it, once a pixel.
        self.around = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.offset = nn.Linear(2, hidden, bias=False)
        self.colour = nn.Sequential(nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 3))
        self.shift = nn.Sequential(nn.Conv2d(hidden, hidden, 3, padding=1), nn.ReLU(), nn.Conv2d(hidden, 2, 1))
        self.reach: Tensor
        self.register_buffer("reach", torch.tensor(float(reach)))
        for parameter in (*self.colour[-1].parameters(), *self.shift[-1].parameters()):
            nn.init.zeros_(parameter)

    def forward(self, x: Tensor) -> Tensor:
        seen = self.features(2 * x - 1)
        return self.at(x, self.reach * torch.tanh(self.shift(seen)), seen)

    def at(self, x: Tensor, shift: Tensor, seen: Tensor | None = None) -> Tensor:
        """The pictures at each pixel's place moved by shift [n, 2, h, w] (down, right), in pixels."""
        around = self.around(self.features(2 * x - 1) if seen is None else seen)
        values, hidden = torch.cat([x, around], 1), around.shape[1]

        def colour(found: Tensor, away: Tensor) -> Tensor:
            pixel, near = found.split([3, hidden], 2)
            return pixel + self.colour(near + self.offset(away))

        return interpolated(values, shift, colour).clamp(0, 1)


def interpolated(values: Tensor, shift: Tensor, colour: Callable[[Tensor, Tensor], Tensor] | None = None) -> Tensor:
    """[n, c, h, w] at moved places: what `colour` makes of the four pixels around each, by nearness (bilinear).

    Args:
        shift: [n, 2, h, w] pixels; places beyond the middle of the outermost pixels are moved there.
        colour: values of a pixel [n, places, c], and how far the place lies from it [n, places, 2]; None: the values.
    """
    n, _, h, w = values.shape
    most = torch.tensor([h - 1.0, w - 1.0], dtype=values.dtype, device=values.device)
    axes = [torch.arange(float(size), dtype=values.dtype, device=values.device) for size in (h, w)]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
    place = torch.minimum((grid + shift).flatten(2).transpose(1, 2).clamp(min=0), most)
    low, flat = torch.minimum(place.detach().floor(), (most - 1).clamp(min=0)), values.flatten(2).transpose(1, 2)
    total: Tensor | None = None
    for corner in CORNERS:
        pixel = torch.minimum(low + torch.tensor(corner, dtype=low.dtype, device=low.device), most)
        # Where a picture is one pixel wide both corners are that pixel: the second one weighs nothing.
        away = place - pixel
        apart = torch.where(most > 0, away.abs(), low.new_tensor(corner))
        index = (pixel[..., 0] * w + pixel[..., 1]).long()[..., None].expand(-1, -1, flat.shape[2])
        found = flat.gather(1, index)
        made = (1 - apart).prod(2, keepdim=True) * (found if colour is None else colour(found, away))
        total = made if total is None else total + made
    assert total is not None
    return total.transpose(1, 2).reshape(n, -1, h, w)


def untrained(hidden: int, reach: float, *, seed: int) -> Resampler:
    """A resampler that leaves pictures as they are."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Resampler(hidden, reach).eval()


def fitted(
    net: Resampler, batches: Iterator[Tensor], encode: Encode, size: float, steps: int, *, seed: int
) -> Resampler:
    """Both networks after `steps` each, on batches of clean pictures: first the colours, then the places.

    With a reach of 0 there are no places to learn, and the colours go on learning in their stead.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        reach = float(net.reach)
        places = list(net.shift.parameters())
        colours = [p for p in net.parameters() if all(p is not q for q in places)]

        def coloured(x: Tensor, moved: Tensor) -> Tensor:
            shift = reach * (2 * torch.rand(len(x), 2, *x.shape[2:]) - 1)
            shift[::2] = 0
            return (net.at(moved, shift) - interpolated(x, shift)).abs().mean()

        def placed(x: Tensor, moved: Tensor) -> Tensor:
            return 1 - nn.functional.cosine_similarity(encode(net(moved)), encode(x)).mean()

        for learnt, loss in ((colours, coloured), (places if reach else colours, placed)):
            optimiser = torch.optim.Adam(learnt, RATE)
            falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(steps, 1))
            for _ in range(steps):
                x = next(batches)
                moved = x.clone()
                # A fourth of the pictures stays clean, so that they come out as they went in.
                moved[len(x) // 4 :] = attacked(x[len(x) // 4 :], encode, size)
                optimiser.zero_grad()
                loss(x, moved).backward(inputs=learnt)
                optimiser.step()
                falling.step()
    return net


def attacked(x: Tensor, encode: Encode, size: float) -> Tensor:
    """Pictures moved by at most `size` in any number so that their vectors lie far from where they were."""
    with torch.no_grad():
        z = encode(x)
    moved = (x + size * (2 * torch.rand_like(x) - 1)).clamp(0, 1)
    for _ in range(ATTACK_STEPS):
        moved.requires_grad_()
        (slope,) = torch.autograd.grad((encode(moved) - z).square().sum(), [moved])
        stepped = moved.detach() + size / 2 * slope.sign()
        moved = torch.minimum(torch.maximum(stepped, x - size), x + size).clamp(0, 1)
    return moved.detach()


def write(net: Resampler, folder: Path) -> Path:
    """Keep what was learnt in a folder."""
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    write_atomically(folder / WEIGHTS, save({k: x.detach().cpu().contiguous() for k, x in net.state_dict().items()}))
    return folder


def opened(folder: Path) -> Resampler:
    """What `write` kept."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(folder.expanduser() / WEIGHTS)
        made = Resampler(len(state["around.bias"]), float(state["reach"]))
        made.load_state_dict(state)
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        raise PartError(f"resampled: nothing that `save` wrote can be read from {folder}: {error}") from None
    return made.eval()
