"""Pieces done by workers on Ray give the same bits, survive a killed worker, and are not done twice."""

from __future__ import annotations

import io
import os
import pickle
import signal
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from typer.testing import CliRunner

from tellapart.cli import app
from tellapart.core import needs, pieces
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, MissingExtraError, TellapartError
from tellapart.core.parts import make
from tellapart.core.pieces import Job, Remade, Workers
from tellapart.data import identity, neighbours
from tellapart.data.identity import curate
from tellapart.engine import embed as embedding
from tellapart.engine import evaluate, on_ray
from tellapart.engine.embed import embed
from tellapart.engine.mine import mine
from tellapart.engine.on_ray import Ray

pytestmark = pytest.mark.processes


class Posted(Workers):
    """Workers as far away as Ray's, in this process: job and pieces reach them as bytes, tables come back as bytes."""

    def __init__(self) -> None:
        self.asked = 0

    def tables(self, job: Job, given: Iterable[Any], count: int) -> Iterator[pa.Table]:
        self.asked += count
        sent = pickle.dumps(job, protocol=5)
        for piece in given:
            yield pickle.loads(pickle.dumps(pickle.loads(sent)(pickle.loads(pickle.dumps(piece)))))


@pytest.fixture(scope="module")
def on_two() -> Iterator[Ray]:
    with Ray(workers=2) as ray:
        yield ray


def unit(n: int, seed: int) -> np.ndarray:
    z = np.random.default_rng(seed).normal(size=(n, 16)).astype(np.float32)
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def texts(n: int, alike: int = 1) -> Collection:
    words = [f"{'a long story about ' * (i % 5 + 1)}number {i // alike * alike}" for i in range(n)]
    return Collection.of({"text": words})


def done_in_pieces(on_two: Ray, mark: Path | None) -> list[dict[str, Any]]:
    """What came of eight pieces before the sixth was bad; where `mark` is to be, the second is killed once."""
    marked = None if mark is None else str(mark)

    def job(piece: int) -> pa.Table:
        if piece == 2 and marked is not None and not Path(marked).exists():
            Path(marked).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        if piece == 6:
            raise DataError("the sixth is bad")
        return pa.table({"n": [piece], "threads": [os.environ["OMP_NUM_THREADS"]], "by": [os.getpid()]})

    got = []
    with pytest.raises(DataError, match=r"^the sixth is bad$"):
        for table in on_two.tables(job, range(8), 8):
            got.append(table.to_pylist()[0])
    return got


def test_pieces_come_in_order_and_mistakes_in_words(on_two: Ray):
    assert {node["NodeManagerAddress"] for node in on_two.ray.nodes()} == {"127.0.0.1"}
    got = done_in_pieces(on_two, None)
    assert [row["n"] for row in got] == [0, 1, 2, 3, 4, 5]
    assert {row["threads"] for row in got} == {str(on_two.threads)}
    assert os.getpid() not in {row["by"] for row in got}


@pytest.mark.slow  # Ray takes long to see that a worker is gone
def test_pieces_come_in_order_though_a_worker_is_killed(on_two: Ray, tmp_path: Path):
    got = done_in_pieces(on_two, tmp_path / "killed")
    assert (tmp_path / "killed").exists() and [row["n"] for row in got] == [0, 1, 2, 3, 4, 5]


def test_an_embedding_that_was_stopped_goes_on_on_ray_and_ends_with_the_same_bits(on_two: Ray, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "ITEMS_A_BLOCK", 16)
    collection, encoder = texts(80), make("encode", "minilm(max_tokens=16)")
    alone = np.array(embed(collection, "text", encoder, cache=tmp_path / "alone"))
    cut = encoder.truncated_

    def stop(done: int, total: int) -> None:
        if done == 48:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), pieces.using(posted := Posted()):
        embed(collection, "text", encoder, cache=tmp_path / "far", progress=stop)
    assert posted.asked == 5 and len([*(tmp_path / "far").rglob("block-*.npy")]) == 3
    encoder.truncated_ = 0
    asked = []
    tables = on_two.tables
    monkeypatch.setattr(on_two, "tables", lambda job, given, count: asked.append(count) or tables(job, given, count))
    with pieces.using(on_two):
        far = embed(collection, "text", encoder, cache=tmp_path / "far")
    assert asked == [2] and np.array_equal(far, alone)
    assert 0 < encoder.truncated_ < cut


def options(n: int) -> dict[str, Any]:
    groups = np.where(np.arange(n) % 7 == 0, np.arange(n) // 14, -1)
    return {
        "query_ids": [f"q{i}" for i in range(n)],
        "document_ids": [f"d{i}" for i in range(n)],
        "query_groups": groups,
        "document_groups": groups,
        "positives": np.arange(n),
        "depth": 20,
        "keep": 5,
        "marks": [("q3", "d5", "same"), ("q4", "d6", "different")],
        "block": 40,
        "guide_q": unit(n, 5),
        "guide_k": unit(n, 6),
    }


def test_mining_on_ray_is_mining_here_and_finished_blocks_are_read(on_two: Ray, tmp_path: Path, monkeypatch):
    q, k = unit(150, 1), unit(150, 2)
    alone = mine(q, k, **options(150))
    with pieces.using(on_two):
        assert mine(q, k, **options(150), folder=tmp_path).equals(alone)
        monkeypatch.setattr(on_two, "tables", None)
        next(tmp_path.rglob("block-000002.arrow")).unlink()
        assert mine(q, k, **options(150), folder=tmp_path).equals(alone)


def test_mining_through_an_index_reaches_workers():
    q, k = unit(150, 1), unit(400, 2)
    known = options(150) | {"document_ids": [f"d{i}" for i in range(400)], "document_groups": np.full(400, -1)}
    known |= {"guide_q": None, "guide_k": None}
    for spec in ("ivf(cells=8, probe=3)", "hnsw"):
        index = make("index", spec)
        index.add(known["document_ids"], k)
        alone = mine(q, k, **known, index=index)
        with pieces.using(far := Posted()):
            assert mine(q, k, **known, index=index).equals(alone)
        assert far.asked == 4


def test_figures_on_ray_are_those_of_one_process(on_two: Ray):
    q, k = unit(90, 3), unit(120, 4)
    k[7] = k[8]
    given = {"block": 25, "ids": (np.arange(90), np.arange(120)), "own": "exclude"}
    relevant = [{(i * 3) % 120: 1.0, (i * 5 + 1) % 120: 2.0} for i in range(90)]
    alone = evaluate.retrieval(q, k, relevant, **given)
    told = []
    with pieces.using(on_two):
        far = evaluate.retrieval(q, k, relevant, **given, progress=lambda done, total: told.append((done, total)))
    assert told == [(25, 90), (50, 90), (75, 90), (90, 90)]
    assert alone.keys() == far.keys()
    assert all(np.array_equal(far[name], alone[name], equal_nan=True) for name in alone)


def test_stopped_figures_go_on_where_they_were(monkeypatch, tmp_path):
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path))
    q, k = unit(90, 3), unit(120, 4)
    alone = evaluate.retrieval(q, k, np.arange(90), block=25)

    def stop(done: int, total: int) -> None:
        if done == 50:
            raise KeyboardInterrupt

    with pieces.using(far := Posted()):
        with pytest.raises(KeyboardInterrupt):
            evaluate.retrieval(q, k, np.arange(90), block=25, progress=stop)
        assert far.asked == 4
        found = evaluate.retrieval(q, k, np.arange(90), block=25)
        assert far.asked == 4 + 2
        assert all(np.array_equal(found[name], alone[name], equal_nan=True) for name in alone)
        assert not [*(tmp_path / "pieces").iterdir()]
        changed = evaluate.retrieval(q, k, np.arange(90)[::-1], block=25)
        assert far.asked == 4 + 2 + 4 and changed["R@10"].sum() != alone["R@10"].sum()


def test_duplicates_of_texts_found_on_ray_are_those_of_one_process(on_two: Ray, monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK", 32)
    collection = texts(200, alike=3)
    alone = curate(collection)
    with pieces.using(on_two):
        assert curate(collection).table.equals(alone.table)


def picture(seed: int) -> bytes:
    sink = io.BytesIO()
    drawn = np.random.default_rng(seed // 2).integers(0, 255, (12, 12, 3), np.uint8)
    drawn[0, 0] += seed % 2
    Image.fromarray(drawn).resize((48, 48)).save(sink, "PNG")
    return sink.getvalue()


def test_duplicates_of_pictures_found_by_workers_are_those_of_one_process(monkeypatch, tmp_path):
    monkeypatch.setattr(identity, "BLOCK", 8)
    (tmp_path / "7.png").write_bytes(picture(7))
    (tmp_path / "9.png").write_bytes(b"no picture")
    values = ["7.png", "9.png", "8.png"]
    for seed in range(20, 41):
        (tmp_path / f"{seed}.png").write_bytes(picture(seed))
        values.append(f"{seed}.png")
    collection = Collection.of({"image": values}, root=tmp_path)
    alone = curate(collection)
    with pieces.using(far := Posted()):
        found = curate(collection)
    assert far.asked == 3 and found.table.equals(alone.table) and found.problems.equals(alone.problems)
    assert len(alone) == 22 and len({*alone.values("group")}) < 22

    class Elsewhere(Posted):
        def tables(self, job: Job, given: Iterable[Any], count: int) -> Iterator[pa.Table]:
            for piece in given:
                yield job(piece.set_column(1, "image", pa.array(["not/there.png"] * len(piece))))

    with pieces.using(Elsewhere()), pytest.raises(DataError, match="workers cannot open"):
        curate(collection)


def test_a_part_is_made_anew_from_name_and_options():
    made = make("encode", "minilm(max_tokens=32)")
    sent = Remade.of("encode", made)
    assert sent == Remade("encode", "minilm", {"path": "", "max_tokens": 32, "threads": 0})
    again = sent.make(threads=1, unknown=3)
    assert (again.threads, again.fingerprint) == (1, made.fingerprint)
    assert Remade.of("encode", object()) is None


def test_workers_with_other_weights_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "ITEMS_A_BLOCK", 8)
    encoder = make("encode", "minilm(max_tokens=16)")
    monkeypatch.setattr(Remade, "make", lambda self, **o: make("encode", "minilm(max_tokens=8)"))
    with pieces.using(Posted()), pytest.raises(TellapartError, match="other weights"):
        embed(texts(60), "text", encoder, cache=tmp_path)


def test_what_cannot_be_is_said_before_any_work(monkeypatch, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for address, words in (
        (f"127.0.0.1:{port}", "no Ray cluster answers"),
        ("ray://somewhere:10001", "host:port"),
        ("somewhere", "host:port"),
    ):
        with pytest.raises(TellapartError, match=words):
            Ray(address)
    with pytest.raises(TellapartError, match="-1 workers"):
        Ray(workers=-1)
    for module in (needs, on_ray):
        monkeypatch.setattr(module, "installed", lambda name: name != "ray")
    with pytest.raises(MissingExtraError, match=r"pip install 'tellapart\[ray\]'"):
        Ray()


def test_the_options_of_ray_want_ray(tmp_path):
    (tmp_path / "some.csv").write_text("text\none thing\nanother thing\n", encoding="utf-8")
    words = ["embed", str(tmp_path / "some.csv"), "--out", str(tmp_path / "out"), "--workers", "2"]
    ran = CliRunner().invoke(app(words), words)
    assert ran.exit_code == 2 and "belong to --on ray" in ran.output
    words[-2:] = ["--on", "ray", "--encoder", "minilm"]
    ran = CliRunner().invoke(app(words), words)
    assert ran.exit_code == 0 and "2 vectors of 384 numbers" in ran.output
