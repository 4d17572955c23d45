"""A head as a list of dense layers in numpy: what is computed where torch is not, and what is exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tellapart.core.errors import DataError, PartError


@dataclass(frozen=True)
class Dense:
    """`x @ weight.T + bias`, then ReLU where it says so; weight is [out, in] float32."""

    weight: np.ndarray
    bias: np.ndarray
    relu: bool = False


def check_names(head: str, state: Mapping[str, np.ndarray], names: Sequence[str]) -> None:
    """Refuse tensors that are those of another head."""
    if set(state) != set(names):
        raise PartError(f"{head} has the tensors {', '.join(sorted(names))}, and was given {', '.join(sorted(state))}")


def fold_standardising(weight: np.ndarray, bias: np.ndarray, state: Mapping[str, np.ndarray]) -> Dense:
    """The layer that does on x what (weight, bias) does on (x - mean) / spread of that state."""
    wide = weight.astype(np.float64) / state["spread"]
    return Dense(wide.astype(np.float32), (bias - wide @ state["mean"]).astype(np.float32))


def unit_forward(layers: Sequence[Dense], x: np.ndarray) -> np.ndarray:
    """[n, width] -> [n, dim] float32 of unit length; a vector of zeros stays one.

    Raises:
        DataError: x has another width than the head was trained on, or values that are not finite.
    """
    width = layers[0].weight.shape[1]
    if x.ndim != 2 or x.shape[1] != width:
        raise DataError(f"this head was trained on vectors of width {width}, and was given an array of shape {x.shape}")
    if not np.isfinite(x).all():
        raise DataError("the vectors hold values that are not finite (NaN or infinity); embed those items anew")
    z = x.astype(np.float32, copy=False)
    for layer in layers:
        z = z @ layer.weight.T + layer.bias
        if layer.relu:
            z = np.maximum(z, 0)
    length = np.linalg.norm(z, axis=1, keepdims=True)
    unit: np.ndarray = z / np.maximum(length, np.float32(1e-12))
    return unit
