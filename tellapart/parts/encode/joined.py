from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import PartError
from tellapart.core.parts import make_chain, part


@part(
    paper="(plain baseline: vectors side by side)",
    place="encode",
    traits=("frozen", "composite"),
)
class Joined:
    """Several frozen encoders of one modality, their vectors side by side.

    Each vector is divided by the square root of its width, so that an encoder with many numbers does not drown one
    with few once a head has standardised them. Encoders are named as in a recipe:
    `joined(parts='lite0|colour-histogram|hog')`.
    """

    def __init__(self, *, parts: Annotated[str, Field(min_length=1)] = "lite0|colour-histogram|hog") -> None:
        self.parts = parts

    @cached_property
    def _encoders(self) -> tuple[Any, ...]:
        made = make_chain("encode", self.parts)
        modalities = {getattr(encoder, "modality", "none") for encoder in made}
        if len(modalities) != 1 or "none" in modalities:
            raise PartError(
                f"joined needs frozen encoders of one modality, and {self.parts!r} has {sorted(modalities)}"
            )
        return made

    @property
    def modality(self) -> str:
        """`image` or `text`, that of all its encoders."""
        found: str = self._encoders[0].modality
        return found

    @property
    def dim(self) -> int:
        """Numbers in a vector."""
        return sum(encoder.dim for encoder in self._encoders)

    @property
    def fingerprint(self) -> str:
        """What the vectors depend on."""
        names = " ".join(encoder.fingerprint for encoder in self._encoders)
        return hashlib.sha256(f"joined 1 {names}".encode()).hexdigest()[:16]

    def encode(self, items: Sequence[Any], *, batch_size: int = 32) -> np.ndarray:
        """[n, dim] float32."""
        found = [encoder.encode(items, batch_size=batch_size) / np.sqrt(encoder.dim) for encoder in self._encoders]
        return np.concatenate(found, 1).astype(np.float32)
