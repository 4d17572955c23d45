"""From recordings of two sensors to a run, a search by a window, a classifier, a comparison."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.apply import classify
from tellapart.core.errors import DataError, PartError
from tellapart.recipe import Recipe
from tellapart.run import prepare, run
from tellapart.runs import evaluate
from tellapart.server.service import Service

SMALL = Recipe(
    series="rocket(kernels=60)", objective="har-hcl", head="linear-head(dim=16)", epochs=30, batch_size=32, tune="head"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """90 windows: one hidden speed is seen by a sensor of two channels and by one of three, and is the label."""
    made = tmp_path_factory.mktemp("sensors")
    rng = np.random.default_rng(0)
    lines = ["id,series,other_series,label"]
    for i in range(90):
        speed, time = 0.15 * 2 ** (i % 9 / 3), np.arange(60)
        for name, channels in (("a", 2), ("b", 3)):
            phase = rng.uniform(0, 6, (channels, 1))
            np.save(made / f"{name}{i}.npy", np.sin(time * speed + phase) + 0.2 * rng.normal(size=(channels, 60)))
        lines.append(f"n{i},a{i}.npy,b{i}.npy,{'slow' if i % 9 < 4 else 'fast'}")
    (made / "metadata.csv").write_text("\n".join(lines))
    return made


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TELLAPART_CACHE", str(out / "cache"))
        report = run(folder, out=out / "run", recipe=SMALL, cache=out / "cache")
    return out / "run", report


def test_windows_of_one_speed_are_found_by_the_other_sensor(made, folder):
    out, report = made
    assert report.facts["chosen"] == "this recipe"
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "data:image/webp;base64" in page, "held-out windows are drawn"
    service = Service(out)
    assert service.asking.reads == ("series",)
    found = service.search(image=(folder / "a8.npy").read_bytes(), k=10)
    speeds = [int(r.id[1:]) % 9 for r in [*found.results, *found.closest]]
    assert np.mean([abs(s - 8) <= 1 for s in speeds]) > 0.6
    item = service.item("n3")
    assert item.modality == "series" and item.picture and item.columns["label"] == "slow"
    assert service.picture("n3", 96)[:4] == b"RIFF"
    with pytest.raises(DataError, match="does not read words; search with a window of a recording"):
        service.search("walking")
    with pytest.raises(DataError, match="window you gave cannot be used"):
        service.search(image=(folder / "a8.npy").read_bytes()[:100])


def test_classes_and_figures_of_such_a_run(made, monkeypatch):
    out, _ = made
    monkeypatch.setenv("TELLAPART_CACHE", str(out.parent / "cache"))
    assert next(b for b in classify(out, by="label").blocks).value > 0.7
    assert any(getattr(b, "name", "") == "R@10" for b in evaluate(out).blocks)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tune": "none"}, "two sensors"),
        ({"tune": "full"}, "rocket cannot be tuned"),
        ({"series": "minilm"}, "encodes text items, and column series is series"),
        ({"augment": "flip-crop"}, "alters images"),
        ({"strategy": "villa"}, "regions of pictures"),
    ],
)
def test_what_does_not_go_with_recordings_is_said_before_training(folder, tmp_path, change, message):
    from tellapart.engine.prepare import features

    collection = prepare(folder, seed=0, cache=tmp_path)
    with pytest.raises(PartError, match=message):
        features(collection, Recipe(**(SMALL.model_dump() | change)), cache=tmp_path)
