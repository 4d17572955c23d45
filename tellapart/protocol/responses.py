"""Which of ten texts answers another: an encoder of pairs in one pass, in ten passes, and of each text alone.

The query and ten candidates, the right one and the nine wrong ones nearest to it under frozen MiniLM, are scored by
three networks of the same layers of MiniLM, trained on the same pairs and candidates for the same steps at the same
rate, the embeddings of tokens frozen in each:

- the part (`uni-encoder`), as it is fitted and ranks;
- `cross-encoder`, the baseline: its own network, but the query is read with each candidate alone, ten in a batch;
- `dual encoder`: each text alone, mean-pooled, scored by the cosine over a temperature of 0.05.

Metrics: `accuracy`, whether the right one comes first (a value a query); `milliseconds a query`, ten candidates scored,
query by query in turn for all networks, the median, tokens cut beforehand; the same for texts of up to 64 tokens, whose
networks are not trained. Accuracy and time also against the dual encoder, accuracy against frozen cosines too.

Data: `docstring to code` (short queries, long candidates) and `code to docstring` (long queries, short candidates).
Options: train (300), test (150) pairs; layers (1), max_tokens (16), epochs (3), learning_rate (0.001), as of the part.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tellapart.core.errors import DataError
from tellapart.core.features import unit_rows
from tellapart.core.hits import Hits
from tellapart.core.parts import make
from tellapart.core.scoring import Scoring
from tellapart.parts.rank._arrow import Arrow
from tellapart.protocol import _sets

LOWER_IS_BETTER = ("milliseconds",)
DATA = {"docstring to code": ("anchor", "positive"), "code to docstring": ("positive", "anchor")}
KNOWN = ("train", "test", "layers", "max_tokens", "epochs", "learning_rate")
CANDIDATES, BATCH, TEMPERATURE, TIMED = 10, 8, 0.05, 40
LONG = 64
ITEMS = 700


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[Any, Any]]:
    """{metric: (baseline, variant)} for one direction and one seed."""
    options = dict(spec["options"])
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise DataError(f"the protocol responses has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    if data not in DATA:
        raise DataError(f"the protocol responses knows {', '.join(DATA)}, not {data!r}")
    (asked, q), (held, k) = (texts(column) for column in DATA[data])
    order = np.random.default_rng(np.random.SeedSequence([seed, 51])).permutation(len(asked))
    count, tested = options.pop("train", 300), options.pop("test", 150)
    train, test = order[:count], order[count : count + tested]
    given = {"layers": 1, "max_tokens": 16, "epochs": 3, "learning_rate": 0.001, **options}
    among = {"train": hardest(q, k, train), "test": hardest(q, k, test)}

    part = make("rank", spec["part"], candidates=CANDIDATES, seed=seed, **given)
    names = np.array([f"{row:06d}" for row in range(len(asked))])
    pairs = np.stack([np.arange(len(train))] * 2, 1)

    def scoring(rows: np.ndarray) -> Scoring:
        return Scoring(lambda row: asked[rows[row]], lambda id_: held[int(id_)])

    part.fit(q[train], k[train], ids=names[train], pairs=pairs, scoring=scoring(train))
    cross, dual = Alone(given, seed), Apart(given)
    for net in (cross, dual):
        fitted(net, [asked[row] for row in train], [[held[c] for c in some] for some in among["train"]], given, seed)

    cosines = np.einsum("nd,ncd->nc", q[test], k[among["test"]])
    hits = Hits.sorted(names[among["test"]], cosines)
    out = part.rank(q[test], hits, None, scoring=scoring(test))
    found = {"uni": (out.ids[:, 0] == names[test]).astype(float), "frozen": (cosines.argmax(1) == 0).astype(float)}
    for name, net in (("cross", cross), ("dual", dual)):
        with torch.no_grad():
            first = [
                int(net(asked[row], [held[c] for c in some]).argmax())
                for row, some in zip(test, among["test"], strict=True)
            ]
        found[name] = (np.array(first) == 0).astype(float)
    figures = {
        "accuracy": (found["cross"], found["uni"]),
        "accuracy, against the dual encoder": (found["dual"], found["uni"]),
        "accuracy, against frozen cosines": (found["frozen"], found["uni"]),
    }
    rows = [(asked[row], [held[c] for c in some]) for row, some in zip(test[:TIMED], among["test"], strict=False)]
    for words, most in (("", given["max_tokens"]), (f" of up to {LONG} tokens", LONG)):
        took = timed({**given, "max_tokens": most}, seed, rows)
        figures[f"milliseconds a query{words}"] = took["cross"], took["uni"]
        figures[f"milliseconds a query{words}, against the dual encoder"] = took["dual"], took["uni"]
    return figures


class Alone(torch.nn.Module):
    """The part's own network, each candidate with a query of its own in a batch: a cross-encoder."""

    def __init__(self, given: dict[str, Any], seed: int) -> None:
        super().__init__()
        self.net = Arrow(given["layers"], given["max_tokens"], seed)

    def forward(self, asked: str, among: list[str]) -> Tensor:
        """[n] scores."""
        context, *others = self.net.pieces([asked, *among])
        return self.scores(context, others)

    def scores(self, context: Tensor, others: list[Tensor]) -> Tensor:
        """[n] scores of what is cut into tokens."""
        tokens = pad_sequence([torch.cat([context, other]) for other in others], batch_first=True)
        place = torch.arange(tokens.shape[1])
        there = place < torch.tensor([len(context) + len(other) for other in others])[:, None]
        own = there & (place >= len(context))
        words = self.net.words
        x = words["word_embeddings"](tokens) + words["position_embeddings"](place)
        x = words["LayerNorm"](x + words["token_type_embeddings"]((place >= len(context)).long()))
        for layer in self.net.layers:
            x = layer(x, there)
        share = own.unsqueeze(-1).to(x.dtype)
        found: Tensor = self.net.score((x * share).sum(1) / share.sum(1))[:, 0]
        return found

    def learnt(self) -> list[torch.nn.Parameter]:
        """What is trained."""
        return self.net.learnt()


class Apart(torch.nn.Module):
    """The same layers over each text alone: a dual encoder."""

    def __init__(self, given: dict[str, Any]) -> None:
        super().__init__()
        self.texts = make("encode", "minilm", max_tokens=given["max_tokens"])
        self.bert = self.texts.module().eval()
        self.bert.embeddings.requires_grad_(False)
        self.bert.encoder["layer"] = self.bert.encoder["layer"][: given["layers"]]

    def forward(self, asked: str, among: list[str]) -> Tensor:
        """[n] scores."""
        z = self.bert(*self.texts.prepare([asked, *among]))
        found: Tensor = z[1:] @ z[0] / TEMPERATURE
        return found

    def learnt(self) -> list[torch.nn.Parameter]:
        """What is trained."""
        return list(self.bert.encoder.parameters())


def fitted(net: Any, asked: list[str], among: list[list[str]], given: dict[str, Any], seed: int) -> None:
    """Cross entropy on the first candidate, by Adam on batches of eight queries in the order in which the part goes."""
    draw, optimiser = torch.Generator().manual_seed(seed), torch.optim.Adam(net.learnt(), given["learning_rate"])
    for _ in range(given["epochs"]):
        for rows in torch.randperm(len(asked), generator=draw).split(BATCH):
            optimiser.zero_grad()
            for row in rows.tolist():
                scores = net(asked[row], among[row])
                ((torch.logsumexp(scores, 0) - scores[0]) / len(rows)).backward()
            optimiser.step()


def hardest(q: np.ndarray, k: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """[n, 10] of each query's right text and the nine others of these rows that are nearest to it."""
    scores = q[rows] @ k[rows].T
    np.fill_diagonal(scores, np.inf)
    return rows[np.argsort(-scores, axis=1, kind="stable")[:, :CANDIDATES]]


def timed(given: dict[str, Any], seed: int, rows: list[tuple[str, list[str]]]) -> dict[str, float]:
    """Milliseconds of each network for a query with its candidates, the median; the networks take turns."""
    arrow, cross, dual = Arrow(given["layers"], given["max_tokens"], seed), Alone(given, seed), Apart(given)
    took: dict[str, list[float]] = {"uni": [], "cross": [], "dual": []}
    with torch.no_grad():
        for asked, among in rows:
            context, *others = arrow.pieces([asked, *among])
            tokens = dual.texts.prepare([asked, *among])
            calls: dict[str, Callable[[], Any]] = {
                "uni": lambda c=context, o=others: arrow(c, o),
                "cross": lambda c=context, o=others: cross.scores(c, o),
                "dual": lambda t=tokens: dual.bert(*t),
            }
            for name, call in calls.items():
                begun = time.perf_counter()
                call()
                took[name].append(1000 * (time.perf_counter() - begun))
    return {name: float(np.median(values)) for name, values in took.items()}


@functools.cache
def texts(column: str) -> tuple[list[str], np.ndarray]:
    """Different docstrings with their code, that column, and its unit vectors under frozen MiniLM."""
    made = _sets.shipped("docstrings")
    for side in ("anchor", "positive"):
        made = made.take(np.sort(np.unique(made.values(side), return_index=True)[1]))
    made = made.take(np.linspace(0, len(made) - 1, ITEMS).astype(int))
    items = [str(text) for text in made.values(column)]
    z = make("encode", "minilm(max_tokens=32)").encode(items)
    return items, unit_rows(np.asarray(z, np.float64)).astype(np.float32)
