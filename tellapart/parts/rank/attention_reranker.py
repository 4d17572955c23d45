from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.parts import part
from tellapart.parts.rank._denoiser import Reranker, Weights, at_time, denoise, softmax


@part(paper="(plain baseline of diffusionret)", place="retrieve", traits=("vectors", "pairs"))
class AttentionReranker(Reranker):
    """A network sees a query and its nearest documents together, and says in one step which of them is meant.

    Formula, with `f` the network of `diffusionret` (attention of the query over the candidates) told that nothing is
    known yet (worths 0, step 0)::

        fit:   cross entropy of f(0) / temperature on the right one among the `candidates` - 1 hardest wrong ones
        rank:  score_j = cosine_j + weight softmax_j f(0)

    Hits beyond the best `candidates` keep their cosines, and stay below. Fitted on pairs that training did not see.
    Fitting needs torch, ranking does not.

    Shapes: fit(queries [a, d], documents [b, d], pairs [p, 2]); rank(queries [n, d], hits, vectors of hits [u, d]).
    Raises `DataError` for fewer than 10 pairs, and where all documents are right.

    Use it where the mistakes are among the first few hits, and a few hundred pairs are there to fit it on.

    Relations: `diffusionret` reaches its answer from noise in many steps; `dbnorm` needs no pairs.
    """

    def __init__(
        self,
        *,
        candidates: Annotated[int, Field(ge=2, le=500)] = 20,
        weight: Annotated[float, Field(ge=0, le=100)] = 1.0,
        temperature: Annotated[float, Field(gt=0, le=100)] = 0.1,
        epochs: Annotated[int, Field(ge=1, le=10_000)] = 20,
        learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.001,
        seed: Annotated[int, Field(ge=0, le=2147483647)] = 0,
    ) -> None:
        self.candidates, self.weight, self.temperature = candidates, weight, temperature
        self.epochs, self.learning_rate, self.seed = epochs, learning_rate, seed

    def _loss(self, w: Weights, q: Any, k: Any, there: Any, draw: Any) -> Any:
        import torch

        time = torch.from_numpy(at_time(np.zeros(len(q)), q.shape[1]))
        worth = denoise(torch, w, torch.zeros_like(there), time, q, k, there) / self.temperature
        return -(worth[:, 0] - torch.logsumexp(worth.masked_fill(there == 0, -torch.inf), 1)).mean()

    def _worth(self, w: Weights, q: np.ndarray, k: np.ndarray, there: np.ndarray) -> np.ndarray:
        worth = denoise(np, w, np.zeros_like(there), at_time(np.zeros(len(q)), q.shape[1]), q, k, there)
        found: np.ndarray = softmax(np, np.where(there > 0, worth, -np.inf))
        return found
