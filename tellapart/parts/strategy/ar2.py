from __future__ import annotations

import copy
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import log_softmax, logsigmoid

from tellapart.core.draws import RowDraws
from tellapart.core.errors import PartError
from tellapart.core.parts import make, part
from tellapart.parts.strategy._mined import drawn, hardest

ABSENT = -1e4


@part(
    paper="Zhang, Gong, Shen, Lv, Duan, Chen: Adversarial Retriever-Ranker for Dense Text Retrieval, ICLR 2022",
    place="train",
    system="ar2",
    needs=("torch",),
)
class Ar2(nn.Module):
    """The towers look for what deceives a ranker, the ranker learns to see through it, and teaches the towers.

    The strategy `start` runs for the share `warmup` of the steps. What is left is cut into `rounds`: at the beginning
    of each, every query's `depth` best documents are written down, less its positives and its duplicate group. At every
    step a query meets `draws` of them, d_1 to d_m, beside its own document d_0. With the towers' cosines s and the
    ranker's scores D::

        p_G(j) = softmax_j(s_j / T)  over 0..m,     p_D(j) = softmax_j(D_j)  over 0..m
        ranker:  -log p_D(0)
        towers:  weight * sum_j>=1 p_G(j | j >= 1) log sigmoid(D_0 - D_j)  +  (1 - weight) * KL(p_D || p_G)

    Each half takes the other as it is. The first term of the towers, the game, moves weight to those negatives that the
    ranker is least sure to put below d_0; the second, which keeps false negatives from being moved up, is distillation.

    The ranker reads both items with encoders of its own, which start as copies of the towers when the rounds begin, and
    looks at what their vectors a and b have in common, feature by feature::

        D = a.b / T + u . relu(W [a * b, |a - b|] + c),   u = 0 at first

    What was taken: in the authors' code the game is the sum over all j of log sigmoid(D_0 - D_j) log p_G(j), a sampled
    policy gradient; here it is the expectation that this estimates. Their ranker is a large cross-encoder over the
    words of both, warmed up before; theirs and the retriever take turns (500 and 1,500 steps of a round of 2,000), here
    both take every step. Theirs are 100 documents, 15 negatives and a weight of 0.5, and no temperature: their vectors
    have no unit length.

    Raises PartError where both sides are one column.

    Args:
        start: the strategy before, by name, with the recipe's objective.
        warmup: share of the steps that it runs.
        rounds: how often the documents are searched anew.
        depth: documents a query that negatives are drawn from.
        draws: negatives a query meets at a step.
        weight: of the game; 0 leaves distillation alone.
        hidden: width of the ranker's hidden layer.

    When to use: hard negatives that are often false ones, which `star` would push away. A ranker over vectors sees
    little more than the towers do, so do not expect the paper's gain on frozen features. A step encodes 1 + `draws`
    documents a query, with the towers and with the ranker's encoders. The ranker is no part of a saved model; in Python
    it is `fit(...).strategy`, with `readers` and `score`.

    Relations: `star` mines once and keeps to an objective; `margin-mse` learns from a guide that does not learn.
    """

    def __init__(
        self,
        *,
        start: str = "two-tower",
        warmup: Annotated[float, Field(ge=0, lt=1)] = 0.5,
        rounds: Annotated[int, Field(ge=1, le=1_000)] = 3,
        depth: Annotated[int, Field(ge=1, le=10_000)] = 100,
        draws: Annotated[int, Field(ge=1, le=1_000)] = 15,
        weight: Annotated[float, Field(ge=0, le=1)] = 0.5,
        temperature: Annotated[float, Field(gt=0, le=100)] = 0.05,
        hidden: Annotated[int, Field(ge=1, le=8192)] = 64,
    ) -> None:
        super().__init__()
        self.start, self.warmup, self.rounds, self.depth, self.draws = start, warmup, rounds, depth, draws
        self.weight, self.temperature, self.hidden = weight, temperature, hidden

    def begin(self, run: Any) -> None:
        """Prepare the strategy before, the ranker, and room for the negatives."""
        if run.data.same_space:
            raise PartError("ar2 needs two sides, queries and documents, and this collection is searched by itself")
        self.depth = min(self.depth, len(run.data) - 1)
        self.first: Any = make("strategy", self.start)
        self.first.begin(run)
        self.readers = copy.deepcopy(run.towers)
        draw = torch.Generator().manual_seed(run.draw("ranker of ar2"))
        width = 2 * run.dim()
        self.inward = nn.Parameter(torch.randn(width, self.hidden, generator=draw) * (2 / width) ** 0.5)
        self.shift = nn.Parameter(torch.zeros(self.hidden))
        self.outward = nn.Parameter(torch.zeros(self.hidden))
        self.register_buffer("negatives", torch.full((len(run.data), self.depth), -1, dtype=torch.int64))
        self.register_buffer("round", torch.full((), -1, dtype=torch.int64))

    def score(self, a: Tensor, b: Tensor) -> Tensor:
        """[...] the ranker's scores of pairs of vectors [..., d] by its encoders, `readers`."""
        common = torch.cat([a * b, (a - b).abs()], -1)
        return (a * b).sum(-1) / self.temperature + torch.relu(common @ self.inward + self.shift) @ self.outward

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]."""
        before = self.warmup * run.steps
        if run.step < before:
            losses: dict[str, Tensor] = self.first.step(run, batch)
            return losses
        now = int((run.step - before) / (run.steps - before) * self.rounds)
        if self.round < now:
            if self.round < 0:
                self.readers.load_state_dict(run.towers.state_dict())
            self.negatives.copy_(hardest(run, self.depth))
            self.round.fill_(now)
        rows = torch.from_numpy(batch).to(self.negatives.device)
        held = drawn(self.negatives[rows], RowDraws(run.draw("ar2"), rows), self.draws)
        documents = torch.cat([rows[:, None], held], 1)
        s = self._candidates(run, batch, documents, run.towers, lambda a, b: (a * b).sum(-1) / self.temperature)
        d = self._candidates(run, batch, documents, self.readers, self.score)
        return {"towers": self._of_towers(s, d.detach()), "ranker": -log_softmax(d, 1)[:, 0].mean()}

    def after(self, run: Any) -> None:
        """What the strategy before keeps, while it runs."""
        if self.round < 0:
            self.first.after(run)

    def _candidates(self, run: Any, batch: np.ndarray, documents: Tensor, towers: nn.ModuleDict, score: Any) -> Tensor:
        """[n, 1 + m] scores of each query's candidates; where there is none, so low that it does not count."""
        a = run.encode("query", batch, tower=towers["query"])
        b = run.encode("document", documents.clamp_min(0).flatten().cpu().numpy(), tower=towers["document"])
        scores: Tensor = score(a[:, None], b.view(*documents.shape, -1))
        return scores.masked_fill(documents < 0, ABSENT)

    def _of_towers(self, s: Tensor, d: Tensor) -> Tensor:
        """The game and the distillation, from both halves' scores; the ranker's are constants."""
        reward = logsigmoid(d[:, :1] - d[:, 1:])
        game = (s[:, 1:].softmax(1) * reward).sum(1)
        of_ranker, of_towers = log_softmax(d, 1), log_softmax(s, 1)
        distillation = (of_ranker.exp() * (of_ranker - of_towers)).sum(1)
        return (self.weight * game + (1 - self.weight) * distillation).mean()
