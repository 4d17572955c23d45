"""Which heads a network needs for a task, guessed from its activations on few examples, against cutting them out.

The truth is ablation: the outputs of one head are set to zero, and the loss of margin of what is asked is its effect.
A score of heads is judged by Spearman's rank correlation with the effects. The audit part's score is compared with that
of two baselines on the same examples: `norms`, the difference of the mean lengths of a head's output between positive
and negative examples, as a share of their spread, and `probe`, the accuracy of a ridge regression on a head's output
that was fitted on the other examples.

- `planted`: a network of attention alone, two layers of four heads, learns to look a value up by its key in a sequence
  of eight pairs. Positive: the key is there; negative: it is not, so nothing can be looked up. Margin: the right
  value's logit less the mean logit. Head outputs at the last position.
- `minilm`: the 72 heads of MiniLM on nouns. Positive: animals; negative: artefacts. Margin: what a ridge regression,
  fitted on other nouns, says of the vectors for being of their own kind. Head outputs are means over a word's tokens.

Options: examples (10 of each kind).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.linear import ridge_map
from tellapart.core.needs import require
from tellapart.core.parts import make
from tellapart.core.report import Table
from tellapart.protocol._sets import shipped

KEYS, VALUES, PAIRS, WIDTH, HEADS, LAYERS, STEPS = 16, 8, 8, 32, 4, 2, 400
KINDS = ("noun.animal", "noun.artifact")
Figures = dict[str, tuple[float, float]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, part)} for one network and one seed."""
    spearman = require("scipy.stats", "the protocol circuits").spearmanr
    many = spec["options"].get("examples", 10)
    networks: dict[str, Callable[..., tuple[np.ndarray, np.ndarray]]] = {"planted": planted, "minilm": minilm}
    if data not in networks:
        raise DataError(f"the protocol circuits knows {', '.join(networks)}, not {data!r}")
    outputs, effect = networks[data](seed, many)
    inside = np.arange(2 * many) < many
    kinds = ["yes" if yes else "no" for yes in inside]
    collection = Collection.of({"id": [f"i{i}" for i in range(2 * many)], "label": kinds})
    report = make("audit", spec["part"], concept="yes")({"units": outputs}, collection, seed=seed)
    table = next(block for block in report.blocks if isinstance(block, Table))
    said = np.zeros(outputs.shape[1])
    for row in table.rows:
        said[row[0]] = row[1].value
    base = {"norms": norms(outputs, inside), "probe": probe(outputs, inside)}

    def agreement(score: np.ndarray) -> float:
        return float(np.nan_to_num(spearman(score, effect).statistic))

    return {f"rank correlation with ablation, against {n}": (agreement(s), agreement(said)) for n, s in base.items()}


def norms(a: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """[u] how far the mean lengths of both kinds lie apart."""
    length = np.linalg.norm(a, axis=2)
    return np.asarray(np.abs(length[inside].mean(0) - length[~inside].mean(0)) / np.maximum(length.std(0), 1e-9))


def probe(a: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """[u] accuracy of a ridge regression, each example answered for by the others."""
    y, out = np.where(inside, 1.0, -1.0)[:, None], np.zeros(a.shape[1])
    for u in range(a.shape[1]):
        for i in range(len(a)):
            rest = np.arange(len(a)) != i
            out[u] += (ridge_map(a[rest, u], y[rest], 1.0)(a[i : i + 1, u])[0, 0] > 0) == inside[i]
    return out / len(a)


class Lookup(nn.Module):
    """Pairs of key and value, then a key: logits of values. `cut` is a head whose output is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.key, self.value = nn.Embedding(KEYS, WIDTH), nn.Embedding(VALUES + 1, WIDTH)
        self.maps = nn.ModuleList(nn.Linear(WIDTH, 3 * WIDTH) for _ in range(LAYERS))
        self.out = nn.ModuleList(nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(LAYERS))
        self.last = nn.Linear(WIDTH, VALUES)
        self.cut, self.heard = -1, Tensor()

    def forward(self, keys: Tensor, values: Tensor) -> Tensor:
        """[n, values] logits of [n, pairs + 1] keys and values, the last of which is unknown."""
        x, heard = self.key(keys) + self.value(values), []
        for layer, (mapped, out) in enumerate(zip(self.maps, self.out, strict=True)):
            parts = mapped(nn.functional.layer_norm(x, [WIDTH])).view(*x.shape[:2], 3, HEADS, -1).transpose(1, 3)
            q, k, v = parts.unbind(2)
            z = nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)
            if self.cut // HEADS == layer and self.cut >= 0:
                z = z.clone()
                z[:, :, self.cut % HEADS] = 0
            heard.append(z[:, -1])
            x = x + out(z.flatten(2))
        self.heard = torch.cat(heard, 1)
        logits: Tensor = self.last(nn.functional.layer_norm(x[:, -1], [WIDTH]))
        return logits


def planted(seed: int, many: int) -> tuple[np.ndarray, np.ndarray]:
    """Head outputs of positive and then negative examples, and what cutting each head costs."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        net = Lookup()
        with torch.enable_grad():
            optimiser = torch.optim.Adam(net.parameters(), lr=4e-3)
            for _ in range(STEPS):
                keys, values, right = prompts(128, there=True)
                loss = nn.functional.cross_entropy(net(keys, values), right)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        keys, values, right = prompts(500, there=True)

        def margin() -> float:
            logits = net(keys, values)
            return float((logits[torch.arange(500), right] - logits.mean(1)).mean())

        whole, effect = margin(), []
        for net.cut in range(LAYERS * HEADS):
            effect.append(whole - margin())
        net.cut, heard = -1, []
        for there in (True, False):
            net(*prompts(many, there=there)[:2])
            heard.append(net.heard.numpy())
    return np.concatenate(heard).astype(np.float64), np.array(effect)


def prompts(n: int, *, there: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Keys, values, and the value that is right."""
    order = torch.rand(n, KEYS).argsort(1)
    keys, values = order[:, : PAIRS + 1].clone(), torch.randint(VALUES, (n, PAIRS + 1))
    at = torch.randint(PAIRS, (n,))
    if there:
        keys[:, -1] = keys[torch.arange(n), at]
    values[:, -1] = VALUES
    return keys, values, values[torch.arange(n), at]


def minilm(seed: int, many: int) -> tuple[np.ndarray, np.ndarray]:
    """The same of MiniLM on nouns."""
    words = nouns()
    rng = np.random.default_rng(seed)
    some = [[kind[i] for i in rng.permutation(len(kind))[: 150 + many]] for kind in words]
    encoder = make("encode", "minilm", threads=1)
    known = encoder.encode([w for kind in some for w in kind[many:]]).astype(np.float64)
    kind_of = np.repeat([1.0, -1.0], len(known) // 2)[:, None]
    says = ridge_map(known, kind_of, 1.0)
    asked = [w for kind in some for w in kind[:many]]
    own = np.repeat([1.0, -1.0], many)
    net, inputs = encoder.module().eval(), encoder.prepare(asked)
    share = inputs[1].double().numpy()[:, :, None]
    cut, heard = [-1], []

    def hook(layer: int, _: nn.Module, given: tuple[Tensor]) -> tuple[Tensor] | None:
        z = given[0].clone()
        if cut[0] < 0:
            mean = (z.double().numpy() * share).sum(1) / share.sum(1)
            heard.append(mean.reshape(len(asked), heads, -1))
        elif cut[0] // heads == layer:
            wide = z.shape[2] // heads
            z[:, :, cut[0] % heads * wide : (cut[0] % heads + 1) * wide] = 0
        return (z,)

    layers = net.encoder["layer"]
    heads = layers[0].heads
    for number, layer in enumerate(layers):
        layer.attention["output"]["dense"].register_forward_pre_hook(functools.partial(hook, number))

    def margin() -> float:
        with torch.no_grad():
            return float((says(net(*inputs).double().numpy())[:, 0] * own).mean())

    whole, effect = margin(), []
    for head in range(heads * len(layers)):
        cut[0] = head
        effect.append(whole - margin())
    return np.concatenate(heard, axis=1), np.array(effect)


@functools.cache
def nouns() -> list[list[str]]:
    """Words of both kinds, one a synset."""
    made = shipped("wordnet")
    names = np.asarray(made.values("lexname"))
    return [[str(w) for w in made.take(np.flatnonzero(names == kind)).values("anchor")] for kind in KINDS]
