"""The forward pass of a BERT encoder with mean pooling, written as an ONNX graph from its weights."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tellapart.parts.encode._onnx import MICROSOFT, Graph

BUILDER, TOKEN_BUILDER = "bert-1", "bert-tokens-1"
TOKENS, MASK, POSITIONS = "tokens", "mask", "positions"
INT32 = 6


def bert_graph(
    weights: Mapping[str, np.ndarray], config: Mapping[str, Any], *, masked: bool, placed: bool = False
) -> tuple[Graph, str]:
    """The graph and the name of its output: [n, width] unit vectors of int64 token numbers [n, tokens].

    Args:
        weights: by their names in the published file, such as `encoder.layer.0.attention.self.query.weight`.
        config: the published `config.json`.
        masked: take an int64 attention mask beside the tokens. Without one every token counts, which is right for
            texts of one length, and spares the padding.
        placed: take the vectors of the positions [tokens, width] as an input, as `position_rows` gives them.
    """
    graph = Graph()
    x = _layers(graph, weights, config, masked=masked, placed=placed)
    if masked:
        axis = graph.constant(np.array([2]))
        share = graph.add("Unsqueeze", graph.add("Cast", MASK, to=1), axis)
        over = graph.constant(np.array([1]))
        total = graph.add("ReduceSum", graph.add("Mul", x, share), over, keepdims=0)
        mean = graph.add("Div", total, graph.add("ReduceSum", share, over, keepdims=0))
    else:
        mean = graph.add("ReduceMean", x, graph.constant(np.array([1])), keepdims=0)
    return graph, graph.add("LpNormalization", mean, axis=-1, p=2)


def token_graph(
    weights: Mapping[str, np.ndarray], config: Mapping[str, Any], *, placed: bool = False
) -> tuple[Graph, str]:
    """The graph and the name of its output: [n, tokens, width], unit vectors of all tokens of texts of one length."""
    graph = Graph()
    x = _layers(graph, weights, config, masked=False, placed=placed)
    return graph, graph.add("LpNormalization", x, axis=-1, p=2)


def position_rows(weights: Mapping[str, np.ndarray]) -> np.ndarray:
    """[512, width] what is added to the word at each position.

    Every token is of the first segment, so that segment's vector is added to each position's once and for all.
    """
    table = "embeddings.{}_embeddings.weight"
    return np.asarray(weights[table.format("position")] + weights[table.format("token_type")][0])


def _layers(
    graph: Graph, weights: Mapping[str, np.ndarray], config: Mapping[str, Any], *, masked: bool, placed: bool
) -> str:
    """The name of the last layer's states [n, tokens, width]."""
    epsilon = config["layer_norm_eps"]

    def constant(name: str) -> str:
        return graph.constant(weights[name])

    def matmul(x: str, name: str) -> str:
        return graph.add("MatMul", x, graph.constant(weights[f"{name}.weight"].T))

    def add_norm(x: str, skip: str, name: str) -> str:
        norm = f"{name}.LayerNorm"
        inputs = [matmul(x, f"{name}.dense"), skip, constant(f"{norm}.weight"), constant(f"{norm}.bias")]
        bias = constant(f"{name}.dense.bias")
        return graph.add("SkipLayerNormalization", *inputs, bias, domain=MICROSOFT, epsilon=epsilon)

    mask = graph.add("Cast", MASK, to=INT32) if masked else ""
    table = "embeddings.{}_embeddings.weight"
    norm = [constant("embeddings.LayerNorm.weight"), constant("embeddings.LayerNorm.bias")]
    places = [constant(table.format("word")), POSITIONS if placed else graph.constant(position_rows(weights)), ""]
    x = graph.add(
        "EmbedLayerNormalization", graph.add("Cast", TOKENS, to=INT32), "", *places, *norm,
        domain=MICROSOFT, outputs=2, epsilon=epsilon,
    )  # fmt: skip
    for layer in range(config["num_hidden_layers"]):
        name = f"encoder.layer.{layer}"
        kinds = [f"{name}.attention.self.{kind}" for kind in ("query", "key", "value")]
        qkv = graph.constant(np.concatenate([weights[f"{kind}.weight"].T for kind in kinds], 1))
        bias = graph.constant(np.concatenate([weights[f"{kind}.bias"] for kind in kinds]))
        inputs = [x, qkv, bias, mask] if masked else [x, qkv, bias]
        heard = graph.add("Attention", *inputs, domain=MICROSOFT, num_heads=config["num_attention_heads"])
        x = add_norm(heard, x, f"{name}.attention.output")
        inner = matmul(x, f"{name}.intermediate.dense")
        inner = graph.add("BiasGelu", inner, constant(f"{name}.intermediate.dense.bias"), domain=MICROSOFT)
        x = add_norm(inner, x, f"{name}.output")
    return x
