"""Fitting what renders pictures anew, on a folder of pictures, and using it from there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tellapart import cli
from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import make
from tellapart.engine.model import Model

SPEC = "resampled(encoder='small-cnn(width=8, side=8)', hidden=4, steps=3)"


def pictures(n: int = 6) -> list[Image.Image]:
    rng = np.random.default_rng(2)
    return [Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)) for _ in range(n)]


def call(*arguments: object, ok: bool = True):
    words = [str(a) for a in arguments]
    done = CliRunner().invoke(cli.app(words), words)
    assert (done.exit_code == 0) == ok, done.output
    return done


def test_not_fitted_it_is_the_encoder_and_fitting_repeats(tmp_path):
    plain = make("encode", "small-cnn(width=8, side=8)")
    np.testing.assert_allclose(make("encode", SPEC).encode(pictures()), plain.encode(pictures()), atol=1e-6)
    first, again = (make("encode", SPEC).fit(pictures(), seed=4) for _ in range(2))
    assert first.fingerprint == again.fingerprint != make("encode", SPEC).fingerprint
    assert first.fingerprint != make("encode", SPEC).fit(pictures(), seed=5).fingerprint
    with pytest.raises(DataError, match="two pictures or more"):
        make("encode", SPEC).fit(pictures(1))


def test_what_was_kept_holds_the_encoder_and_says_how_it_was_fitted(tmp_path):
    inner = make("encode", "small-cnn(width=8, side=8)")
    state = {k: v.numpy() + 0.1 for k, v in inner.module().state_dict().items()}
    tuned = f"resampled(encoder='small-cnn(width=8, side=8, path={str(inner.save(tmp_path / 'a', state))!r})', "
    part = make("encode", tuned.replace("'small-cnn", '"small-cnn').replace(")', ", ')", ') + "reach=2.0, steps=2)")
    part.fit(pictures()).save(tmp_path / "b")
    (tmp_path / "a" / "model.safetensors").unlink()
    found = make("encode", SPEC, path=str(tmp_path / "b"))
    assert found.fingerprint == part.fingerprint and float(found.module()[0].reach) == 2.0
    np.testing.assert_allclose(found.encode(pictures()), part.encode(pictures()), atol=1e-6)


def test_other_encoders_and_folders_are_refused(tmp_path):
    for encoder in ("minilm", "hog"):
        with pytest.raises(PartError, match="image encoder that runs on torch"):
            make("encode", f"resampled(encoder={encoder!r})").encode(pictures())
    with pytest.raises(PartError, match="nothing that `save` wrote"):
        make("encode", SPEC, path=str(tmp_path)).encode(pictures())


def test_from_a_folder_to_a_run_with_what_was_fitted(tmp_path, monkeypatch):
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "data"
    for i, picture in enumerate(pictures(40)):
        (data / f"kind {i % 2}").mkdir(parents=True, exist_ok=True)
        picture.save(data / f"kind {i % 2}" / f"{i}.png")
    fitted = tmp_path / "fitted"
    call("embed", data, "--out", tmp_path / "z", "--encoder", SPEC, "--fit", fitted)
    part = make("encode", SPEC, path=str(fitted))
    z = np.load(tmp_path / "z" / "vectors.npy")
    assert z.shape == (40, part.dim)
    spec = SPEC[:-1] + f", path={str(fitted)!r})"
    call("run", data, "--out", tmp_path / "run", "--set", f"image={spec}", "--set", "epochs=1")
    kept = Model.load(tmp_path / "run" / "model").encoders["image"]
    assert Path(kept.path).is_relative_to(tmp_path / "run") and kept.fingerprint == part.fingerprint
    said = call("embed", data, "--out", tmp_path / "y", "--encoder", "hog", "--fit", fitted, ok=False)
    assert "hog is not fitted on items" in said.output + said.stderr
