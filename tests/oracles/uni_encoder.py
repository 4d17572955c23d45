"""A query and its candidates through MiniLM's layers in loops over tokens, by the weights published and learnt."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tellapart.core.hits import Hits
from tellapart.core.parts import make
from tellapart.core.scoring import Scoring

CASES: list[dict] = [
    {},
    {"candidates": 3, "layers": 1, "max_tokens": 8, "epochs": 2, "learning_rate": 0.001, "seed": 5},
]
THINGS = ("red apple", "old house", "fast car", "blue sea", "small bird", "tall tree", "cold night", "warm bread")
TEXTS = [f"{a} {b}" for a in THINGS for b in THINGS if a < b][:12]


def scoring():
    return Scoring(lambda row: f"something {TEXTS[row]}", lambda id_: TEXTS[int(id_)])


def pass_(weights, learnt, layers, context, candidates):
    """The scores of candidates [n][t] of tokens, token by token and pair of tokens by pair of tokens."""
    tokens, place, part = list(context), list(range(len(context))), [0] * len(context)
    for number, candidate in enumerate(candidates):
        tokens += candidate
        place += [len(context) + i for i in range(len(candidate))]
        part += [number + 1] * len(candidate)

    def normal(v, name, w):
        mean = sum(v) / len(v)
        spread = math.sqrt(sum((a - mean) ** 2 for a in v) / len(v) + 1e-12)
        return (np.asarray(v) - mean) / spread * w[f"{name}.weight"] + w[f"{name}.bias"]

    table = "embeddings.{}_embeddings.weight"
    x = []
    for token, at, of in zip(tokens, place, part, strict=True):
        v = weights[table.format("word")][token] + weights[table.format("position")][at]
        x.append(normal(v + weights[table.format("token_type")][min(of, 1)], "embeddings.LayerNorm", weights))
    for layer in range(layers):
        w = {k.removeprefix(f"{layer}."): v for k, v in learnt.items() if k.startswith(f"{layer}.")}

        def line(name, v, w=w):
            return w[f"{name}.weight"] @ v + w[f"{name}.bias"]

        q, k, v = ([line(f"attention.self.{kind}", row) for row in x] for kind in ("query", "key", "value"))
        after = []
        for i in range(len(x)):
            sees = [j for j in range(len(x)) if 0 in (part[i], part[j]) or part[i] == part[j]]
            heard = []
            for head in range(12):
                cut = slice(32 * head, 32 * head + 32)
                raised = [math.exp(float(q[i][cut] @ k[j][cut]) / math.sqrt(32)) for j in sees]
                heard.append(sum(r / sum(raised) * v[j][cut] for r, j in zip(raised, sees, strict=True)))
            mixed = normal(
                line("attention.output.dense", np.concatenate(heard)) + x[i], "attention.output.LayerNorm", w
            )
            wide = [a * 0.5 * (1 + math.erf(a / math.sqrt(2))) for a in line("intermediate.dense", mixed).tolist()]
            after.append(normal(line("output.dense", np.asarray(wide)) + mixed, "output.LayerNorm", w))
        x = after
    found = []
    for number in range(1, len(candidates) + 1):
        own = [x[i] for i in range(len(x)) if part[i] == number]
        found.append(float(learnt["score.weight"][0] @ (sum(own) / len(own)) + learnt["score.bias"][0]))
    return found


def check(build, options):
    rng = np.random.default_rng(0)
    k = rng.normal(size=(12, 5))
    q, ids = k + 0.2 * rng.normal(size=k.shape), np.array([f"{i:02d}" for i in range(12)])
    part = build(**options).fit(q, k, ids=ids, pairs=np.stack([np.arange(12)] * 2, 1), scoring=scoring())
    encoder = make("encode", "minilm", max_tokens=options.get("max_tokens", 64))
    weights = encoder._files.weights
    learnt, at = {}, 0
    names = list(part._net.layers.state_dict()) + ["score.weight", "score.bias"]
    shapes = [*part._net.layers.state_dict().values(), *part._net.score.state_dict().values()]
    for name, like in zip(names, shapes, strict=True):
        learnt[name] = part.weights_[at : at + like.numel()].reshape(like.shape)
        at += like.numel()
    assert at == len(part.weights_)
    candidates, layers = options.get("candidates", 10), options.get("layers", 2)
    if not options:
        moved = np.abs(learnt["0.output.dense.weight"] - weights["encoder.layer.0.output.dense.weight"]).max()
        assert moved > 1e-5, "the layers were not trained"
    names = [encoder._tokenise([t])[0] for t in TEXTS]
    hits = Hits.sorted(np.array([ids]), np.array([k @ q[0]]), 5)
    ask = scoring()
    out = part.rank(q[:1], hits, None, scoring=ask)
    first = [i for i, _ in hits[0][:candidates]]
    context = encoder._tokenise([f"something {TEXTS[0]}"])[0]
    want = pass_(weights, learnt, layers, context, [names[int(i)] for i in first])
    got = dict(out[0])
    assert [got[i] for i in first] == pytest.approx(want, abs=2e-4)
    assert out.calls == len(first) == ask.calls
    assert [i for i, _ in out[0]][len(first) :] == [i for i, _ in hits[0][candidates:]]
    pieces = part._net.pieces([f"something {TEXTS[0]}", *(TEXTS[int(i)] for i in first)])
    with torch.no_grad():
        plain, turned = part._net(pieces[0], pieces[1:]), part._net(pieces[0], pieces[:0:-1])
    assert torch.allclose(plain, turned.flip(0), atol=1e-5), "permuting candidates must permute scores"
