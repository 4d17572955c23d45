from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from tellapart.core.errors import PartError
from tellapart.core.maths import unit
from tellapart.core.needs import require
from tellapart.core.parts import part
from tellapart.parts.encode._torch import best_device, encode_batches, weights_digest


@part(
    paper="Radford et al., CLIP, ICML 2021; Ilharco et al., OpenCLIP, 2021 (the library open_clip)",
    place="encode",
    traits=("frozen", "remote"),
    needs=("torch", "open_clip"),
)
class OpenClipModel:
    """One tower of a CLIP model of the library open_clip; both towers of one model share a space.

    open_clip needs torchvision, which must fit the installed torch. Weights are fetched from the hub when first used.

    Args:
        name: the model as open_clip names it, such as `ViT-B-32`.
        pretrained: the name of its weights, such as `laion2b_s34b_b79k`; "" starts from random ones.
        modality: which tower.
    """

    def __init__(
        self,
        *,
        name: str,
        pretrained: str = "",
        modality: Literal["image", "text"] = "image",
    ) -> None:
        self.name = name
        self.pretrained = pretrained
        self.modality = modality

    @property
    def dim(self) -> int:
        """Width of the shared space."""
        return int(require("open_clip", "open-clip-model").get_model_config(self.name)["embed_dim"])

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights, preprocessing and tower."""
        model, transform = self._loaded
        steps = re.sub(r" at 0x[0-9a-f]+", "", repr(transform))
        return weights_digest(model, "open-clip-model", self.name, self.modality, steps)

    def encode(self, items: Sequence[Any], *, batch_size: int = 64) -> np.ndarray:
        """[n, dim] float32 unit vectors of PIL images or texts, as `modality` says."""
        device = best_device()
        model = self._loaded[0].to(device)
        tower = model.encode_text if self.modality == "text" else model.encode_image
        return encode_batches(
            lambda x: unit(tower(x)), self.prepare, items, batch_size=batch_size, dim=self.dim, device=device
        )

    def prepare(self, items: Sequence[Any]) -> tuple[Tensor]:
        """Token numbers, or the pictures after the model's own preprocessing."""
        if self.modality == "text":
            return (require("open_clip", "open-clip-model").get_tokenizer(self.name)(list(items)),)
        return (torch.stack([self._loaded[1](item.convert("RGB")) for item in items]),)

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        library = require("open_clip", "open-clip-model")
        try:
            model, _, transform = library.create_model_and_transforms(self.name, pretrained=self.pretrained or None)
        except (RuntimeError, OSError, ValueError) as error:
            raise PartError(f"open-clip-model: {self.name} cannot be loaded: {str(error).splitlines()[0]}") from None
        return model.eval(), transform
