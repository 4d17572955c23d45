from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.encoded import Encoded
from tellapart.core.errors import PartError
from tellapart.core.maths import unit
from tellapart.core.parts import part
from tellapart.core.pooling import token_weights
from tellapart.core.relation import Relation
from tellapart.parts.strategy._tokens import need_tokens, region_tokens, said_tokens

MOST_HEADS, MARGIN, WANTED = 8, 0.1, 0.75


@part(
    paper="Zhang, Zeng, Gao, Song, Duan, Lyu, Shen: Text-Video Retrieval with Global-Local Semantic Consistent "
    "Learning, 2024",
    place="pairs",
    system="glscl",
    traits=("regions", "phrases", "pools"),
    needs=("torch",),
)
class Glscl(nn.Module):
    """A caption weighs the frames of an item, and the same learnt queries read the frames and the words of captions.

    With the vectors t_i of captions, v_jf of item j's F_j frames, w_il of caption i's phrases, all of length 1::

        a_ijf    = softmax_f(t_i.v_jf / `temperature`)
        global   = cos(t_i, sum_f a_ijf v_jf)                              no parameters
        C_jn     = | decoder(queries, v_j) |_n,  D_in = | decoder(queries, w_i) |_n     N = `queries`, the same for both
        local    = 1/N sum_n D_in.C_jn
        pairs      the recipe's objective on global + `weight` * local, both ways if the recipe says so
        agree    = mse(mean_j C_j, mean_i D_i) + `beta` sum_n (mean_i D_in.C_in - 0.75)^2
        differ   = 2 mean_{n != m} max(0, 0.1 + mean_j C_jn.C_jm - 1)
        loss     = pairs + `consistency` * agree + `diversity` * differ

    The decoder is one post-norm transformer layer (`layers` of them): attention among the queries, from them to the
    tokens, and a feed-forward net, 8 heads or as many as divide the width. It is used in training alone. Searches go by
    the mean of an item's frames, to which `global` tends with a high temperature; `rank=rerank(scorer='tokens')` scores
    the first hits by `global`, without torch.

    What was taken: 8 queries, w 0.5, beta 0.005 and alpha 0.0001 (`diversity`) are those of the released script. That
    has 3 layers with dropout 0.1 (here none, so that a step is a function of its seed); frame weights at temperature 3
    on CLIP's vectors of length about 10, here 0.1 on vectors of length 1; it sums D_in.C_in over the batch and divides
    by N, so that what is held to 0.75 grows with the batch: here the mean is taken, as in the catalogue. It reads
    padded words and, in the global score, gives padded frames their share; here neither is there. The paper's words are
    tokens of CLIP's text transformer; here they are phrases of the caption, each encoded alone.

    Use it for items of several pictures (column `frames`, docs/data.md) of which some have nothing to do with the
    caption; of a single picture its regions are taken. Every step encodes all frames and phrases of its pairs.

    Args:
        temperature: of the weights of frames.
        queries: N. layers: of the shared decoder.
        weight: of the local score; 0: global alone, and the decoder has only the other two losses.
        consistency, beta, diversity: see above.

    Raises `PartError` for data without frames or regions and captions, with a guide, and with negatives of the rows'
    own, which have no frames.

    Relations: `dreamlip` and `mgca` align parts within a pair and index whole pictures.
    """

    def __init__(
        self,
        *,
        temperature: Annotated[float, Field(gt=0, le=100)] = 0.1,
        queries: Annotated[int, Field(ge=2, le=256)] = 8,
        layers: Annotated[int, Field(ge=1, le=8)] = 1,
        weight: Annotated[float, Field(ge=0, le=100)] = 0.5,
        consistency: Annotated[float, Field(ge=0, le=100)] = 1.0,
        beta: Annotated[float, Field(ge=0, le=100)] = 0.005,
        diversity: Annotated[float, Field(ge=0, le=100)] = 0.0001,
    ) -> None:
        super().__init__()
        self.temperature, self.queries, self.layers = temperature, queries, layers
        self.weight, self.consistency, self.beta, self.diversity = weight, consistency, beta, diversity

    def begin(self, run: Any) -> None:
        """Draw the queries and the decoder."""
        need_tokens(run, "glscl")
        if run.data.guide is not None or run.data.negatives is not None:
            raise PartError("glscl scores captions against frames, which guides and given negatives have not: leave "
                            "relate's guide and the negatives out")  # fmt: skip
        self.local = bool(self.weight or self.consistency or self.diversity)
        if not self.local:
            return
        width = run.dim()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.draw("concepts of glscl"))
            self.concept = nn.Parameter(torch.rand(self.queries, width))
            layer = nn.TransformerDecoderLayer(width, math.gcd(width, MOST_HEADS), 4 * width, 0.0, batch_first=True)
            self.decoder = nn.TransformerDecoder(layer, self.layers)

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]."""
        rows = torch.from_numpy(batch)
        frames, there = region_tokens(run, rows)
        own = [run.encode("query", batch), frames, there.to(frames.dtype)]
        if self.local:
            words, said = said_tokens(run, torch.from_numpy(run.data.extra["said_of"])[rows])
            own += [self._concepts(words, said), self._concepts(frames, there)]
        number = rows.to(frames.device)
        every, numbers = [run.gather(x) for x in own], run.gather(number)
        keys, columns = run.keys(batch), run.keys(numbers.cpu().numpy())
        rel, mean = Relation.of_keys(keys, columns), [unit(x[1].sum(1)) for x in (own, every)]
        score = self._scores(own, every)
        losses = {"query": run.loss_of(Encoded(own[0], mean[1], rel).with_scores(score), number)}
        if run.recipe.both_ways:
            back = score.T if len(numbers) == len(rows) else self._scores(every, own).T
            enc = Encoded(mean[0], every[0], rel).with_scores(back)
            losses = {"query": losses["query"] / 2, "document": run.loss_of(enc, number) / 2}
        if self.consistency:
            losses["agree"] = self.consistency * self._agree(*every[3:])
        if self.diversity:
            losses["differ"] = self.diversity * self._differ(every[4])
        return losses

    def after(self, run: Any) -> None:
        """Nothing to keep."""

    def _concepts(self, tokens: Tensor, there: Tensor) -> Tensor:
        """[n, N, d] unit vectors of what the queries read from [n, t, d] tokens."""
        return unit(self.decoder(self.concept.expand(len(tokens), -1, -1), tokens, memory_key_padding_mask=~there))

    def _scores(self, asked: list[Tensor], held: list[Tensor]) -> Tensor:
        """[n, m] of the captions of one list and the items of another: (captions, frames, there, words', frames')."""
        text, frames = asked[0], held[1]
        share = token_weights(text, frames, held[2] > 0, weighting="softmax", temperature=self.temperature)
        length = ((share @ (frames @ frames.mT)) * share).sum(-1).clamp_min(1e-12).sqrt()
        score = ((share * (text @ frames.mT)).sum(-1) / length).T
        if not self.weight:
            return score
        return score + self.weight * torch.einsum("and,bnd->ab", asked[3], held[4]) / self.queries

    def _agree(self, said: Tensor, seen: Tensor) -> Tensor:
        mean = (said * seen).sum(2).mean(0)
        return (seen.mean(0) - said.mean(0)).square().mean() + self.beta * (mean - WANTED).square().sum()

    def _differ(self, seen: Tensor) -> Tensor:
        sim = (seen @ seen.mT).mean(0)
        cost = 2 * (MARGIN + sim - 1).clamp_min(0)
        return (cost.sum() - cost.diagonal().sum()) / (len(sim) * (len(sim) - 1))
