"""The interface of MTEB's models, both ways: models that follow it are run here, and a model of tellapart follows it.

MTEB calls `encode(inputs, *, task_metadata, hf_split, hf_subset, prompt_type, **kwargs)`, where `inputs` gives batches,
each a dict with the key `text` or `image` (version 2), or `encode(sentences, *, task_name, prompt_type, **kwargs)` with
a list of texts (version 1). The package mteb is not needed for either.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any, Literal

import numpy as np

from tellapart.core.errors import DataError
from tellapart.core.needs import require

BATCH = 32
Side = Literal["query", "document"]


class ForMteb:
    """A model of tellapart as MTEB calls one: `mteb.evaluate(ForMteb(Model.load(folder)), tasks)`.

    Args:
        model: with `encode_query` and `encode_document`.
        name: as a leaderboard shows it, such as "me/my-model"; version 2 of MTEB wants a slash in it.
    """

    def __init__(self, model: Any, name: str = "tellapart/model") -> None:
        self.model, self.name = model, name

    def encode(
        self, inputs: Iterable[Any], *, prompt_type: Any = None, batch_size: int = BATCH, **_: Any
    ) -> np.ndarray:
        """[n, dim] float32 unit vectors of texts or pictures, in the order in which they come.

        Args:
            inputs: texts or pictures, or batches of them: dicts whose `text` or `image` is a list.
            prompt_type: "query", "document" or "passage", or an enumeration's member of that value; without, items go
                through the side that holds their kind, that of documents where both do.
        """
        items: list[Any] = []
        for each in [inputs] if isinstance(inputs, str | bytes) else inputs:
            items.extend(_batch(each) if isinstance(each, dict) else [each])
        side = getattr(prompt_type, "value", prompt_type)
        if side not in (None, "query", "document", "passage"):
            raise DataError(f"prompt_type is query or document, not {side!r}")
        if not items:
            return np.zeros((0, self.model.dim), np.float32)
        if side is None:
            sides = self.model.sides
            kind = "text" if isinstance(items[0], str) else "image"
            side = "document" if sides.document.modality == kind else "query"
        encode = self.model.encode_query if side == "query" else self.model.encode_document
        return np.asarray(encode(items, batch_size=batch_size), np.float32)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> np.ndarray:
        """[n, m] dot products of unit vectors."""
        return np.atleast_2d(np.asarray(embeddings1)) @ np.atleast_2d(np.asarray(embeddings2)).T

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> np.ndarray:
        """[n] dot products of rows that stand beside each other."""
        found: np.ndarray = np.einsum("nd,nd->n", np.atleast_2d(embeddings1), np.atleast_2d(embeddings2))
        return found

    @property
    def mteb_model_meta(self) -> Any:
        """What the leaderboard of MTEB shows; needs the package."""
        made = require("mteb.models", "the card of a model for MTEB").ModelMeta
        return made.create_empty({"name": self.name, "revision": "1", "embed_dim": self.model.dim})


def encoded(model: Any, items: Sequence[Any], side: Side, *, task: str = "", kind: str = "") -> np.ndarray:
    """[n, d] float64 vectors by a model that follows MTEB's interface, or that of sentence-transformers.

    Raises:
        DataError: no `encode`, or not one finite vector for each item.
    """
    if not callable(getattr(model, "encode", None)):
        raise DataError("a model follows the interface of MTEB when it has encode(sentences); this one has none")
    items, asked = list(items), _asked(model.encode)
    role = getattr(model, f"encode_{side}", None)
    if callable(role):
        found = role(items)
    elif "task_metadata" in asked:
        name = "image" if items and not isinstance(items[0], str) else "text"
        batches = [{name: items[at : at + BATCH]} for at in range(0, len(items), BATCH)]
        given = {"task_metadata": SimpleNamespace(name=task, type=kind), "hf_split": "test", "hf_subset": "default"}
        found = model.encode(batches, **given, prompt_type=SimpleNamespace(value=side, name=side))
    else:
        found = model.encode(items, **{"prompt_type": side} if "prompt_type" in asked else {},
                             **{"task_name": task} if "task_name" in asked else {})  # fmt: skip
    try:
        z = np.asarray(found.detach().cpu().numpy() if hasattr(found, "detach") else found, np.float64)
    except (TypeError, ValueError):
        raise DataError("the model's encode gives no matrix of numbers") from None
    if z.ndim != 2 or len(z) != len(items) or not np.isfinite(z).all():
        raise DataError(f"the model gave {z.shape} for {len(items)} items: one finite vector an item is needed")
    return z


def _asked(function: Any) -> set[str]:
    try:
        return set(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return set()


def _batch(batch: dict[str, Any]) -> Sequence[Any]:
    held = next((batch[name] for name in ("text", "image") if name in batch), None)
    if held is None:
        raise DataError(f"a batch has the key text or image, and this one has {', '.join(batch)}")
    return [held] if isinstance(held, str) else list(held)
