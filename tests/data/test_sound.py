"""Sound files as windows: what is decoded, resampled and refused, and how words find it."""

from __future__ import annotations

import io

import numpy as np
import pytest

from tellapart.core.errors import DataError, MissingExtraError
from tellapart.core.parts import make
from tellapart.data import read, sound
from tellapart.data.series import open_series, thumbnail
from tellapart.data.sound import RATE, open_sound, resampled

soundfile = pytest.importorskip("soundfile", reason="the extra sound is not installed")


def tone(pitch: float, *, rate: int = RATE, seconds: float = 0.3) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * pitch * np.arange(int(rate * seconds)) / rate)


def written(x: np.ndarray, kind: str = "WAV", rate: int = RATE) -> bytes:
    sink = io.BytesIO()
    soundfile.write(sink, x, rate, format=kind)
    return sink.getvalue()


@pytest.mark.parametrize(("kind", "close"), [("WAV", 1e-4), ("FLAC", 1e-4), ("OGG", 0.1)])
def test_every_format_gives_its_samples(tmp_path, kind, close):
    x = tone(440)
    (tmp_path / "a").write_bytes(written(x, kind))
    for source in (written(x, kind), tmp_path / "a", str(tmp_path / "a")):
        found = open_series(source)
        assert found.dtype == np.float32 and found.shape == (1, len(x))
        assert np.abs(found[0] - x)[500:-500].max() < close


def test_another_rate_keeps_the_pitch_and_channels_become_one():
    both = np.stack([tone(440, rate=44_100), np.zeros(13_230)], 1)
    found = open_sound(written(both, rate=44_100))
    assert found.shape == (1, 4800)
    np.testing.assert_allclose(found[0, 200:-200], tone(440)[200:-200] / 2, atol=5e-3)
    up = resampled(tone(440, rate=8000), 8000)
    np.testing.assert_allclose(up[200:-200], tone(440)[200:-200], atol=2e-2)
    too_high = resampled(tone(12_000, rate=44_100), 44_100)
    assert np.abs(too_high).max() < 0.02, "what the new rate cannot hold is no other tone"


def test_what_is_no_sound_is_refused_before_it_is_decoded(monkeypatch):
    whole = written(tone(440), "OGG")
    monkeypatch.setattr(sound, "SOUND_SECONDS", 1)
    for given, said in (
        (written(tone(440, seconds=1.5)), "at most 1 seconds"),
        (written(tone(440, rate=900, seconds=0.2), rate=900), "900 samples a second"),
        (written(np.zeros(0)), "without a sample"),
        (whole[:4] + b"\x00" * 400, "cannot be decoded"),
        (b"RIFF\x10\x00\x00\x00WAVEjunk", "cannot be decoded"),
        (b"words", "no sound"),
    ):
        with pytest.raises(DataError, match=said):
            open_series(given)
    monkeypatch.setattr(sound, "SERIES_BYTES", 10)
    with pytest.raises(DataError, match="too large"):
        open_sound(whole)


def test_without_the_library_the_line_that_installs_it_is_said(monkeypatch):
    monkeypatch.setattr("tellapart.core.needs.installed", lambda name: False)
    with pytest.raises(MissingExtraError, match=r"tellapart\[sound\]"):
        open_series(written(tone(440)))


def test_a_table_with_a_column_sound_is_read_and_bad_files_are_problems(tmp_path):
    rows = ["sound,text"]
    for row, pitch in enumerate((300, 500, 900, 1500)):
        (tmp_path / f"{row}.wav").write_bytes(written(tone(pitch)))
        rows.append(f"{row}.wav,a tone of {pitch}")
    (tmp_path / "bad.ogg").write_bytes(b"OggS no more")
    rows += ["bad.ogg,nothing", "gone.wav,nothing either", "../out.wav,outside"]
    (tmp_path / "metadata.csv").write_text("\n".join(rows))
    found = read(tmp_path)
    assert found.ids.tolist() == ["0.wav", "1.wav", "2.wav", "3.wav"] and len(found.problems) == 3
    sides = found.sides()
    assert (sides.query.modality, sides.document.column) == ("text", "series")
    reasons = " ".join(row["reason"] for row in found.problems.to_pylist())
    assert "cannot be decoded" in reasons
    assert thumbnail(tmp_path / "0.wav")[:4] == b"RIFF"


def test_tones_of_one_pitch_are_alike_in_log_mel():
    part = make("encode", "log-mel")
    given = [open_series(written(level * tone(pitch))) for pitch in (300, 2500) for level in (1, 0.7)]
    z = part.encode(given)
    gaps = np.linalg.norm(z[:, None] - z, axis=2)
    assert gaps[0, 1] < gaps[0, 2] / 2 and gaps[2, 3] < gaps[2, 0] / 2
    loudest = part.encode_tokens(given[:1])[0].argmax(1)
    centre = 700 * np.expm1((1127 * np.log1p(125 / 700) + (loudest + 1) * 39.83) / 1127)
    assert np.abs(centre - 300).max() < 60
