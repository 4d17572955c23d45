"""The registry of corruptions: five severities that grow, pictures that keep size and mode, and what each one does."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tellapart.core.corruptions import REGISTRY, corruptions, families


def drawing(mode="RGB", size=(64, 48)):
    across = np.linspace(150, 255, size[0])[None, :, None] * np.ones((size[1], 1, 3))
    image = Image.fromarray(across.astype(np.uint8))
    ImageDraw.Draw(image).ellipse((8, 6, size[0] - 12, size[1] - 8), fill=(200, 60, 40), outline=(20, 20, 30), width=3)
    return image.convert(mode)


def off(kind, severity, image):
    """How far the damaged picture is from the one that was given, over a few draws."""
    made = [kind.at(image, severity, np.random.default_rng(seed)) for seed in range(4)]
    return np.mean([np.abs(np.asarray(m, float) - np.asarray(image, float)).mean() for m in made])


@pytest.mark.parametrize("kind", REGISTRY.values(), ids=lambda k: k.name)
def test_damage_grows_with_severity_and_keeps_size_and_mode(kind):
    for image in (drawing(), drawing("L"), drawing(size=(31, 17)), drawing(size=(60, 60)).resize((1, 1))):
        before = image.tobytes()
        made = kind.at(image, 3, np.random.default_rng(0))
        assert (made.size, made.mode, image.tobytes()) == (image.size, image.mode, before)
    assert off(kind, 1, drawing()) < off(kind, 3, drawing()) < off(kind, 5, drawing())
    same = [kind.at(drawing(), 4, np.random.default_rng(7)).tobytes() for _ in range(2)]
    assert same[0] == same[1]


def test_severities_between_two_are_between_them():
    dark = REGISTRY["dark"]
    x = np.asarray(dark.at(Image.new("RGB", (4, 4), (200, 200, 200)), 1.5, np.random.default_rng(0)))
    assert abs(x[0, 0, 0] - 200 * (dark.levels[0] + dark.levels[1]) / 2) <= 1


def test_a_severity_is_the_same_share_of_a_small_and_of_a_large_picture():
    for name in ("blur", "motion", "rescaled", "stain"):
        small, large = (off(REGISTRY[name], 4, drawing(size=(192, 192)).resize((s, s))) for s in (64, 192))
        assert 0.5 < small / large < 2, name


def test_motion_is_the_mean_along_a_line_and_blots_have_their_share():
    spot = np.zeros((41, 41, 3), np.uint8)
    spot[20, 20] = 255
    moved = np.asarray(REGISTRY["motion"].at(Image.fromarray(spot), 5, np.random.default_rng(3)), float)[..., 0]
    down, across = np.nonzero(moved)
    assert len(down) > 8 and abs(np.hypot(np.ptp(down), np.ptp(across)) - 0.28 * 41) < 2
    assert np.linalg.matrix_rank(np.c_[down - 20, across - 20].astype(float), tol=4) == 1
    white = Image.new("RGB", (80, 80), "white")
    stained = [np.asarray(REGISTRY["stain"].at(white, 5, np.random.default_rng(s)))[..., 2] < 170 for s in range(30)]
    assert 0.15 < np.mean(stained) < 0.45


def test_they_are_chosen_by_source_name_and_family():
    assert {c.name for c in corruptions("web")} == {"jpeg", "palette", "rescaled", "watermark"}
    assert {c.name for c in corruptions("web", "dirt|jpeg")} == {"palette", "rescaled"}
    assert families() == ["digital", "blur", "noise", "colour", "dirt"]
    assert len(corruptions()) == len(REGISTRY) == 14
