from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.parts import part
from tellapart.parts.rank._denoiser import Reranker, Weights, at_time, denoise, softmax

STEPS = 1000


def _left_after() -> np.ndarray:
    """[STEPS] share of the clean worths' variance that is left after so many steps, by the cosine schedule."""
    at = np.arange(STEPS + 1) / STEPS
    level = np.cos((at + 0.008) / 1.008 * np.pi / 2) ** 2
    left: np.ndarray = np.cumprod(1 - np.minimum(1 - level[1:] / level[:-1], 0.999))
    return left


@part(
    paper="Jin, Li, Cheng, Li, Ji, Liu, Yuan, Chen: DiffusionRet: Generative Text-Video Retrieval with Diffusion "
    "Model, ICCV 2023",
    place="retrieve",
    system="diffusionret",
    traits=("vectors", "pairs"),
)
class Diffusionret(Reranker):
    """Which of the nearest documents is meant is generated from noise, step by step, given all of them at once.

    Formula, with `f` a network in which the query attends to the candidates, and the noisy worths are added to the
    attention's logits; x0 is 1 for the right document and 0 for the `candidates` - 1 hardest wrong ones; a_t the cosine
    schedule of 1,000 steps, e noise::

        fit:   t uniform, x_t = sqrt(a_t) x0 + sqrt(1 - a_t) e;  cross entropy of f(x_t, t) / temperature on the right
        rank:  from x = e down to 0 in `steps` of DDIM (no new noise), where y = f(x, t) within -1 to 1 and
               x <- sqrt(a_s) y + sqrt(1 - a_s) (x - sqrt(a_t) y) / sqrt(1 - a_t)
               score_j = cosine_j + weight softmax_j x

    Hits beyond the best `candidates` keep their cosines, and stay below. As in the authors' code: the network predicts
    x0, its attention is added to its output, clipping, the temperature 0.01 of the loss, hard candidates, 50 steps.
    What differs: a document is one vector, where a video has one a frame that the text weighs first; the vectors are
    never trained along; no dropout; the noise that ranking starts from is the same for every query, so that a query
    finds the same each time. Fitted on pairs that training did not see. Fitting needs torch, ranking does not.

    Shapes: fit(queries [a, d], documents [b, d], pairs [p, 2]); rank(queries [n, d], hits, vectors of hits [u, d]).
    Raises `DataError` for fewer than 10 pairs, and where all documents are right.

    Use it only after `attention-reranker`, the same network in one step, has been seen to do worse.

    Relations: with one step and no noise it would be `attention-reranker`.
    """

    def __init__(
        self,
        *,
        candidates: Annotated[int, Field(ge=2, le=500)] = 20,
        weight: Annotated[float, Field(ge=0, le=100)] = 1.0,
        steps: Annotated[int, Field(ge=1, le=1000)] = 50,
        temperature: Annotated[float, Field(gt=0, le=100)] = 0.01,
        epochs: Annotated[int, Field(ge=1, le=10_000)] = 20,
        learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.001,
        seed: Annotated[int, Field(ge=0, le=2147483647)] = 0,
    ) -> None:
        self.candidates, self.weight, self.steps, self.temperature = candidates, weight, steps, temperature
        self.epochs, self.learning_rate, self.seed = epochs, learning_rate, seed

    def _loss(self, w: Weights, q: Any, k: Any, there: Any, draw: Any) -> Any:
        import torch

        step = torch.randint(STEPS, (len(q),), generator=draw)
        left = torch.from_numpy(_left_after()).float()[step][:, None]
        clean = torch.zeros_like(there)
        clean[:, 0] = 1
        noisy = left.sqrt() * clean + (1 - left).sqrt() * torch.randn(clean.shape, generator=draw)
        time = torch.from_numpy(at_time(step.numpy(), q.shape[1]))
        worth = denoise(torch, w, noisy, time, q, k, there) / self.temperature
        return -(worth[:, 0] - torch.logsumexp(worth.masked_fill(there == 0, -torch.inf), 1)).mean()

    def _worth(self, w: Weights, q: np.ndarray, k: np.ndarray, there: np.ndarray) -> np.ndarray:
        left = _left_after()
        x = np.tile(self.noise_[: there.shape[1]], (len(q), 1))
        times = np.linspace(STEPS - 1, 0, self.steps).round().astype(int)
        for t, following in zip(times, [*times[1:], -1], strict=True):
            y = np.clip(denoise(np, w, x, at_time(np.full(len(q), t), q.shape[1]), q, k, there), -1, 1)
            noise = (x - np.sqrt(left[t]) * y) / np.sqrt(1 - left[t])
            after = left[following] if following >= 0 else 1.0
            x = (np.sqrt(after) * y + np.sqrt(1 - after) * noise).astype(np.float32)
        found: np.ndarray = softmax(np, np.where(there > 0, x, -np.inf))
        return found
