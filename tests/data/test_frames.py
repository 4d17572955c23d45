"""Frames of an item: from a list, a folder or an animation to a sheet, boxes and the mean of their vectors."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

import tellapart.data.sources as sources
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.data.frames import MOST, SIDE, evenly, framed
from tellapart.data.images import open_image
from tellapart.engine.compatible import check_together
from tellapart.engine.embed import embed
from tellapart.recipe import Recipe

COLOURS = [(220, 30, 30), (30, 200, 40), (40, 60, 210), (230, 210, 40)]


class Colour:
    """The mean colour of a picture."""

    modality, dim, fingerprint = "image", 3, "colour"

    def encode(self, items, *, batch_size: int = 32) -> np.ndarray:
        return np.stack([np.asarray(x, np.float32).mean((0, 1)) for x in items])


def folder(tmp_path, rows: list[dict]):
    (tmp_path / "clip").mkdir()
    for i, colour in enumerate(COLOURS):
        Image.new("RGB", (20 + i, 10), colour).save(tmp_path / f"{i}.png")
        Image.new("RGB", (300, 600), colour).save(tmp_path / "clip" / f"{i}.png")
    first, *rest = (Image.new("RGB", (16, 12), c) for c in COLOURS[:3])
    first.save(tmp_path / "moving.gif", save_all=True, append_images=rest)
    first.save(tmp_path / "moving.webp", save_all=True, append_images=rest, lossless=True)
    table = tmp_path / "items.jsonl"
    table.write_text("\n".join(json.dumps(row) for row in rows))
    return table


def test_list_folder_and_animation(tmp_path) -> None:
    rows = [
        {"frames": ["0.png", "1.png"], "text": "two"},
        {"frames": "clip", "text": "four"},
        {"frames": "moving.gif", "text": "three"},
        {"frames": "moving.webp", "text": "three again"},
        {"frames": "3.png", "text": "a still"},
        {"frames": ["../0.png"], "text": "out"},
        {"frames": [], "text": "none"},
        {"frames": ["nowhere.png"], "text": "missing"},
    ]
    made = sources.read(folder(tmp_path, rows))
    assert framed(made) and made.values("frames") == [2, 4, 3, 3, 1]
    assert made.ids.tolist()[1:] == ["clip", "moving.gif", "moving.webp", "3.png"]
    reasons = " ".join(made.problems["reason"].to_pylist())
    assert len(made.problems) == 3 and "leads out" in reasons and "no frames" in reasons and "no file" in reasons
    shown = [[0, 1], [0, 1, 2, 3], [0, 1, 2], [0, 1, 2], [3]]
    for image, regions, wanted in zip(made.values("image"), made.values("regions"), shown, strict=True):
        sheet = open_image(image)
        for box, colour in zip(regions, wanted, strict=True):
            x, y, w, h = (int(box[side]) for side in ("x", "y", "width", "height"))
            seen = np.asarray(sheet.crop((x, y, x + w, y + h)), float).mean((0, 1))
            assert np.abs(seen - COLOURS[colour]).max() < 25 and max(w, h) <= SIDE
    x = embed(made, "image", Colour(), cache=tmp_path / "cache")
    expected = [np.mean([COLOURS[c] for c in wanted], 0) for wanted in shown]
    assert np.abs(x - expected).max() < 25
    kept = Collection.open(made.save(tmp_path / "kept"))
    assert framed(kept) and framed(kept.take([1, 2]))
    assert np.array_equal(embed(kept.take([1, 2]), "image", Colour(), cache=tmp_path / "cache"), x[1:3])
    with pytest.raises(PartError, match="several frames each"):
        check_together(made, Recipe(tune="lora"))


def test_evenly_chosen_by_a_loop() -> None:
    for count in (1, 2, 11, 12, 13, 25, 1000):
        taken = min(count, MOST)
        assert evenly(count) == [int((i + 0.5) * count / taken) for i in range(taken)]
        assert len(set(evenly(count))) == taken


def test_a_number_of_frames_is_no_input_and_two_kinds_are_refused(tmp_path) -> None:
    rows = [{"image": f"{i}.png", "text": f"item {i}", "frames": i} for i in range(4)]
    made = sources.read(folder(tmp_path, rows))
    assert not framed(made) and made.values("frames") == [0, 1, 2, 3]
    (tmp_path / "items.jsonl").write_text(json.dumps({"frames": ["0.png"], "text": "a", "regions": [[0, 0, 2, 2]]}))
    with pytest.raises(DataError, match="one picture with regions, or several frames"):
        sources.read(tmp_path / "items.jsonl")
