"""Scenes of known truth, what is wrong about them, and figures of towers that know."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

pytest.importorskip("torch")

from tellapart.core.errors import DataError
from tellapart.protocol import relations
from tellapart.protocol.relations import Scenes

TEXTS = ["a red disc left of a blue cross", "a blue cross left of a red disc", "a green ring left of a pink frame"]


@dataclass
class Known:
    """Towers that give what they are given, in unit length."""

    def encode(self, side: str, x: np.ndarray) -> np.ndarray:
        z = x / np.linalg.norm(x, axis=1, keepdims=True)
        return np.pad(z, ((0, 0), (0, 1)), constant_values=1e-3 * (side == "query"))


def test_figures_are_of_the_order_of_words(monkeypatch: pytest.MonkeyPatch) -> None:
    words = sorted({word for text in TEXTS for word in text.split()})

    def placed(texts: list[str]) -> np.ndarray:
        z = np.zeros((len(texts), 8, len(words)))
        for row, text in enumerate(texts):
            for at, word in enumerate(text.split()):
                z[row, at, words.index(word)] = 1
        return z.reshape(len(texts), -1)

    monkeypatch.setattr(relations, "encoded", placed)
    held = Scenes(
        TEXTS, placed(TEXTS), np.array([0, 0, 1]), [[TEXTS[1]], [TEXTS[0]], ["a pink ring left of a green frame"]]
    )
    found = relations.figures(Known(), held, np.arange(3))  # type: ignore[arg-type]
    assert found == {"exchanged": 1.0, "shuffled": 1.0, "R@1": 1.0}
    monkeypatch.setattr(relations, "encoded", lambda texts: placed(texts).reshape(len(texts), 8, -1).sum(1))
    held = Scenes(TEXTS, relations.encoded(TEXTS), held.scene, held.wrong)
    found = relations.figures(Known(), held, np.arange(3))  # type: ignore[arg-type]
    assert found["exchanged"] == found["shuffled"] == 0.0


def test_scenes_stay_whole() -> None:
    scene = np.arange(60) // 3
    parts = relations.parted(scene, 1)
    assert sorted(np.concatenate(parts).tolist()) == list(range(60))
    assert all(not set(scene[a]) & set(scene[b]) for a, b in ((parts[0], parts[1]), (parts[1], parts[2])))
    with pytest.raises(DataError, match="drawings and shapes"):
        relations.scenes("emoji")
