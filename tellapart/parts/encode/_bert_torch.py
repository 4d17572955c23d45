"""The same BERT encoder as a torch module for training; its state dict has the names of the published file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tellapart.core.maths import unit

STEPS = 65_536


class Bert(nn.Module):
    """Token numbers [n, t] and attention mask [n, t] -> unit vectors [n, width], mean-pooled over the mask.

    Devlin et al., BERT, NAACL 2019; mean pooling as in Reimers and Gurevych, Sentence-BERT, EMNLP 2019.

    Args:
        config: the published `config.json` of the model.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        width, epsilon, dropout = config["hidden_size"], config["layer_norm_eps"], config["hidden_dropout_prob"]
        inner, heads = config["intermediate_size"], config["num_attention_heads"]
        self.embeddings = nn.ModuleDict(
            {
                "word_embeddings": nn.Embedding(config["vocab_size"], width),
                "position_embeddings": nn.Embedding(config["max_position_embeddings"], width),
                "token_type_embeddings": nn.Embedding(config["type_vocab_size"], width),
                "LayerNorm": nn.LayerNorm(width, epsilon),
            }
        )
        self.dropout = Dropout(dropout)
        stack = [_Layer(width, inner, heads, epsilon, dropout) for _ in range(config["num_hidden_layers"])]
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(stack)})

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """See the class."""
        part = self.embeddings
        place = part["position_embeddings"].weight[: tokens.shape[1]] + part["token_type_embeddings"].weight[0]
        x = self.dropout(part["LayerNorm"](part["word_embeddings"](tokens) + place))
        for layer in self.encoder["layer"]:
            x = layer(x, mask.bool())
        share = mask.unsqueeze(-1).to(x.dtype)
        return unit((x * share).sum(1) / share.sum(1))


class _Layer(nn.Module):
    """Attention, then a wide layer with GELU, each added to what came in and normalised after."""

    def __init__(self, width: int, inner: int, heads: int, epsilon: float, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, Dropout(dropout)
        own = nn.ModuleDict({kind: nn.Linear(width, width) for kind in ("query", "key", "value")})
        self.attention = nn.ModuleDict({"self": own, "output": _add_norm(width, width, epsilon)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = _add_norm(inner, width, epsilon)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        own = self.attention["self"]
        shape = (*x.shape[:2], self.heads, -1)
        q, k, v = (own[kind](x).view(shape).transpose(1, 2) for kind in ("query", "key", "value"))
        heard = _attention(q, k, v, keep[:, None, None], self.dropout)
        x = self._add(heard.transpose(1, 2).reshape(x.shape), x, self.attention["output"])
        return self._add(nn.functional.gelu(self.intermediate["dense"](x)), x, self.output)

    def _add(self, x: Tensor, skip: Tensor, into: nn.Module) -> Tensor:
        out: Tensor = into["LayerNorm"](self.dropout(into["dense"](x)) + skip)  # type: ignore[index]
        return out


class Dropout(nn.Module):
    """Each number is 0 with the chance `rate`, the others grow by as much; in evaluation nothing happens.

    On a CPU torch draws one number after the other, a sixth of a training step. Here four decisions come of each draw,
    so that the chance is the nearest of 65,536 steps, and the growth is exactly its own.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """See the class."""
        if not self.training or not self.rate:
            return x
        if x.device.type != "cpu":
            return torch.dropout(x, self.rate, True)
        steps = round(self.rate * STEPS)
        draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(torch.iinfo(torch.int64).min, None)
        kept = draws.view(torch.int16)[: x.numel()].view(x.shape) >= steps - STEPS // 2
        return x * kept.to(x.dtype).mul_(STEPS / (STEPS - steps))


def _attention(q: Tensor, k: Tensor, v: Tensor, keep: Tensor, dropout: Dropout) -> Tensor:
    """[n, heads, t, d] of what each token hears of those that are kept; on a CPU no kernel drops out by itself."""
    if not dropout.training or q.device.type != "cpu":
        rate = dropout.rate if dropout.training else 0.0
        return nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=keep, dropout_p=rate)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    return dropout(scores.masked_fill(~keep, -torch.inf).softmax(-1)) @ v


def _add_norm(inside: int, width: int, epsilon: float) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(inside, width), "LayerNorm": nn.LayerNorm(width, epsilon)})
