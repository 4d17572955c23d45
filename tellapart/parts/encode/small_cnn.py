from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.errors import DataError, PartError
from tellapart.core.files import write_atomically
from tellapart.core.parts import part
from tellapart.parts.encode._torch import best_device, encode_batches, weights_digest

WEIGHTS = "model.safetensors"


@part(
    paper="He et al., Deep Residual Learning, CVPR 2016; Wu and He, Group Normalization, ECCV 2018",
    place="encode",
    traits=("frozen", "trainable"),
    needs=("torch",),
)
class SmallCnn:
    """A small residual network for pictures, trained from scratch.

    A 3 x 3 stem and three residual blocks, each of which halves the side and, but for the first, doubles the
    channels; GroupNorm instead of BatchNorm, because statistics over a batch tell an item of its partners; the
    average over the last map is the vector, of 4 * width numbers. For small pictures of few kinds (digits, icons),
    where an encoder trained on photographs knows nothing; for others `lite0` is better and cheaper.

    Args:
        width: channels of the stem.
        side: pictures are resized to side x side, whole and without regard to their shape.
        path: a folder that `save` wrote; "" encodes with untrained weights, always the same.
    """

    modality = "image"

    def __init__(
        self,
        *,
        width: Annotated[int, Field(ge=8, le=512, multiple_of=8)] = 32,
        side: Annotated[int, Field(ge=8, le=512)] = 32,
        path: str = "",
    ) -> None:
        self.width = width
        self.side = side
        self.path = path

    @property
    def dim(self) -> int:
        """4 * width."""
        return 4 * self.width

    @cached_property
    def fingerprint(self) -> str:
        """Hash of weights and preprocessing."""
        return weights_digest(self._trained, f"small-cnn {self.side} bilinear")

    def encode(self, items: Sequence[Any], *, batch_size: int = 64) -> np.ndarray:
        """[n, dim] float32 features of PIL images."""
        device, network = best_device(), self._trained
        network.to(device)
        return encode_batches(network, self.prepare, items, batch_size=batch_size, dim=self.dim, device=device)

    def pixels(self, image: Any) -> np.ndarray:
        """[side, side, 3] uint8."""
        from PIL import Image

        if not isinstance(image, Image.Image):
            raise DataError(f"small-cnn takes PIL images, and got {type(image).__name__}; open files with open_image")
        return np.asarray(image.convert("RGB").resize((self.side, self.side), Image.Resampling.BILINEAR))

    def prepare(self, items: Sequence[Any]) -> tuple[Tensor]:
        """The input of `module()`: [n, 3, side, side] float32 in 0..1."""
        stacked = np.stack([self.pixels(item) for item in items])
        return (torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 255,)

    def module(self) -> nn.Module:
        """The network to be trained: new weights from torch's own generator, or those of `path`."""
        network = _Network(self.width)
        if self.path:
            network.load_state_dict(_read(Path(self.path), network))
        return network

    def save(self, folder: str | Path, state: Mapping[str, np.ndarray] | None = None) -> Path:
        """Write the weights into a folder; the state of a trained module takes their place."""
        from safetensors.numpy import save

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = state if state is not None else {k: v.cpu().numpy() for k, v in self._trained.state_dict().items()}
        write_atomically(folder / WEIGHTS, save({k: np.ascontiguousarray(v, np.float32) for k, v in tensors.items()}))
        return folder

    @cached_property
    def _trained(self) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return self.module().eval()


class _Network(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        widths = (width, width, 2 * width, 4 * width)
        self.blocks = nn.ModuleList(_Block(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(2 * x - 1)
        for block in self.blocks:
            x = block(x)
        return x.mean((2, 3))


class _Block(nn.Module):
    def __init__(self, inside: int, outside: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, stride=2, padding=1, bias=False)
        self.second = nn.Conv2d(outside, outside, 3, padding=1, bias=False)
        self.skip = nn.Conv2d(inside, outside, 1, stride=2)
        self.norms = nn.ModuleList(nn.GroupNorm(8, outside) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        inner = torch.relu(self.norms[0](self.first(x)))
        return torch.relu(self.norms[1](self.second(inner)) + self.skip(x))


def _read(folder: Path, network: nn.Module) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        state = load_file(folder.expanduser() / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise PartError(f"small-cnn: no weights can be read from {folder}: {error}") from None
    shapes = {k: v.shape for k, v in network.state_dict().items()}
    if {k: v.shape for k, v in state.items()} != shapes:
        raise PartError(f"small-cnn: the weights in {folder} are those of another network; give its width")
    return state
