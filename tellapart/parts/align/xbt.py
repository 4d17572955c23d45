"""A projection into the old space that is learnt from texts, then from a few pairs."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.aligning import SIDES, Aligner, Layer, paired
from tellapart.core.errors import DataError
from tellapart.core.needs import require
from tellapart.core.parts import part


@part(
    paper="Jang and Lim, Towards Cross-modal Backward-compatible Representation Learning for Vision-Language Models, "
    "ICCV 2025",
    place="retrieve",
    system="xbt",
    traits=("texts", "pairs"),
)
class Xbt(Aligner):
    """A small network phi from the new space into the old one: taught by texts alone, then tuned by a few pairs.

    Formula, for unit vectors x_i (new) and y_i (old) of the same texts and z_i = unit(phi(x_i)):

        phi(x)  = S x + B relu(A x + a) + b
        stage 1 = mean_i ||z_i - y_i||^2 + weight * [CE(z y' / temperature) + CE(y z' / temperature)] / 2
        stage 2 = [CE(u v' / temperature) + CE(v u' / temperature)] / 2
                  u = unit(phi(x + Q2 Q1 x)) of a pair's query, v = unit(phi(w + D2 D1 w)) of its document

    CE is the cross entropy of each row with its own column. Columns of the same item as a row's own (equal old vectors
    in stage 1, equal vectors on either side of a pair in stage 2) are no negatives. Stage 2 trains phi with the two
    low-rank additions of rank `rank`, whose second factors begin at 0, and needs no old model.

    What was taken: of the paper only abstract and descriptions of it could be read. From these are the text-only first
    stage with a distance and a contrastive term, the few pairs of the second in the projected space, the new model left
    as it is, and the criterion (new to old above old to old). The exact terms, their weights and the layers of phi are
    this part's own choice. The paper's second stage puts low-rank additions and prompts into the towers; a map of
    vectors cannot reach there, so they stand between tower and phi.

    Use it when: texts are plenty and pairs few, and the old index holds another modality than texts. Where old vectors
    of many items are at hand, compare with `ridge`.

    Args:
        hidden: width of phi's hidden layer.
        rank: of the additions of stage 2.
        temperature: of both contrastive terms.
        weight: of the contrastive term of stage 1.
        epochs, tuning_epochs: of the two stages.
        learning_rate: of Adam in stage 1, falling to 0 along a cosine; a tenth of it in stage 2.
        batch_size: items a step.

    Relations: `ridge` is the same without a hidden layer and with the distance alone, in closed form.

    Shapes: new [n, d], old [n, d'] in `fit`, where trait `texts` asks for texts only; `pairs` (queries [p, d],
    documents [p, d]) in the new space, None leaves stage 2 out; `transform` [m, d] -> [m, d'] float32 of length 1.
    """

    def __init__(
        self,
        *,
        hidden: Annotated[int, Field(ge=1, le=8192)] = 256,
        rank: Annotated[int, Field(ge=1, le=1024)] = 8,
        temperature: Annotated[float, Field(gt=0, le=100)] = 0.1,
        weight: Annotated[float, Field(ge=0, le=1000)] = 1.0,
        epochs: Annotated[int, Field(ge=0, le=100_000)] = 100,
        tuning_epochs: Annotated[int, Field(ge=0, le=100_000)] = 20,
        learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-3,
        batch_size: Annotated[int, Field(ge=2, le=65_536)] = 256,
    ) -> None:
        self.hidden, self.rank, self.temperature, self.weight = hidden, rank, temperature, weight
        self.epochs, self.tuning_epochs = epochs, tuning_epochs
        self.learning_rate, self.batch_size = learning_rate, batch_size

    def fit(self, new: Any, old: Any, *, pairs: Any = None, seed: int = 0) -> Xbt:
        """Train both stages. Raises `DataError` for what are no pairs, and in words where torch is missing."""
        require("torch", "fitting xbt")
        from tellapart.parts.align._xbt_torch import train

        x, y = paired(new, old)
        both = None
        if pairs is not None:
            both = paired(*pairs)
            if any(side.shape[1] != x.shape[1] for side in both):
                raise DataError(f"pairs are vectors of the new space, {x.shape[1]} numbers each, on both sides")
        for name, value in train(self, x, y, both, seed).items():
            setattr(self, f"{name}_", value)
        return self

    def layers(self, side: str = "query") -> list[Layer]:
        """Two layers: S x = relu(S x) - relu(-S x) goes through the hidden one, and so does the side's addition."""
        if side not in SIDES:
            raise DataError(f"a side is query or document, not {side!r}")
        low, high = self.learnt(f"{side}_low_"), self.learnt(f"{side}_high_")
        added = np.eye(low.shape[1], dtype=np.float32) + high @ low
        inner, bias, outer = self.learnt("inner_"), self.learnt("inner_bias_"), self.learnt("outer_")
        skip = self.learnt("skip_")
        one = np.eye(len(skip), dtype=np.float32)
        first = np.concatenate([inner, skip, -skip]) @ added
        start = np.concatenate([bias, np.zeros(2 * len(skip), np.float32)])
        return [Layer(first, start, relu=True), Layer(np.concatenate([outer, one, -one], 1), self.learnt("bias_"))]
