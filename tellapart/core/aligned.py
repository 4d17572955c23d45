"""Whether one picture is a copy of another: made smaller, cut at its edges, compressed, or given other colours.

Two small pictures are laid over each other so that their outlines agree best: outlines survive other colours and
compression, and where to lay them undoes a cut.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from tellapart.core.errors import DataError

SIDE, COARSE, FINE, BLOCKS = 64, 24, 48, 6
CUTS = (0.0, 0.04, 0.08, 0.12)
STEP, LEAST_STEP, LEAST_STRETCH = 0.02, 0.004, 0.6
WHOLE = (0.0, 1.0, 0.0, 1.0)

Box = tuple[float, float, float, float]


def outlines(pixels: np.ndarray) -> np.ndarray:
    """[n, 64, 64] float32 lengths of the colour gradients of [n, 64, 64, 3] uint8 pictures.

    Raises:
        DataError: pixels of another shape or type.
    """
    pixels = np.asarray(pixels)
    if pixels.ndim != 4 or pixels.shape[1:] != (SIDE, SIDE, 3) or pixels.dtype != np.uint8:
        raise DataError(f"pixels are [n, {SIDE}, {SIDE}, 3] uint8, not {pixels.shape} {pixels.dtype}")
    return np.stack([_outline(p) for p in pixels]) if len(pixels) else np.zeros((0, SIDE, SIDE), np.float32)


def whole(outline: np.ndarray) -> np.ndarray:
    """[576] a picture's outline, small and brought to mean 0 and length 1, as `placed` compares it."""
    rows = _stretch(0.0, 1.0, COARSE)
    return _standard((rows @ outline @ rows.T).reshape(1, -1))[0]


def placed(wholes: np.ndarray, outline: np.ndarray) -> tuple[np.ndarray, list[Box]]:
    """How well each of [m, 576] pictures agrees with the best of 256 cuts of a picture, and with which cut.

    Returns:
        [m] correlations, and boxes (top, bottom, left, right) as shares of the picture's sides.
    """
    ends, rows = _cuts()
    across = np.einsum("smn,nk->smk", rows, outline)
    cuts = np.einsum("smk,tpk->stmp", across, rows, optimize=True).reshape(len(ends) ** 2, -1)
    agreed = wholes @ _standard(cuts).T
    best = agreed.argmax(axis=1)
    boxes = [(*ends[b // len(ends)], *ends[b % len(ends)]) for b in best.tolist()]
    return agreed.max(axis=1), boxes


def refined(one: np.ndarray, other: np.ndarray, box: Box) -> tuple[float, Box]:
    """The correlation of an outline with a cut of another, and the cut, moved edge by edge while they agree better."""
    fixed = _standard(_cut(one, WHOLE).reshape(1, -1))[0]

    def agreed(at: Box) -> float:
        return float(_standard(_cut(other, at).reshape(1, -1))[0] @ fixed)

    best, step = agreed(box), STEP
    while step > LEAST_STEP:
        moved = False
        for edge in range(4):
            for by in (-step, step):
                at = list(box)
                at[edge] = min(1.0, max(0.0, at[edge] + by))
                if at[1] - at[0] < LEAST_STRETCH or at[3] - at[2] < LEAST_STRETCH:
                    continue
                tried = (at[0], at[1], at[2], at[3])
                if (now := agreed(tried)) > best + 1e-5:
                    best, box, moved = now, tried, True
        step = step if moved else step / 2
    return best, box


def apart(one: np.ndarray, other: np.ndarray, box: Box) -> float:
    """How much a picture and the cut of another differ in the block of 36 where they do most: colours or outlines."""
    a, b = (_cut(p.astype(np.float32) / 255, at) for p, at in ((one, WHOLE), (other, box)))
    colours = _blocks(np.abs(a - b).mean(axis=-1)) / (FINE // BLOCKS) ** 2
    lines = [_outline(each) for each in (a, b)]
    most = max(float(_blocks(lines[0] + lines[1]).max()), 1e-6)
    return max(float(colours.max()), float(_blocks(np.abs(lines[0] - lines[1])).max()) / most)


def _outline(picture: np.ndarray) -> np.ndarray:
    p = picture.astype(np.float32) / (255 if picture.dtype == np.uint8 else 1)
    across, down = np.zeros_like(p), np.zeros_like(p)
    across[:, 1:-1], down[1:-1] = p[:, 2:] - p[:, :-2], p[2:] - p[:-2]
    return np.sqrt((across**2 + down**2).sum(axis=-1))


def _cut(picture: np.ndarray, box: Box) -> np.ndarray:
    """[48, 48] or [48, 48, 3] of what a box holds."""
    rows, columns = _stretch(box[0], box[1], FINE), _stretch(box[2], box[3], FINE)
    if picture.ndim == 2:
        return np.asarray(rows @ picture @ columns.T)
    return np.stack([rows @ picture[..., c] @ columns.T for c in range(picture.shape[-1])], axis=-1)


def _stretch(low: float, high: float, count: int) -> np.ndarray:
    """[count, 64] weights that average a stretch of a side into so many equal pieces."""
    ends = np.linspace(low * SIDE, high * SIDE, count + 1)[:, None]
    pixel = np.arange(SIDE)
    share = np.clip(np.minimum(ends[1:], pixel + 1) - np.maximum(ends[:-1], pixel), 0, None)
    return np.asarray(share / share.sum(axis=1, keepdims=True), np.float32)


@cache
def _cuts() -> tuple[list[tuple[float, float]], np.ndarray]:
    ends = [(low, 1 - high) for low in CUTS for high in CUTS]
    return ends, np.stack([_stretch(*each, COARSE) for each in ends])


def _standard(rows: np.ndarray) -> np.ndarray:
    """Rows of mean 0 and length 1; one that is the same all over stays 0."""
    rows = rows - rows.mean(axis=-1, keepdims=True)
    length = np.linalg.norm(rows, axis=-1, keepdims=True)
    return np.asarray(rows / np.where(length > 1e-6, length, 1.0))


def _blocks(values: np.ndarray) -> np.ndarray:
    size = FINE // BLOCKS
    return np.asarray(values.reshape(BLOCKS, size, BLOCKS, size).sum(axis=(1, 3)))
