"""What `uni-encoder` runs: a text and its candidates as one row of tokens under an arrow-shaped mask, in torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tellapart.core.parts import make

MOST_POSITIONS = 512


class Arrow(nn.Module):
    """The first layers of MiniLM and a linear map to one number; `forward` scores all candidates of a context.

    Args:
        layers: how many of the encoder's layers.
        max_tokens: of the context, and of each candidate.
        seed: of the linear map.
    """

    def __init__(self, layers: int, max_tokens: int, seed: int) -> None:
        super().__init__()
        self.texts = make("encode", "minilm", max_tokens=max_tokens)
        bert = self.texts.module().eval()
        self.words, self.layers = bert.embeddings, bert.encoder["layer"][:layers]
        self.words.requires_grad_(False)
        width = self.words["word_embeddings"].weight.shape[1]
        self.score = nn.Linear(width, 1)
        with torch.no_grad():
            draw = torch.Generator().manual_seed(seed)
            self.score.weight.copy_(torch.randn(1, width, generator=draw) * width**-0.5)
            self.score.bias.zero_()

    def pieces(self, items: Sequence[str]) -> list[Tensor]:
        """The token numbers of each text, ends included."""
        tokens, mask = self.texts.prepare(items)
        return [row[kept.bool()] for row, kept in zip(tokens, mask, strict=True)]

    def forward(self, context: Tensor, candidates: Sequence[Tensor]) -> Tensor:
        """[n] scores of n candidates, all tokens."""
        tokens, place, part = laid_out(context, candidates)
        keep = (part[:, None] == part) | (part[:, None] == 0) | (part == 0)
        words = self.words
        x = words["word_embeddings"](tokens) + words["position_embeddings"](place)
        x = words["LayerNorm"](x + words["token_type_embeddings"]((part > 0).long()))
        for layer in self.layers:
            x = _heard(layer, x, keep)
        mine = part == torch.arange(1, len(candidates) + 1)[:, None]
        means = mine.to(x.dtype) @ x / mine.sum(1, keepdim=True)
        return self.score(means)[:, 0]  # type: ignore[no-any-return]

    def learnt(self) -> list[nn.Parameter]:
        """What is trained."""
        return [*self.layers.parameters(), *self.score.parameters()]


def laid_out(context: Tensor, candidates: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Tokens [t], their positions, and which part each is of: 0 the context, then the candidates from 1.

    Positions of every candidate go on from the end of the context.
    """
    start = len(context)
    places = [torch.arange(start), *(torch.arange(start, start + len(c)) for c in candidates)]
    parts = [torch.full((len(c),), number) for number, c in enumerate((context, *candidates))]
    place = torch.cat(places).clamp_max(MOST_POSITIONS - 1)
    return torch.cat([context, *candidates]), place, torch.cat(parts)


def _heard(layer: Any, x: Tensor, keep: Tensor) -> Tensor:
    own, heads = layer.attention["self"], layer.heads
    q, k, v = (own[kind](x).view(len(x), heads, -1).transpose(0, 1) for kind in ("query", "key", "value"))
    heard = nn.functional.scaled_dot_product_attention(q[None], k[None], v[None], attn_mask=keep)[0]
    into = layer.attention["output"]
    x = into["LayerNorm"](into["dense"](heard.transpose(0, 1).reshape(x.shape)) + x)
    wide = nn.functional.gelu(layer.intermediate["dense"](x))
    out: Tensor = layer.output["LayerNorm"](layer.output["dense"](wide) + x)
    return out


def train(net: Arrow, asked: list[str], among: list[list[str]], epochs: int, rate: float, seed: int) -> None:
    """Cross entropy on the first candidate of each context, by Adam on batches of eight contexts."""
    texts = sorted({*asked, *(text for texts in among for text in texts)})
    piece = dict(zip(texts, net.pieces(texts), strict=True))
    draw, optimiser = torch.Generator().manual_seed(seed), torch.optim.Adam(net.learnt(), rate)
    for _ in range(epochs):
        for rows in torch.randperm(len(asked), generator=draw).split(8):
            optimiser.zero_grad()
            for row in rows.tolist():
                found = net(piece[asked[row]], [piece[text] for text in among[row]])
                ((torch.logsumexp(found, 0) - found[0]) / len(rows)).backward()
            optimiser.step()


def flat(net: Arrow) -> np.ndarray:
    """What is trained, as one row of numbers."""
    return nn.utils.parameters_to_vector(net.learnt()).detach().numpy().copy()


def filled(net: Arrow, weights: np.ndarray) -> Arrow:
    """The network with these numbers."""
    nn.utils.vector_to_parameters(torch.from_numpy(np.array(weights, np.float32)), net.learnt())
    return net
