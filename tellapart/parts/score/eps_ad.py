"""Distance of an item's expected perturbation score to those of known items."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError
from tellapart.core.features import matrix
from tellapart.core.parts import part
from tellapart.parts.score._denoiser import Denoiser

ROWS, LEAST = 512, 1e-12


@part(
    paper="Zhang et al., Detecting Adversarial Data by Probing Multiple Perturbations Using Expected Perturbation "
    "Score, ICML 2023",
    place="detect",
    system="eps-ad",
    traits=("unknown",),
    needs=("torch",),
    aliases=("expected-perturbation-score",),
)
class EpsAd:
    """How far the mean score of an item's noised copies lies from those of known items: for items changed on purpose.

    Formula, "score" being the slope of the logarithm of the density, for u the item less the mean, divided by one
    number so that a coordinate has variance 1, and steps t = 1 ... T (`levels`) of 1,000 of a diffusion::

        a_t^2 = exp(-(0.1 t' + 9.95 t'^2)), t' = t / 1000;   s_t^2 = 1 - a_t^2;   u_t = a_t u + s_t e_t
        noise_t(u_t) = s_t (a_t^2 S + s_t^2 I)^-1 u_t + F(u_t, t)        F trained to leave |e - noise_t|^2 least
        EPS(u) = mean_t - noise_t(u_t) / s_t
        k(v, w) = exp(-|v - w|^2 / (width m))     m the mean squared distance between the references' EPS
        score = - log mean_j k(EPS(u), EPS(u_j)) over the references u_j.  Higher = more unknown.

    The MMD of one item to the references is mean_ij k - 2 mean_j k(EPS(u), EPS(u_j)) + 1: the score orders items as it
    does, and still tells apart those that no reference is near.

    Read in the authors' code: steps 1 to T of that diffusion (20 for CIFAR, 50 for ImageNet), one draw of noise a step,
    the mean, the biased MMD of single items, 500 references. There the network is a diffusion model of pixels; here
    items are vectors, and it is that of one Gaussian with their covariance S, exactly, and a small network F of two
    hidden layers for what that leaves (`steps` = 0: the Gaussian alone). F is bounded: far out the Gaussian rules. The
    draws e_t are the same for all items, so that an item's score does not hang on chance. Their kernel has a second
    factor on features learnt from attacked items; a score is fitted on known items alone, so here is the Gaussian
    kernel on EPS.

    When to use: vectors that somebody may have moved a little in directions in which real ones do not vary, pixels
    first of all. What an encoder gives of an attacked picture can look quite natural: then nothing is seen here. In
    the evidence it finds attacks that `energy`, `max-softmax`, `knn` and `mahalanobis-ood` find less well; that the
    mean over levels is better than the lowest level alone holds on digits and not on clothes, and that F adds to the
    Gaussian is not shown.

    Args:
        levels: T. steps: of training F. hidden: its width. references: items kept, at even distances. width: of k.

    Raises `DataError` for fewer than two items, or items that are all equal.

    Relations: `mahalanobis-ood` weighs directions as the Gaussian does, and needs labels; `knn` knows no directions.

    Shapes: x [n, d]; score [n] float32. Fitting costs d^3 and `steps` of 128 items; scoring levels * n * d * hidden.
    """

    def __init__(
        self,
        *,
        levels: Annotated[int, Field(ge=1, le=1000)] = 20,
        steps: Annotated[int, Field(ge=0, le=1_000_000)] = 300,
        hidden: Annotated[int, Field(ge=1, le=8192)] = 128,
        references: Annotated[int, Field(ge=2, le=100_000)] = 500,
        width: Annotated[float, Field(gt=0, le=1000)] = 1.0,
    ) -> None:
        self.levels, self.steps, self.hidden = levels, steps, hidden
        self.references, self.width = references, width

    def fit(self, x: Any, y: Any = None) -> EpsAd:
        """Learn the scores of items and keep those of the references; labels are not used."""
        x = matrix(x)
        self.mean_ = x.mean(axis=0)
        values, axes = np.linalg.eigh(np.atleast_2d(np.cov(x.T, bias=True)))
        spread = float(values.clip(0).mean())
        if len(x) < 2 or spread <= LEAST * float(np.square(x).mean()):
            raise DataError("eps-ad needs items that differ from each other, and these are equal: give others")
        self.axes_, self.unit_ = axes, spread**0.5
        u = self._standard(x)
        self.denoiser_ = Denoiser(u, levels=self.levels, steps=self.steps, hidden=self.hidden)
        rows = np.unique(np.linspace(0, len(x) - 1, min(len(x), self.references)).astype(int))
        self.known_ = self.denoiser_.expected(u[rows])
        apart = 2 * float(self.known_.var(axis=0).sum())
        if apart <= 0:
            raise DataError(f"eps-ad: {len(rows)} references are all equal; give a larger `references`")
        self.bandwidth_ = self.width * apart
        return self

    def perturbed(self, x: Any, level: int) -> np.ndarray:
        """[n, d] the score of the items noised to one level of 1 ... `levels`, along principal axes."""
        u = self._given(x)
        return self.denoiser_.score(u, level)

    def expected(self, x: Any) -> np.ndarray:
        """[n, d] EPS of the items, along principal axes."""
        u = self._given(x)
        return self.denoiser_.expected(u)

    def score(self, x: Any) -> np.ndarray:
        """[n] float32, higher = more unknown."""
        eps = self.expected(x)
        out = np.empty(len(eps), np.float32)
        for start in range(0, len(eps), ROWS):
            rows = eps[start : start + ROWS]
            squared = (rows**2).sum(axis=1)[:, None] + (self.known_**2).sum(axis=1) - 2 * rows @ self.known_.T
            near = -np.maximum(squared, 0) / self.bandwidth_
            most = near.max(axis=1)
            out[start : start + len(rows)] = -most - np.log(np.exp(near - most[:, None]).mean(axis=1))
        return out

    def _given(self, x: Any) -> np.ndarray:
        if not hasattr(self, "known_"):
            raise DataError("eps-ad has not been fitted yet: call fit(x) first")
        return self._standard(matrix(x, dim=len(self.mean_)))

    def _standard(self, x: np.ndarray) -> np.ndarray:
        """Along principal axes, in which the coordinates are uncorrelated; distances are those of x, divided."""
        turned: np.ndarray = (x - self.mean_) @ self.axes_ / self.unit_
        return turned
