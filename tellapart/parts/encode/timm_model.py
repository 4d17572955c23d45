from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tellapart.core.errors import PartError
from tellapart.core.needs import require
from tellapart.core.parts import part
from tellapart.parts.encode._torch import best_device, encode_batches, weights_digest


@part(
    paper="Wightman, PyTorch Image Models, 2019 (the library timm)",
    place="encode",
    traits=("frozen", "trainable", "remote"),
    needs=("torch", "timm"),
)
class TimmModel:
    """Any image model of the library timm: pooled features, with the preprocessing that belongs to its weights.

    timm needs torchvision, which must fit the installed torch. Weights are fetched from the hub when first used.

    Args:
        name: the model as timm names it, such as `resnet50.a1_in1k`.
        pretrained: False starts from random weights.
    """

    modality = "image"

    def __init__(self, *, name: str, pretrained: bool = True) -> None:
        self.name = name
        self.pretrained = pretrained

    @property
    def dim(self) -> int:
        """Width of the pooled features."""
        return int(self._model.num_features)

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights and preprocessing."""
        return weights_digest(self._model, "timm-model", self.name, repr(sorted(self._config.items(), key=str)))

    def encode(self, items: Sequence[Any], *, batch_size: int = 64) -> np.ndarray:
        """[n, dim] float32 features of PIL images."""
        device = best_device()
        model = self._model.to(device)
        return encode_batches(model, self.prepare, items, batch_size=batch_size, dim=self.dim, device=device)

    def prepare(self, items: Sequence[Any]) -> tuple[Tensor]:
        """The input of `module()`: the pictures after the model's own preprocessing."""
        return (torch.stack([self._transform(item.convert("RGB")) for item in items]),)

    def module(self) -> nn.Module:
        """The model, to be trained."""
        return self._load()

    @cached_property
    def _model(self) -> Any:
        return self._load().eval()

    @cached_property
    def _config(self) -> dict[str, Any]:
        config: dict[str, Any] = require("timm", "timm-model").data.resolve_model_data_config(self._model)
        return config

    @cached_property
    def _transform(self) -> Any:
        return require("timm", "timm-model").data.create_transform(**self._config, is_training=False)

    def _load(self) -> Any:
        try:
            return require("timm", "timm-model").create_model(self.name, pretrained=self.pretrained, num_classes=0)
        except (RuntimeError, OSError, ValueError) as error:
            raise PartError(f"timm-model: {self.name} cannot be loaded: {str(error).splitlines()[0]}") from None
