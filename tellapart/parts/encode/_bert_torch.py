"""The same BERT encoder as a torch module for training; its state dict has the names of the published file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from tellapart.core.maths import unit


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
        self.dropout = nn.Dropout(dropout)
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
        self.heads, self.dropout = heads, dropout
        own = nn.ModuleDict({kind: nn.Linear(width, width) for kind in ("query", "key", "value")})
        self.attention = nn.ModuleDict({"self": own, "output": _add_norm(width, width, epsilon)})
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(width, inner)})
        self.output = _add_norm(inner, width, epsilon)

    def forward(self, x: Tensor, keep: Tensor) -> Tensor:
        own, rate = self.attention["self"], self.dropout if self.training else 0.0
        shape = (*x.shape[:2], self.heads, -1)
        q, k, v = (own[kind](x).view(shape).transpose(1, 2) for kind in ("query", "key", "value"))
        heard = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=keep[:, None, None], dropout_p=rate)
        x = self._add(heard.transpose(1, 2).reshape(x.shape), x, self.attention["output"])
        return self._add(nn.functional.gelu(self.intermediate["dense"](x)), x, self.output)

    def _add(self, x: Tensor, skip: Tensor, into: nn.Module) -> Tensor:
        out: Tensor = into["LayerNorm"](torch.dropout(into["dense"](x), self.dropout, self.training) + skip)  # type: ignore[index]
        return out


def _add_norm(inside: int, width: int, epsilon: float) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(inside, width), "LayerNorm": nn.LayerNorm(width, epsilon)})
