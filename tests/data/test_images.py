from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from tellapart.core.errors import DataError
from tellapart.data.images import opacity, open_image, probe, thumbnail

from .conftest import bomb, encoded, noise


def pixel(image, x=0, y=0):
    return image.getpixel((x, y))


def test_plain_picture_keeps_its_pixels(tmp_path):
    image = noise(0)
    image.save(tmp_path / "a.png")
    assert open_image(tmp_path / "a.png").tobytes() == image.tobytes()
    assert open_image((tmp_path / "a.png").read_bytes()).tobytes() == image.tobytes()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty: the file has 0 bytes"),
        (b"this is a letter, not a picture", "not a picture"),
        (encoded(noise(1))[:200], "cut short"),
        (encoded(noise(1, 200, 200), "JPEG")[:1500], "cut short"),
        (bomb(), "refused before decoding"),
        (bomb(12_000, 12_000), "refused before decoding"),
        (bomb(0, 5), "damaged or cut short|without pixels|not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\nshowpage\n", "not a picture"),
    ],
    ids=["zero", "text", "png-cut", "jpeg-cut", "bomb", "large", "no-sides", "eps"],
)
def test_what_is_no_picture_is_refused_with_the_reason(data, words, tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(data)
    for source in (data, file):
        with pytest.raises(DataError, match=words):
            open_image(source)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        open_image(tmp_path / "none.png")
    with pytest.raises(DataError, match="not a file"):
        open_image(tmp_path)


def test_the_limit_of_pixels_is_an_option():
    data = encoded(noise(0, 40, 40))
    assert open_image(data, max_pixels=1600).size == (40, 40)
    with pytest.raises(DataError, match="40 x 40 pixels"):
        open_image(data, max_pixels=1599)


def test_cmyk_becomes_the_colours_it_stands_for():
    data = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95)
    red, green, blue = pixel(open_image(data))
    assert red > 200 and green < 60 and blue < 60


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_keep_their_middle(format):
    ramp = np.linspace(0, 65_535, 16).astype(np.uint16).reshape(1, 16).repeat(4, 0)
    image = open_image(encoded(Image.fromarray(ramp), format))
    expected = np.round(ramp[0] / 257)
    assert np.abs(np.asarray(image)[0, :, 0] - expected).max() <= 1


def test_floats_are_shares_or_spread():
    shares = Image.fromarray(np.asarray([[0.0, 0.5, 1.0]], np.float32))
    assert np.asarray(open_image(encoded(shares, "TIFF")))[0, :, 0].tolist() == [0, 128, 255]
    wide = Image.fromarray(np.asarray([[-10.0, 0.0, 10.0]], np.float32))
    assert np.asarray(open_image(encoded(wide, "TIFF")))[0, :, 0].tolist() == [0, 128, 255]


def test_what_is_transparent_lies_over_white():
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    half = Image.new("LA", (4, 4), (0, 128))
    assert pixel(open_image(encoded(clear))) == (255, 255, 255)
    assert abs(pixel(open_image(encoded(half)))[0] - 127) <= 1


def test_opacity_lies_as_the_picture_does():
    image = Image.new("RGBA", (6, 4), (255, 0, 0, 255))
    image.paste((0, 0, 0, 0), (0, 0, 2, 1))
    image.getexif()[274] = 6
    out = io.BytesIO()
    image.save(out, "PNG", exif=image.getexif())
    veil, shown = opacity(out.getvalue()), open_image(out.getvalue())
    assert veil.size == shown.size == (4, 6) and veil.mode == "L"
    assert veil.getpixel((3, 0)) == veil.getpixel((3, 1)) == 0 and np.asarray(veil).sum() == 22 * 255
    assert opacity(out.getvalue(), box=(2, 0, 2, 2)).size == (2, 2)
    assert opacity(encoded(Image.new("RGBA", (3, 3), (1, 2, 3, 255)))) is None
    assert opacity(encoded(noise(0))) is None


def test_a_palette_with_a_transparent_colour():
    image = Image.new("P", (4, 4), 0)
    image.putpalette([10, 20, 30, 200, 100, 50] + [0] * 762)
    image.putpixel((1, 0), 1)
    opened = open_image(encoded(image, "PNG", transparency=0))
    assert pixel(opened) == (255, 255, 255) and pixel(opened, 1, 0) == (200, 100, 50)
    many = open_image(encoded(image, "PNG", transparency=bytes([0, 255] + [255] * 254)))
    assert pixel(many) == (255, 255, 255) and pixel(many, 1, 0) == (200, 100, 50)


def test_an_animation_gives_its_first_frame():
    frames = [Image.new("RGB", (6, 6), c) for c in ((255, 0, 0), (0, 255, 0), (0, 0, 255))]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixel(open_image(data)) == (255, 0, 0)
    assert probe(data).frames == 3 and "first is taken" in probe(data).note


def test_exif_says_which_side_is_up():
    image = Image.new("RGB", (40, 20), (0, 0, 0))
    image.paste((255, 0, 0), (0, 0, 20, 20))
    exif = Image.Exif()
    exif[274] = 6
    opened = open_image(encoded(image, "JPEG", exif=exif, quality=95))
    assert opened.size == (20, 40)
    assert pixel(opened, 10, 5)[0] > 200 and pixel(opened, 10, 35)[0] < 60


def test_a_wrong_name_is_read_and_noted(tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(encoded(noise(0), "JPEG"))
    assert open_image(file).mode == "RGB"
    assert probe(file).note == "named as PNG, is JPEG"
    (tmp_path / "b.jpg").write_bytes(encoded(noise(0), "JPEG"))
    assert probe(tmp_path / "b.jpg").note == ""


def test_thumbnails_are_bounded_and_never_larger():
    for format in ("webp", "jpeg"):
        small = Image.open(io.BytesIO(thumbnail(encoded(noise(0, 300, 100), "JPEG"), size=64, format=format)))
        assert small.format == format.upper() and max(small.size) == 64 and small.size[1] in (21, 22)
    assert Image.open(io.BytesIO(thumbnail(encoded(noise(0, 20, 10)), size=64))).size == (20, 10)
    with pytest.raises(DataError, match="between 8 and 2048"):
        thumbnail(encoded(noise(0)), size=1_000_000)


def test_opening_from_many_threads_gives_the_same(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    data = [encoded(noise(i)) for i in range(20)]
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(open_image, data * 5))
    assert [o.tobytes() for o in opened[:20]] == [noise(i).tobytes() for i in range(20)]
