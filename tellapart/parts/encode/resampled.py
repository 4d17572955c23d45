"""Pictures rendered anew from a function of continuous places, before another encoder sees them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import make, part
from tellapart.parts.encode._resampler_torch import Resampler, fitted, opened, untrained, write
from tellapart.parts.encode._torch import best_device, encode_batches, weights_digest

INNER, BATCH = "encoder", 16


@part(
    paper="Cao et al., IRAD: Implicit Representation-driven Image Resampling against Adversarial Attacks, ICLR 2024",
    place="encode",
    system="irad",
    traits=("frozen", "composite"),
    needs=("torch",),
    aliases=("irad",),
)
class Resampled:
    """Another encoder behind a step that renders each picture anew, learnt to undo what was done to mislead it.

    Formula, for a picture I (3 colours in 0..1, as the encoder takes it), features E(I) of two convolutions, a pixel q
    and a place p between pixels, in pixels::

        c_q(p) = I_q + MLP(E around q (3 x 3), p - q)                  the colour at p as seen from q
        I(p)   = sum over the four pixels q around p of (1 - |p_y - q_y|) (1 - |p_x - q_x|) c_q(p)
        s(q)   = reach tanh(SampleNet(E around q (3 x 3)))             the shift of a pixel, down and right
        vector = encoder(picture of I(q + s(q)) at every pixel q, kept in 0..1)

    `fit(pictures)` learns on pictures, three in four attacked: steps along the signs of the gradient, each number moved
    by at most `size`, so that their vector lies far from where it was. First E and the MLP, by the mean of |I(p) -
    clean picture at p|, p the pixels and, in every other picture, places drawn within `reach`, where the clean one is
    bilinear. Then, with these held, SampleNet: one less the cosine to the vector of the clean picture.

    Of the paper and its code: the local implicit picture, SampleNet on the same features, held, and the unchanged
    network behind. Changed: attacks and the loss of SampleNet are of the encoder's vectors, not of a classifier, so no
    labels are needed. I_q in c_q, the bound on shifts and places between pixels are added: not fitted, it leaves
    pictures as they are. The cell size, constant here, is left out; the networks are far smaller (theirs: 4 x 256).

    Use it where somebody who does not know of this step may have altered pictures against your encoder: of attacked
    digits 83% were right, none without it, 56% by random places; of clothes 60%, 21%, 53%. Read with care: JPEG or
    smoothing, chosen on validation, does as well; shifts add nothing to as many steps on the colours alone (`reach=0`),
    which may be better; who knows the step still misleads it about 85%. Not fitted, and without `path`, it is the
    encoder itself. `tellapart embed DATA --out z --encoder resampled --fit FOLDER` fits; then `path='FOLDER'` uses it.

    Args:
        encoder: of pictures in 0..1, with `prepare` and `module()` in torch: `small-cnn`, `lite0`. With `path`, the
            same spec, whose weights are then those kept there.
        path: a folder that `save` wrote; the options below are of `fit` and then not read.
        size: of the attacks to be undone, in 0..1. reach: pixels; 0 has no SampleNet, and the colours go on learning in
            its place. hidden: width of all layers. steps: of each of the two, of 16 pictures; 15 s each above `lite0`.

    Raises `DataError` for fewer than two pictures to fit on, `PartError` for an encoder of another kind.

    Relations: `eps-ad` finds altered items rather than mending them.
    """

    modality = "image"

    def __init__(
        self,
        *,
        encoder: Annotated[str, Field(min_length=1)] = "small-cnn",
        path: str = "",
        size: Annotated[float, Field(gt=0, le=1)] = 0.03,
        reach: Annotated[float, Field(ge=0, le=64)] = 1.0,
        hidden: Annotated[int, Field(ge=1, le=1024)] = 32,
        steps: Annotated[int, Field(ge=0, le=1_000_000)] = 300,
    ) -> None:
        self.encoder, self.path, self.size = encoder, path, size
        self.reach, self.hidden, self.steps = reach, hidden, steps

    def fit(self, items: Sequence[Any], *, seed: int = 0) -> Resampled:
        """Learn both networks from clean pictures, against attacks on this encoder; labels are not needed."""
        if len(items) < 2:
            raise DataError(f"resampled is fitted on two pictures or more, and there are {len(items)}: give others")
        batches, device = self._batches(items, np.random.default_rng(seed)), best_device()
        with torch.device(device):
            network = self._network.to(device)
            made = untrained(self.hidden, self.reach, seed=seed)
            self.resampler_ = fitted(made, (x.to(device) for x in batches), network, self.size, self.steps, seed=seed)
        return self

    @property
    def dim(self) -> int:
        """That of the encoder."""
        return int(self._inner.dim)

    @property
    def fingerprint(self) -> str:
        """Hash of what was learnt and of the encoder."""
        return weights_digest(self._resampler, "resampled 1", self._inner.fingerprint)

    def encode(self, items: Sequence[Any], *, batch_size: int = 64) -> np.ndarray:
        """[n, dim] float32 of PIL images, by the encoder, of the pictures rendered anew."""
        call = self.module().to(device := best_device())
        return encode_batches(call, self.prepare, items, batch_size=batch_size, dim=self.dim, device=device)

    def prepare(self, items: Sequence[Any]) -> tuple[Tensor]:
        """What `module()` takes: [n, 3, h, w] in 0..1, as the encoder wants them."""
        x, *more = self._inner.prepare(items)
        if more or x.ndim != 4 or not 0 <= x.min() <= x.max() <= 1:
            raise PartError(f"resampled takes encoders of pictures in 0..1, and those of {self.encoder} are not")
        return (x,)

    def module(self) -> torch.nn.Sequential:
        """Resampler and encoder as one torch module, through which gradients go: what an attacker may know."""
        return torch.nn.Sequential(self._resampler, self._network).eval()

    def save(self, folder: str | Path) -> Path:
        """Write what was learnt into a folder, and the encoder's weights beside it where it can save them."""
        if hasattr(self._inner, "save"):
            self._inner.save(Path(folder, INNER))
        return write(self._resampler, Path(folder))

    @cached_property
    def _inner(self) -> Any:
        own = Path(self.path).expanduser() / INNER
        made = make("encode", self.encoder, **({"path": str(own)} if self.path and own.is_dir() else {}))
        if getattr(made, "modality", "") != "image" or not (hasattr(made, "module") and hasattr(made, "prepare")):
            raise PartError(f"resampled stands before an image encoder that runs on torch, and {self.encoder} is none")
        return made

    @cached_property
    def _network(self) -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self._inner.module().eval().requires_grad_(False)

    @property
    def _resampler(self) -> Resampler:
        if not hasattr(self, "resampler_"):
            self.resampler_ = opened(Path(self.path)) if self.path else untrained(self.hidden, self.reach, seed=0)
        return self.resampler_

    def _batches(self, items: Sequence[Any], rng: np.random.Generator) -> Iterator[Tensor]:
        while True:
            yield self.prepare([items[int(row)] for row in rng.integers(len(items), size=BATCH)])[0]
