"""Several tags an item, told by half of the features without their usual company."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.company import biased, told
from tellapart.core.errors import DataError
from tellapart.core.features import labels, matrix, softmax
from tellapart.core.parts import part

_DIRECTIONS, _FLOOR = 128, 1e-7


@part(
    paper="Singh et al., Don't Judge an Object by Its Context: Learning to Overcome Contextual Bias, CVPR 2020; Kim, "
    "Zhang, Meister, Russakovsky: [Re] Don't Judge an Object by Its Context, ReScience C 2021",
    place="adapt",
    system="re-context-bias",
)
class FeatureSplit:
    """A network of one hidden layer whose one half learns tags where their usual company is missing.

    Formula. Labels are tags with "|" between, `car|road`. Pairs (b, c), b biased by c, are the `pairs` most biased of
    the items given, as `context-bias` says it. An item is exclusive where it has b without c for one of them. With
    hidden features h = [o, s] of x, s the share `split` of them, weights W = [W_o, W_s]:

        items that are not exclusive    logits  W_o o + W_s s + w
        exclusive items                 logits  W_o o + stop(W_s mean(s)) + w,  mean over items that are not exclusive
        loss    the mean over both kinds of items of the binary cross entropy of all tags, that of b on its exclusive
                items weighed by max(1, sqrt(items with b and c / items with b without c))

    so that W_s, which learns from company alone, takes the context, and W_o has to tell b without it. Asked is the
    whole, W_o o + W_s s + w. P(label) is the product over tags of p or 1 - p, shared out over the labels given.

    What was changed: the whole network is one hidden layer above frozen vectors (on their 128 principal directions),
    trained on all items at once, so that mean(s) is exact and no running mean. The CAM-based loss needs maps of
    features and is left out.

    Use it for items of several tags of which some stand together nearly always. With single labels nothing stands
    together, and it is a plain network. Relations: `split=0, weigh=False` is plain binary cross entropy, `split=0`
    exclusive items weighed up; `logistic-regression` for one label an item.

    Shapes: x [n, d], y [n]; `predict_proba` [n, classes] float32; `tag_proba` [n, tags] in the order of `tags_`.
    """

    def __init__(
        self,
        *,
        split: Annotated[float, Field(ge=0, le=0.9)] = 0.5,
        weigh: bool = True,
        pairs: Annotated[int, Field(ge=0, le=100)] = 20,
        together: Annotated[float, Field(gt=0, lt=1)] = 0.1,
        hidden: Annotated[int, Field(ge=2, le=1024)] = 64,
        steps: Annotated[int, Field(ge=1, le=10_000)] = 200,
        learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.01,
        decay: Annotated[float, Field(ge=0, le=1000)] = 0.1,
    ) -> None:
        self.split, self.weigh, self.pairs, self.together = split, weigh, pairs, together
        self.hidden, self.steps, self.learning_rate, self.decay = hidden, steps, learning_rate, decay

    def fit(self, x: Any, y: Any) -> FeatureSplit:
        """Find the biased pairs, then descend by Adam from a fixed start."""
        x = matrix(x)
        self.classes_, codes = labels(y, len(x), least=2)
        tags = [sorted({t.strip() for t in str(c).split("|")} - {""}) for c in self.classes_]
        self.tags_ = sorted({t for one in tags for t in one})
        if len(self.tags_) < 2:
            raise DataError("all labels are one tag: there is nothing to tell apart")
        self.of_class_ = np.array([[t in one for t in self.tags_] for one in tags])
        has = self.of_class_[codes]
        self._look(x)
        z = self._seen(x)
        score = told(z, has, np.random.default_rng(0)) if self.pairs else has
        self.biased_ = biased(score, has, self.pairs, self.together) if self.pairs else []
        weight, alone = np.ones(has.shape), np.zeros(len(x), bool)
        for b, c in self.biased_:
            mine = has[:, b] & ~has[:, c]
            alone |= mine
            more = np.sqrt((has[:, b] & has[:, c]).sum() / max(1, mine.sum()))
            weight[mine, b] = max(1.0, float(more)) if self.weigh else 1.0
        self._descend(z, has.astype(float), weight, alone & (self.split > 0))
        return self

    def _look(self, x: np.ndarray) -> None:
        self.mean_ = x.mean(axis=0)
        spread = float(np.sqrt(x.var(axis=0).mean()))
        if spread == 0:
            raise DataError("all items are equal: there is nothing to tell the tags apart by")
        self.map_ = np.eye(x.shape[1]) / spread
        if x.shape[1] > _DIRECTIONS:
            _, turn = np.linalg.eigh(np.cov(x, rowvar=False))
            turn = turn[:, -_DIRECTIONS:]
            sign = np.sign(turn[np.abs(turn).argmax(axis=0), np.arange(_DIRECTIONS)])
            self.map_ = turn * sign / np.sqrt(((x - self.mean_) @ turn).var(axis=0).mean())

    def _seen(self, x: np.ndarray) -> np.ndarray:
        seen: np.ndarray = (x - self.mean_) @ self.map_
        return seen

    def _descend(self, z: np.ndarray, wanted: np.ndarray, weight: np.ndarray, alone: np.ndarray) -> None:
        rng, d, t = np.random.default_rng(0), z.shape[1], wanted.shape[1]
        shapes = {"a": rng.normal(size=(d, self.hidden)) / np.sqrt(d), "a0": np.zeros(self.hidden),
                  "w": rng.normal(size=(self.hidden, t)) / np.sqrt(self.hidden), "w0": np.zeros(t)}  # fmt: skip
        first, second = ({k: np.zeros_like(v) for k, v in shapes.items()} for _ in range(2))
        cut = self.hidden - int(self.split * self.hidden)
        share = weight / t * np.where(alone, 1 / max(1, alone.sum()), 1 / max(1, (~alone).sum()))[:, None]
        for step in range(1, self.steps + 1):
            before = z @ shapes["a"] + shapes["a0"]
            h = np.maximum(before, 0)
            if alone.any() and not alone.all():
                h[alone, cut:] = h[~alone, cut:].mean(axis=0)
            off = share * (1 / (1 + np.exp(-(h @ shapes["w"] + shapes["w0"]))) - wanted)
            grad = {"w": h.T @ off, "w0": off.sum(axis=0)}
            back = (off @ shapes["w"].T) * (before > 0)
            if alone.any():
                grad["w"][cut:] = h[~alone, cut:].T @ off[~alone]
                back[alone, cut:] = 0
            grad |= {"a": z.T @ back, "a0": back.sum(axis=0)}
            for k, v in shapes.items():
                g = grad[k] + (self.decay * v / len(v) if v.ndim > 1 else 0)
                first[k], second[k] = 0.9 * first[k] + 0.1 * g, 0.999 * second[k] + 0.001 * g * g
                rate = self.learning_rate / (1 - 0.9**step)
                shapes[k] = v - rate * first[k] / (np.sqrt(second[k] / (1 - 0.999**step)) + 1e-8)
        self.weights_ = shapes

    def tag_proba(self, x: Any) -> np.ndarray:
        """[n, tags] float64, the chance of every tag."""
        if not hasattr(self, "weights_"):
            raise DataError("feature-split has not been fitted yet: call fit(x, y) first")
        w = self.weights_
        h = np.maximum(self._seen(matrix(x, dim=len(self.mean_))) @ w["a"] + w["a0"], 0)
        chance: np.ndarray = 1 / (1 + np.exp(-(h @ w["w"] + w["w0"])))
        return chance

    def predict_proba(self, x: Any) -> np.ndarray:
        """[n, classes] float32 in the order of `classes_`."""
        p = self.tag_proba(x).clip(_FLOOR, 1 - _FLOOR)
        return softmax(np.log(p) @ self.of_class_.T + np.log(1 - p) @ ~self.of_class_.T)

    def predict(self, x: Any) -> np.ndarray:
        """[n] the likeliest label of each item."""
        found: np.ndarray = self.classes_[self.predict_proba(x).argmax(axis=1)]
        return found
