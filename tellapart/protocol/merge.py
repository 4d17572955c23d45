"""Models fine-tuned from one start, merged, against the best of them.

A small convolutional network is pretrained without labels (two shifted, noisy views of a picture find each other), and
then fine-tuned several times with random learning rates, weight decay, augmentation and order. The held-out share
chooses the best single model and the ingredients of the soup; the test share is used once, as it is and corrupted
(noise, and pictures shifted by a pixel). Batch statistics of every average are measured anew on the training share.

Metrics:
- `accuracy`, `corrupted accuracy`: the baseline (a merge part, or `best-single`) against the part;
- the same `against uniform-soup`, and `against the ensemble` of all models' probabilities, where the part is another;
- `control accuracy`: the same runs, each from random weights of its own; their best single model against their uniform
  average, which must collapse where the idea (one shared start) is what makes the part work.

Options (`[options]` of the spec):
    models: how many are fine-tuned (8).
    epochs: of fine-tuning (6); pretraining takes three times as many.
    items: pictures taken of a larger data set (2400).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tellapart.core.parts import cards, make, parse_spec
from tellapart.protocol import _sets

SHARES = (0.5, 0.15, 0.35)
State = dict[str, np.ndarray]
BATCH = 64


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[Any, Any]]:
    """{metric: (baseline, variant)}, both [test items] of 0 and 1."""
    options = spec["options"]
    x, y = pictures(data, options.get("items", 2400))
    shares = split(y, seed)
    train, held, test = ((x[rows], y[rows]) for rows in shares)
    start = pretrained(train[0], int(y.max()) + 1, seed, 3 * options.get("epochs", 6))
    runs = [sweep(start, train, seed, i, options.get("epochs", 6)) for i in range(options.get("models", 8))]
    clean, hurt = test[0], corrupted(test[0], seed)

    def evaluate(state: State) -> float:
        return float(right(state, *held).mean())

    def recompute(state: State) -> State:
        return measured_anew(state, train[0])

    best = max(runs, key=evaluate)
    merged = make("merge", spec["part"])(runs, evaluate, recompute)[0]
    known = parse_spec(spec["baseline"])[0] in cards("merge")
    base = make("merge", spec["baseline"])(runs, evaluate, recompute)[0] if known else best
    found: dict[str, tuple[Any, Any]] = {}
    for name, pixels in (("accuracy", clean), ("corrupted accuracy", hurt)):
        mine = right(merged, pixels, test[1])
        found[name] = right(base, pixels, test[1]), mine
        if parse_spec(spec["part"])[0] != "uniform-soup":
            uniform = make("merge", "uniform-soup")(runs, evaluate, recompute)[0]
            found[f"{name}, against uniform-soup"] = right(uniform, pixels, test[1]), mine
        together = np.mean([probabilities(state, pixels) for state in runs], axis=0)
        found[f"{name}, against the ensemble"] = (together.argmax(axis=1) == test[1]).astype(float), mine
    apart = [
        sweep(fresh(x.shape[1:], int(y.max()) + 1, 1000 * seed + i), train, seed, i, options.get("epochs", 6))
        for i in range(options.get("models", 8))
    ]
    average = make("merge", "uniform-soup")(apart, evaluate, recompute)[0]
    found["control accuracy, models of different starts"] = (
        right(max(apart, key=evaluate), clean, test[1]),
        right(average, clean, test[1]),
    )
    return found


def pictures(data: str, items: int) -> tuple[np.ndarray, np.ndarray]:
    """[n, h, w] float32 from 0 to 1 and [n] class numbers; larger pictures are halved, larger sets thinned out."""
    from tellapart.data import shipped

    made = _sets.shipped(data)
    x = shipped.pixels(made).astype(np.float32) / 255
    y = made.codes("label")[0]
    rows = np.linspace(0, len(y) - 1, min(items, len(y))).astype(int)
    x, y = x[rows], y[rows]
    while x.shape[1] > 16:
        x = x[:, : x.shape[1] // 2 * 2, : x.shape[2] // 2 * 2]
        x = x.reshape(len(x), x.shape[1] // 2, 2, x.shape[2] // 2, 2).mean(axis=(2, 4))
    return x, y


def split(y: np.ndarray, seed: int) -> list[np.ndarray]:
    """Random rows of the three shares."""
    order = np.random.default_rng(np.random.SeedSequence([seed, 1])).permutation(len(y))
    ends = np.round(np.cumsum(SHARES) * len(y)).astype(int)
    return np.split(order, ends[:-1])


class Net(nn.Module):
    """Two convolutions with batch statistics and a linear classifier."""

    def __init__(self, size: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.one, self.norm_one = nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.two, self.norm_two = nn.Conv2d(16, 32, 3, padding=1, bias=False), nn.BatchNorm2d(32)
        self.last = nn.Linear(32 * (size[0] // 4) * (size[1] // 4), classes)

    def features(self, x: Tensor) -> Tensor:
        """[n, width] before the classifier."""
        x = nn.functional.max_pool2d(torch.relu(self.norm_one(self.one(x[:, None]))), 2)
        return nn.functional.max_pool2d(torch.relu(self.norm_two(self.two(x))), 2).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """[n, classes] logits."""
        return self.last(self.features(x))


def fresh(size: tuple[int, ...], classes: int, seed: int) -> State:
    """Random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return state_of(Net(size, classes))


def state_of(net: nn.Module) -> State:
    """A network's weights and buffers as arrays of their own."""
    return {name: value.detach().numpy().copy() for name, value in net.state_dict().items()}


def net_of(state: State) -> Net:
    """The network of a state; the size of its pictures follows from the classifier's width."""
    classes, width = state["last.weight"].shape
    side = 4 * int((width // 32) ** 0.5)
    net = Net((side, side), classes)
    net.load_state_dict({name: torch.from_numpy(np.array(value)) for name, value in state.items()})
    return net


def varied(x: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Pictures shifted by up to a pixel with a probability of `strength`, each for itself, with noise."""
    noise = torch.from_numpy(rng.normal(size=x.shape).astype(np.float32))
    return shifted(x, strength, rng) + 0.2 * strength * noise


def shifted(x: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Each picture moved by -1, 0 or 1 pixels both ways, around the edge, with a probability of `strength`."""
    shift = rng.integers(-1, 2, size=(len(x), 2)) * (rng.random((len(x), 1)) < strength)
    down, right = ((np.arange(n) - shift[:, [i]]) % n for i, n in enumerate(x.shape[1:]))
    return x[np.arange(len(x))[:, None, None], down[:, :, None], right[:, None, :]]


def pretrained(x: np.ndarray, classes: int, seed: int, epochs: int) -> State:
    """The features trained without labels by the contrast of two views; the classifier stays as it began."""
    net = net_of(fresh(x.shape[1:], classes, seed))
    rng = np.random.default_rng(np.random.SeedSequence([seed, 2]))
    optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
    pixels = torch.from_numpy(x)
    for _ in range(epochs):
        for rows in np.array_split(rng.permutation(len(x)), max(1, len(x) // BATCH)):
            views = [nn.functional.normalize(net.features(varied(pixels[rows], 1.0, rng)), dim=1) for _ in range(2)]
            loss = nn.functional.cross_entropy(views[0] @ views[1].T / 0.2, torch.arange(len(rows)))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return state_of(net)


def sweep(start: State, train: tuple[np.ndarray, np.ndarray], seed: int, number: int, epochs: int) -> State:
    """One fine-tuned model: its learning rate, weight decay, augmentation and order are drawn from (seed, number)."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 3, number]))
    net = net_of(start)
    rate, decay, strength = 10 ** rng.uniform(-3.5, -2), 10 ** rng.uniform(-4, -1), rng.uniform(0, 1)
    optimiser = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=decay)
    pixels, labels = torch.from_numpy(train[0]), torch.from_numpy(train[1])
    for _ in range(epochs):
        for rows in np.array_split(rng.permutation(len(pixels)), max(1, len(pixels) // BATCH)):
            loss = nn.functional.cross_entropy(net(varied(pixels[rows], strength, rng)), labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    return state_of(net)


def measured_anew(state: State, x: np.ndarray) -> State:
    """The state with the batch statistics of the training pictures under its weights."""
    net = net_of(state)
    for layer in (net.norm_one, net.norm_two):
        layer.reset_running_stats()
        layer.momentum = None
    with torch.no_grad():
        for rows in np.array_split(np.arange(len(x)), max(1, len(x) // 256)):
            net(torch.from_numpy(x[rows]))
    return state_of(net)


@torch.no_grad()
def probabilities(state: State, x: np.ndarray) -> np.ndarray:
    """[n, classes]."""
    net = net_of(state).eval()
    return torch.softmax(net(torch.from_numpy(x)), dim=1).numpy()


def right(state: State, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """[n] 1.0 where the likeliest class is the right one."""
    return (probabilities(state, x).argmax(axis=1) == y).astype(np.float64)


def corrupted(x: np.ndarray, seed: int) -> np.ndarray:
    """The pictures shifted by a pixel in a random direction, with noise."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 4]))
    moved = shifted(torch.from_numpy(x), 1.0, rng).numpy()
    return (moved + rng.normal(scale=0.25, size=x.shape)).astype(np.float32)
