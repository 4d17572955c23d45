from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.parts import part
from tellapart.parts.strategy._metapaths import Views, contrast, others, prototypes

GROWTH = 3
A_CLUSTER, MOST = 40, 300
STEPS = 50


@part(
    paper="Yu, Ge, Li, Zhou: Heterogeneous Graph Contrastive Learning With Meta-Path Contexts and Adaptively Weighted "
    "Negative Samples, IEEE TKDE 2024",
    place="pairs",
    system="meow",
    traits=("edges",),
    needs=("torch", "sklearn"),
)
class Meow(nn.Module):
    """A node as its meta-paths reach others against the same with what lies between; clusters weigh the negatives.

    Rows are nodes, and `edges` typed links between them. A meta-path is a relation and one of its ends: it joins nodes
    that stand there in links with one third node (papers by an author, kinds of one thing). With h the towers' vectors,
    N_p(i) node i and at most `neighbours` that path p joins to it, M_p(j) the third nodes of j, and one learnt matrix
    W_p a path::

        coarse:  c_i = mean_p mean_{j in N_p(i)} h_j
        fine:    f_i = sum_p b_p unit( mean_{j in N_p(i)} elu( h_j + W_p mean_{m in M_p(j)} h_m ) ),
                 b = softmax_p( mean_i a . tanh(V unit(...) + d) )
        u = unit(tanh(P c + r)),  v = unit(tanh(P f + r))

    Several k-means clusterings of all v, made anew now and then, say which negatives are likely false::

        w_ij = share of the clusterings in which i and j are apart
        loss = mean_i objective(u_i; its own v_i; the others' v_j with weight w_ij)
             + prototypes * mean_i mean_m -log( e^(u_i.c_own / s_own) / sum_c e^(u_i.c / s_c) )

    with c the unit means of a clustering's members and s their spreads: mean distance / log(size + 5), the largest for
    a cluster of one, cut at the 10th and 90th percentile and scaled to the mean `temperature`. Labels are not used:
    only a node's own other view is positive.

    What was taken: weights, prototypes, attention and the choice of neighbours by PathSim are those of the authors'
    code, which divides by the negatives alone: `objective=dcl` is that, and then the scale of w does not matter. That
    sums over whole graphs with two layers normalised by degree and adds masked copies of every path; here batches take
    means over one layer, so that graphs of any size do, and augmentations of words, where the recipe has them, alter
    the texts. It measures the spread by inner products where distances are meant. What is searched by afterwards is the
    text's own vector h, so that a new text needs no links; `fine(h)` gives the vectors that the paper evaluates.

    Raises PartError without links, or where no two nodes share a third one.

    Args:
        paths: at most so many, those that reach the most nodes.
        neighbours: of a node, on each path.
        clusterings: how many, each of three times as many clusters as the one before; 0: plain weights, no prototypes.
        clusters: of the first, at most half the nodes; 0: one for 40 nodes, at most 300.
        prototypes: the weight of their term. temperature: of their term alone.
        refresh: steps between two clusterings of all rows; 0: an epoch, at least 50.

    When to use: nodes with a text and typed links, few or no labels, when linked nodes are alike. The views with links
    gain; a search by text alone may lose, and with labels on most nodes `two-tower` learns more from these. The third
    nodes must be items too.

    Relations: `adameow` learns the weights; `lemon` learns the links themselves; `interclr` draws positives from
    clusters, without a graph.
    """

    def __init__(
        self,
        *,
        paths: Annotated[int, Field(ge=1, le=64)] = 4,
        neighbours: Annotated[int, Field(ge=1, le=64)] = 10,
        clusterings: Annotated[int, Field(ge=0, le=8)] = 2,
        clusters: Annotated[int, Field(ge=0, le=100_000)] = 0,
        prototypes: Annotated[float, Field(ge=0, le=100)] = 1.0,
        temperature: Annotated[float, Field(gt=0, le=100)] = 0.4,
        refresh: Annotated[int, Field(ge=0, le=1_000_000)] = 0,
    ) -> None:
        super().__init__()
        self.paths, self.neighbours, self.clusterings, self.clusters = paths, neighbours, clusterings, clusters
        self.prototypes, self.temperature, self.refresh = prototypes, temperature, refresh

    def begin(self, run: Any) -> None:
        """Find the meta-paths and cluster what the towers give before training."""
        self.views = Views(run, "meow", paths=self.paths, neighbours=self.neighbours)
        n = len(run.data)
        sizes = [(self.clusters or min(math.ceil(n / A_CLUSTER), MOST)) * GROWTH**m for m in range(self.clusterings)]
        self.sizes = [max(1, min(size, n // 2)) for size in sizes]
        for m, size in enumerate(self.sizes):
            self.register_buffer(f"labels_{m}", torch.zeros(n, dtype=torch.int64, device=run.device))
            self.register_buffer(f"means_{m}", torch.zeros(size, run.dim(), device=run.device))
            self.register_buffer(f"spread_{m}", torch.ones(size, device=run.device))
        self._cluster(run)

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]: of the two views, and of the prototypes."""
        rows = torch.from_numpy(batch).to(run.device)
        u, v = self.views.pair(run, rows)
        weight = self._weight(rows, run.gather(rows))
        losses = {"views": contrast(run, u, run.gather(v), others(run, batch), weight)}
        if self.sizes:
            terms = [self._prototypical(u, rows, m) for m in range(len(self.sizes))]
            losses["prototypes"] = torch.stack(terms).mean() * self.prototypes
        return losses

    def after(self, run: Any) -> None:
        """Cluster anew when it is time."""
        if (run.step + 1) % (self.refresh or max(STEPS, run.steps // run.recipe.epochs)) == 0:
            self._cluster(run)

    def fine(self, h: Tensor) -> Tensor:
        """[n, d] fine views of all training rows from their vectors [n, d] by the document tower."""
        return self.views.all(h)

    def weights(self, h: Tensor) -> Tensor:
        """[n, n] weights of all training rows as negatives of each other."""
        rows = torch.arange(len(h), device=self.views.near.device)
        weight = self._weight(rows, rows)
        return torch.ones(len(h), len(h), device=h.device) if weight is None else weight.to(h.device)

    def _weight(self, rows: Tensor, columns: Tensor) -> Tensor | None:
        """[n, m] share of the clusterings in which two training rows are apart; None without clusterings."""
        labels = [getattr(self, f"labels_{m}") for m in range(len(self.sizes))]
        apart = [(label[rows, None] != label[columns]).float() for label in labels]
        return torch.stack(apart).mean(0) if apart else None

    def _prototypical(self, u: Tensor, rows: Tensor, m: int) -> Tensor:
        label = getattr(self, f"labels_{m}")[rows]
        scores = u @ getattr(self, f"means_{m}").T / getattr(self, f"spread_{m}")
        return nn.functional.cross_entropy(scores, label)

    @torch.no_grad()
    def _cluster(self, run: Any) -> None:
        if not self.sizes:
            return
        v = self.views.projected(self.views.all(run.encode_all("document").to(run.device)))
        for m, size in enumerate(self.sizes):
            for name, x in prototypes(v, size, run.seed + m, self.temperature).items():
                getattr(self, f"{name}_{m}").copy_(x)
