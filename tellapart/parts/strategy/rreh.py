from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.errors import PartError
from tellapart.core.parts import part
from tellapart.parts.strategy._codes import SIDES, drawn_rotation, features, nearest_rotation, signs

NOTHING = 1e-10


@part(
    paper="Wang, Shi, Luo, Zhang, Cheng, Xiao: RREH: Reconstruction Relations Embedded Hashing for Semi-Paired "
    "Cross-Modal Retrieval, 2024, arXiv 2405.17777",
    place="train",
    system="rreh",
    traits=("closed-form", "unpaired", "two-sides"),
    needs=("torch",),
)
class Rreh(nn.Module):
    """Codes for both sides from pairs and from items that lack one side, by updates in closed form.

    X_m [n + n_m, width] are the standardised features of side m: those of the n pairs, X_m^p, then those of its n_m
    items without a partner, X_m^o; centred, and scaled so that a squared length is `bits` on average, as that of a
    code. With anchors A drawn from the pairs, an item without a partner is written by the anchors of its own side,
    Z_m = X_m^o A_m' (A_m A_m' + ridge tr(A_m A_m') / |A| I)^(-1), and the same coefficients shall write its latent.
    Of latents V (V_p for the pairs, V_m), U_m, codes B, W_m and an orthogonal R this is minimised::

        sum_m |X_m^p - V_p U_m'|^2 + |U_m|^2               one latent for both halves of a pair
        + relation sum_m |V_m - Z_m V_A|^2                 the relation to the anchors
        + quantise |B - V R|^2                             B in {-1, 1}, R R' = I
        + project sum_m |B_m - X_m W_m|^2 + r_m |W_m|^2    r_m = ridge tr(X_m' X_m) / width

    Every block in turn has its exact minimum: U_m and W_m by ridge regression, V_m by a mean, V_p by least squares (V_A
    by a Sylvester equation), R by Procrustes, B = sign(quantise V R + project sum_m X_m W_m). It begins with the
    leading principal components of both halves side by side and a random R. The towers are W_m, `bits` is the width of
    the head; with `head=sign-head(dim=BITS)` a vector is sign(W'x) / sqrt(bits), for `index=sign-bits`. With other
    heads it is W'x of unit length. A round costs O((n + n_m) (width + |A|) bits).

    When to use: few pairs, and many pictures without text or texts without picture. The data may hold such rows: what
    a reader calls a problem for any other strategy is then learnt from (docs/data.md). Frozen features, two sides. Its
    evidence says to try `cca-itq` first: that found more, or no less, from the pairs alone.

    Written from the paper's abstract and a summary of it, without its equations, and no code of it was found: its
    weights, constraints on V and ridges, and whether its codes see the projections, may differ from what stands above.

    Args:
        anchors: how many pairs, or all of them where they are fewer.
        relation, quantise, project: weights of the terms.
        ridge: of reconstruction and projections, in units of a mean eigenvalue.
        rounds: of updates.

    Relations: `cca-itq` learns codes from the pairs alone.
    """

    def __init__(
        self,
        *,
        anchors: Annotated[int, Field(ge=2, le=5000)] = 300,
        relation: Annotated[float, Field(gt=0, le=1e6)] = 1.0,
        quantise: Annotated[float, Field(gt=0, le=1e6)] = 1.0,
        project: Annotated[float, Field(gt=0, le=1e6)] = 1.0,
        ridge: Annotated[float, Field(gt=0, le=1e6)] = 1.0,
        rounds: Annotated[int, Field(ge=1, le=1000)] = 20,
    ) -> None:
        super().__init__()
        self.anchors, self.rounds, self.ridge = anchors, rounds, ridge
        self.relation, self.quantise, self.project = relation, quantise, project

    @torch.no_grad()
    def begin(self, run: Any) -> None:
        """Put the solution into the towers."""
        if run.data.same_space:
            raise PartError("rreh needs two sides, and this collection is searched by itself; use two-tower")
        raw, bits = [features(run, side, "rreh") for side in SIDES], run.dim()
        means = [x.mean(0) for x in raw]
        scales = [
            np.sqrt(bits / max(((x - mean) ** 2).sum(1).mean(), 1e-12)) for x, mean in zip(raw, means, strict=True)
        ]
        x = [(each - mean) * scale for each, mean, scale in zip(raw, means, scales, strict=True)]
        maps = self._solved(x, len(run.data), bits, np.random.default_rng(run.seed))
        for side, w, mean, scale in zip(SIDES, maps, means, scales, strict=True):
            weight = scale * w.T
            run.towers[side].place(*(torch.from_numpy(each).float() for each in (weight, -(weight @ mean))))

    def _solved(self, x: list[np.ndarray], n: int, bits: int, rng: np.random.Generator) -> list[np.ndarray]:
        """[width, bits] projections of both sides; `x` has the n pairs first."""
        a = np.sort(rng.choice(n, min(self.anchors, n), replace=False))
        z = [each[n:] @ each[a].T @ _inverse(each[a] @ each[a].T, self.ridge) for each in x]
        ends = np.cumsum([n, *(len(each) - n for each in x)])
        own = [slice(first, last) for first, last in pairwise(ends)]
        has = [np.r_[:n, some] for some in own]
        inverse = [_inverse(each.T @ each, self.ridge) for each in x]
        c, turn = np.linalg.eigh(self.relation * sum(each.T @ each for each in z))
        w = [np.zeros((each.shape[1], bits)) for each in x]
        v = _principal(np.concatenate([each[:n] for each in x], 1), bits, rng)
        v, r = np.concatenate([v, *(each @ v[a] for each in z)]), drawn_rotation(bits, rng)
        b = signs(v @ r)
        for _ in range(self.rounds):
            gram = np.linalg.inv(v[:n].T @ v[:n] + np.eye(bits))
            u = [each[:n].T @ v[:n] @ gram for each in x]
            target = self.quantise * b @ r.T
            for some, each in zip(own, z, strict=True):
                v[some] = (self.relation * each @ v[a] + target[some]) / (self.relation + self.quantise)
            s, axes = np.linalg.eigh(sum(each.T @ each for each in u) + self.quantise * np.eye(bits))
            wanted = target[:n] + sum(each[:n] @ of for each, of in zip(x, u, strict=True))
            v[:n] = wanted @ (axes / s) @ axes.T
            pulled = wanted[a] + self.relation * sum(each.T @ v[some] for some, each in zip(own, z, strict=True))
            v[a] = turn @ ((turn.T @ pulled @ axes) / (c[:, None] + s)) @ axes.T
            r = nearest_rotation(v, b)
            w = [part @ (each.T @ b[rows]) for part, each, rows in zip(inverse, x, has, strict=True)]
            scores = self.quantise * v @ r
            for rows, each, of in zip(has, x, w, strict=True):
                scores[rows] += self.project * each @ of
            b = signs(scores)
        return [part @ (each.T @ b[rows]) for part, each, rows in zip(inverse, x, has, strict=True)]

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """There are no steps."""
        raise PartError("rreh is solved in closed form and has no steps")

    def after(self, run: Any) -> None:
        """Nothing to keep."""


def _inverse(gram: np.ndarray, ridge: float) -> np.ndarray:
    """(G + ridge tr(G) / size I)^(-1); of a G of zeros, that of the identity."""
    mean = float(np.trace(gram)) / len(gram)
    made: np.ndarray = np.linalg.inv(gram + (ridge * mean or 1.0) * np.eye(len(gram)))
    return made


def _principal(x: np.ndarray, bits: int, rng: np.random.Generator) -> np.ndarray:
    """[n, bits] leading left singular vectors of variance 1, the largest entry of each positive; then random ones."""
    wide = x.shape[1] > len(x)
    values, vectors = (each[..., ::-1][..., :bits] for each in np.linalg.eigh(x @ x.T if wide else x.T @ x))
    vectors = vectors[:, values > NOTHING * values[0]]
    left = vectors if wide else x @ vectors
    left = left * signs(left[np.abs(left).argmax(0), np.arange(left.shape[1])]) / np.linalg.norm(left, axis=0)
    more: np.ndarray = rng.normal(size=(len(x), bits - left.shape[1]))
    return np.concatenate([np.sqrt(len(x)) * left, more], 1)
