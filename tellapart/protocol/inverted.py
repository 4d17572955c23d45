"""Searching one side through the other: pictures asked by pseudo tokens of a text tower that was never trained for it.

Two linear heads of 128 numbers on frozen features are trained on half of the groups with InfoNCE between the sides;
the other half is the test. `openmoji`: names and drawings, right are drawings of one concept. `wordnet`: words and
glosses of nouns, right are glosses of one lexicographer file. The test asks `queries` items of what is searched
(drawings, glosses) for others of their kind, within that side (cosine) and across (by the audit part: a pseudo token in
the place of the word is optimised until the tower of names says the same).

- `mAP across`: against the cosine within the side, and against that of frozen features.
- `mAP across, trained within too`: the same where the loss had a term within each side as well (InfoNCE between two
  copies of each item whose features were dropped, weight 1); `gain that is left` is across less within, of the space
  without that term and with it; the paper's claim is that the term removes it.
- `own found within one side`: names asked among the asked drawings, R@1: across, as trained, against within the side of
  words, drawings having become pseudo tokens; the paper's control, which should lose.

Options: queries (40), steps (40), rate (0.05), template ("*"), items (3000 pairs at most).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.features import unit_rows
from tellapart.core.parts import make
from tellapart.core.pseudo_tokens import invert
from tellapart.data.spool import cache_folder
from tellapart.engine.embed import embed
from tellapart.protocol._sets import shipped

LOWER_IS_BETTER = ("gain",)
KNOWN = ("queries", "steps", "rate", "template", "items")
STEPS, BATCH, DIM, TEMPERATURE, DROPPED = 400, 256, 128, 0.07, 0.3


class Tower:
    """The trained text tower, as audits are given it."""

    def __init__(self, encoder: Any, weight: np.ndarray, bias: np.ndarray) -> None:
        from types import SimpleNamespace

        self.encoder, self.stages = encoder, [[SimpleNamespace(weight=weight, bias=bias, relu=False)]]


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, variant)} for one collection and one seed."""
    options = dict[str, Any](queries=40, steps=40, rate=0.05, template="*") | spec["options"]
    if unknown := [name for name in options if name not in KNOWN]:
        raise PartError(f"the protocol inverted has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    x, y, kind, group = pairs(data, options.pop("items", 3000))
    names = np.random.default_rng([seed, 1]).permutation(np.unique(group))
    train = np.asarray(np.isin(group, names[: len(names) // 2]))
    test = np.flatnonzero(~train)
    columns: dict[str, Any] = {
        "id": [f"i{i}" for i in test],
        "label": [str(kind[i]) for i in test],
        "group": group[test],
    }
    collection, encoder, found = Collection.of(columns), make("encode", "minilm"), []
    for term in (False, True):
        heads = trained(x[train], y[train], seed, within=term)
        words, items = (project(z[test], *head) for z, head in zip((x, y), heads, strict=True))
        tower = Tower(encoder, *heads[0])
        held = {"image": items, "text-encoder": tower, "document": y[test]}
        report = make("audit", spec["part"], **options)(held, collection, seed=seed)
        figures = {f.name: f.value for f in report.figures()}
        asked = [int(i[1:]) for i in report.findings()[0].ids]
        rows = np.searchsorted(test, asked)
        about = {name: options[name] for name in ("template", "steps", "rate")}
        if not term:
            said = invert(encoder, tower.stages, items[rows], seed=seed, **about)
            figures["native"], figures["within"] = (
                float(((words[rows] @ z.T).argmax(1) == np.arange(len(rows))).mean()) for z in (items[rows], said)
            )
        found.append(figures)
    plain, both = found
    left = [f["mAP across"] - f["mAP within one side"] for f in found]
    return {
        "mAP across": (plain["mAP within one side"], plain["mAP across"]),
        "mAP across, against frozen features": (plain["mAP of frozen features"], plain["mAP across"]),
        "mAP across, trained within too": (both["mAP within one side"], both["mAP across"]),
        "mAP within, trained within too": (plain["mAP within one side"], both["mAP within one side"]),
        "gain that is left": (left[0], left[1]),
        "own found within one side": (plain["native"], plain["within"]),
        "cosine that inversion reached, trained within too": (plain["inverted"], both["inverted"]),
    }


@functools.cache
def pairs(data: str, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Frozen features of words and of what they name, its kind, and what stays together."""
    cache = cache_folder(None, "evidence-vectors")
    if data == "openmoji":
        made, column, encoder, text = shipped("openmoji"), "image", "lite0", "text"
        kind = made.codes("concept")[0]
        group = kind
    elif data == "wordnet":
        made, column, encoder, text = shipped("wordnet").where("pos", "n"), "gloss", "minilm", "anchor"
        every, _ = made.codes("lexname")
        rng = np.random.default_rng(0)
        rows = [rng.permutation(np.flatnonzero(every == k))[:150] for k in np.unique(every)]
        made = made.take(np.sort(np.concatenate(rows)))
        kind, group = made.codes("lexname")[0], np.arange(len(made))
    else:
        raise DataError(f"the protocol inverted knows openmoji and wordnet, not {data!r}")
    if len(made) > most:
        at = np.sort(np.random.default_rng(1).permutation(len(made))[:most])
        made, kind, group = made.take(at), kind[at], group[at]
    x = np.array(embed(made, text, make("encode", "minilm"), cache=cache), np.float32)
    y = np.array(embed(made, column, make("encode", encoder), cache=cache), np.float32)
    return x, y, kind, group


def trained(x: np.ndarray, y: np.ndarray, seed: int, *, within: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """(weight, bias) of both heads."""
    spread = [np.maximum(z.std(0), 1e-6) for z in (x, y)]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        heads = [nn.Linear(z.shape[1], DIM) for z in (x, y)]
        inputs = [torch.from_numpy((z - z.mean(0)) / s) for z, s in zip((x, y), spread, strict=True)]
        learning = [p for head in heads for p in head.parameters()]
        optimiser = torch.optim.AdamW(learning, lr=2e-3, weight_decay=0.05)
        for step in range(STEPS):
            optimiser.param_groups[0]["lr"] = 2e-3 * (1 - step / STEPS)
            rows = torch.randint(len(x), (BATCH,))
            sides = [nn.functional.dropout(z[rows], DROPPED) for z in inputs]
            q, k = (nn.functional.normalize(head(z)) for head, z in zip(heads, sides, strict=True))
            loss = _contrast(q, k)
            if within:
                again = [nn.functional.dropout(z[rows], DROPPED) for z in inputs]
                for head, z, u in zip(heads, again, (q, k), strict=True):
                    loss = loss + _contrast(nn.functional.normalize(head(z)), u) / 2
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    found = []
    for head, features, s in zip(heads, (x, y), spread, strict=True):
        weight = head.weight.detach().numpy() / s
        bias = head.bias.detach().numpy() - weight @ features.mean(0)
        found.append((weight.astype(np.float32), bias.astype(np.float32)))
    return found


def _contrast(q: Tensor, k: Tensor) -> Tensor:
    logits, own = q @ k.T / TEMPERATURE, torch.arange(len(q))
    loss: Tensor = (nn.functional.cross_entropy(logits, own) + nn.functional.cross_entropy(logits.T, own)) / 2
    return loss


def project(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Unit vectors under a head."""
    return unit_rows(x @ weight.T + bias)
