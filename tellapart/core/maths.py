"""Mathematics that three or more parts share."""

from __future__ import annotations

import torch
from torch import Tensor


def weighted_logsumexp(logits: Tensor, weight: Tensor) -> Tensor:
    """log sum_j w_j exp(x_j) over the last axis; entries of weight zero do not count, and none at all gives -inf.

    Gradients stay finite in a row without weight (they are zero there).
    """
    keep = weight > 0
    shifted = torch.where(keep, logits + weight.clamp_min(torch.finfo(weight.dtype).tiny).log(), -torch.inf)
    top = shifted.amax(-1, keepdim=True).detach()
    top = torch.where(torch.isfinite(top), top, 0.0)
    total = torch.where(keep, (shifted - top).exp(), 0.0).sum(-1)
    some = total > 0
    return torch.where(some, torch.where(some, total, 1.0).log() + top.squeeze(-1), -torch.inf)


def positive_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean over the last axis where the weight is positive; a row without weight gives 0."""
    total = weight.sum(-1)
    return torch.where(weight > 0, values * weight, 0.0).sum(-1) / torch.where(total > 0, total, 1.0)


def unit(x: Tensor) -> Tensor:
    """Rows of length 1, computed in float32 or wider."""
    wide = x if x.dtype in (torch.float32, torch.float64) else x.float()
    return torch.nn.functional.normalize(wide, dim=-1)
