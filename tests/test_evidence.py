"""The evidence harness on protocols of known truth."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from tellapart import evidence
from tellapart.core.errors import TellapartError
from tellapart.core.progress import Stages

SPEC = """
part = "knn"
protocol = "score"
baseline = "max-softmax"
data = ["near", "far"]
seeds = 6
claim = "the paper says it finds more"
[options]
gap = 0.1
"""


class Protocol(SimpleNamespace):
    """Baseline values that vary with the seed; the variant differs by a known gap."""

    def __init__(self, **more):
        super().__init__(calls=[], **more)

    def run(self, spec, data, seed):
        self.calls.append((data, seed))
        rng = np.random.default_rng([seed, data == "far"])
        base, gap = 0.5 + 0.2 * rng.random(), spec["options"]["gap"] + 0.01 * rng.normal()
        return {"auroc": (base, base + gap), "fpr95": (base, base - gap), "even": (base, base + 1e-4 * rng.normal())}


@pytest.fixture
def place(tmp_path, monkeypatch):
    folder = tmp_path / "evidence"
    folder.mkdir()
    (folder / "knn.toml").write_text(SPEC)
    monkeypatch.setenv("TELLAPART_EVIDENCE", str(folder))
    monkeypatch.setenv("TELLAPART_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def protocol(place, monkeypatch):
    made = Protocol(LOWER_IS_BETTER=("fpr",))
    monkeypatch.setattr(evidence, "_protocol", lambda name: made)
    return made


def test_a_known_gap_is_found_and_written(place, protocol):
    (result,) = evidence.record(["knn"])
    assert json.loads((place / "knn.json").read_text()) == result
    rows = {(r["data"], r["metric"]): r for r in result["rows"]}
    assert len(rows) == 6 and len(protocol.calls) == 12
    row = rows["near", "auroc"]
    assert row["verdict"] == "helps" and row["low"] < 0.1 < row["high"] and 0 < row["high"] - row["low"] < 0.05
    assert np.allclose(np.subtract(row["variant"], row["baseline"]).mean(), row["difference"], atol=1e-4)
    assert rows["far", "fpr95"]["verdict"] == "helps" and rows["far", "fpr95"]["difference"] < 0
    assert {r["verdict"] for k, r in rows.items() if k[1] == "even"} == {"no difference shown"}
    assert result["verdict"] == "helps in 4 of 6 comparisons, no difference shown in the rest"
    assert result["machine"]["cores"] >= 1 and result["versions"]["numpy"] == np.__version__
    assert result["seeds"] == list(range(6)) and result["claim"] == "the paper says it finds more"


def test_less_is_better_only_where_it_is_said(place, protocol):
    protocol.LOWER_IS_BETTER = ()
    (result,) = evidence.record(["knn"])
    assert {r["verdict"] for r in result["rows"] if r["metric"] == "fpr95"} == {"hurts"}
    assert result["verdict"].startswith("mixed: helps in 2 and hurts in 2")


def test_the_verdict_is_read_off_the_main_metrics(place, protocol):
    (place / "knn.toml").write_text(SPEC.replace("[options]", 'main = ["even"]\n[options]'))
    assert evidence.record(["knn"])[0]["verdict"] == "no difference shown"
    (place / "knn.toml").write_text(SPEC.replace("[options]", 'main = ["aurok"]\n[options]'))
    with pytest.raises(TellapartError, match="did you mean auroc"):
        evidence.record(["knn"])


def test_an_interrupted_recording_goes_on_where_it_stopped(place, protocol, monkeypatch):
    class Stop(Stages):
        def stage(self, name):
            from contextlib import nullcontext

            def advance(done, total):
                if done == 5:
                    raise KeyboardInterrupt

            return nullcontext(advance)

        def say(self, text):
            raise AssertionError(text)

    with pytest.raises(KeyboardInterrupt):
        evidence.record(["knn"], progress=Stop())
    assert len(protocol.calls) == 5 and not (place / "knn.json").exists()
    first = list(protocol.calls)
    (whole,) = evidence.record(["knn"])
    assert len(protocol.calls) == 12 and len(set(protocol.calls)) == 12 and protocol.calls[:5] == first
    monkeypatch.setenv("TELLAPART_CACHE", str(place.parent / "other"))
    (again,) = evidence.record(["knn"])
    assert again["rows"] == whole["rows"]


def test_a_torn_intermediate_file_is_made_again(place, protocol):
    evidence.record(["knn"])
    torn = next((place.parent / "cache" / "evidence").glob("knn-*/near-3.json"))
    torn.write_text(torn.read_text()[:20])
    evidence.record(["knn"])
    assert protocol.calls[12:] == [("near", 3)]


def test_the_commit_is_that_of_the_work_and_not_of_the_writing(place, protocol, monkeypatch):
    monkeypatch.setattr(evidence, "head", lambda: "a" * 40)
    monkeypatch.setattr(evidence, "provenance", lambda start: {"commit": start, "dirty": False})
    evidence.record(["knn"])
    monkeypatch.setattr(evidence, "head", lambda: "b" * 40)
    (again,) = evidence.record(["knn"])
    assert again["commit"] == "a" * 40 and again["dirty"] is False and "commits" not in again
    next((place.parent / "cache" / "evidence").glob("knn-*/far-5.json")).unlink()
    (mixed,) = evidence.record(["knn"])
    assert mixed["commit"] == "b" * 40 and mixed["commits"] == ["a" * 40, "b" * 40] and len(protocol.calls) == 13


def test_provenance_names_a_commit_and_sees_what_it_does_not_hold():
    start = evidence.head()
    if start is None:
        pytest.skip("not a checkout")
    assert evidence.provenance(start)["commit"] == start
    assert evidence.provenance(None) == {"commit": None, "dirty": None}
    empty = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
    assert evidence.provenance(empty)["dirty"] is True, "against an empty tree every source in use is a change"


def test_words_change_nothing_and_options_change_everything(place, protocol):
    evidence.record(["knn"])
    (place / "knn.toml").write_text(SPEC.replace("finds more", "finds far more"))
    assert evidence.record(["knn"])[0]["claim"].endswith("far more") and len(protocol.calls) == 12
    assert not _row("knn")["stale"]
    (place / "knn.toml").write_text(SPEC.replace("0.1", "0.3"))
    assert _row("knn")["stale"]
    evidence.record(["knn"])
    assert len(protocol.calls) == 24 and not _row("knn")["stale"]


def test_a_docstring_or_a_card_is_not_code(tmp_path):
    plain = "def f(x):\n    return x + 1\n"
    told = '"""File."""\n\n@part(paper="p")\ndef f(x):\n    """Says."""\n    # why\n    return x + 1\n'
    for number, text in enumerate((plain, told, plain.replace("1", "2"))):
        (tmp_path / f"{number}.py").write_text(text)
    first, second, other = (evidence._code((tmp_path / f"{number}.py").read_text()) for number in range(3))
    assert first == second != other


def _row(name):
    return next(row for row in evidence.listing() if row["name"] == name)


def test_a_failure_leaves_what_was_recorded(place, protocol, monkeypatch):
    evidence.record(["knn"])
    before = (place / "knn.json").read_bytes()
    (place / "knn.toml").write_text(SPEC.replace("0.1", "0.2"))
    monkeypatch.setattr(protocol, "run", lambda spec, data, seed: {"auroc": (0.5, float("nan"))})
    with pytest.raises(TellapartError, match="auroc on near with seed 0 is not finite"):
        evidence.record(["knn"])
    assert (place / "knn.json").read_bytes() == before
    assert [f.name for f in place.iterdir()] != [] and not list(place.glob(".*"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "measured nothing"),
        ({"a": (0.1, [0.1, 0.2])}, "of one shape"),
        ({"a": ([[0.1]], [[0.1]])}, "of one shape"),
        ({"a": (0.1, float("inf"))}, "not finite"),
        ({"a": ([], [])}, "not finite"),
    ],
)
def test_what_a_protocol_gives_wrongly_is_refused(place, protocol, monkeypatch, given, words):
    monkeypatch.setattr(protocol, "run", lambda spec, data, seed: given)
    with pytest.raises(TellapartError, match=words):
        evidence.record(["knn"])


def test_metrics_that_come_and_go_are_refused(place, protocol, monkeypatch):
    monkeypatch.setattr(protocol, "run", lambda spec, data, seed: {f"a{seed % 2}": (0.1, 0.2)})
    with pytest.raises(TellapartError, match="other metrics for some seeds"):
        evidence.record(["knn"])


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("seeds = 6", "seeds = 4", "at least 5"),
        ("seeds = 6", "seeds = [1, 2, 3, 4, 4]", "at least 5"),
        ("seeds = 6", "seeds = [1, 1, 2, 3, 4, 5]", "none of them twice"),
        ("seeds = 6", 'seeds = 1\nfewer_because = "slow"', "at least two"),
        ("seeds = 6", 'seeds = "six"', "seeds"),
        ('part = "knn"', 'part = "dsir"', "must be about knn"),
        ('part = "knn"', 'part = "nkk"', "no part named"),
        ('part = "knn"', "part = knn", "not a readable TOML"),
        ("claim =", "claimed =", "claim"),
        ('claim = "the paper says it finds more"', 'claim = "yes"', "claim"),
        ('["near", "far"]', "[]", "data"),
        ('["near", "far"]', '["near", "near"]', "twice"),
        ("[options]", 'colour = "red"\n[options]', "colour"),
        ('"score"', '"../score"', "protocol"),
    ],
)
def test_a_wrong_spec_is_refused_in_words(place, old, new, words):
    assert old in SPEC
    (place / "knn.toml").write_text(SPEC.replace(old, new))
    with pytest.raises(TellapartError, match=words):
        evidence.record(["knn"])


def test_fewer_seeds_need_a_reason(place, protocol):
    (place / "knn.toml").write_text(SPEC.replace("seeds = 6", 'seeds = 3\nfewer_because = "each takes an hour"'))
    assert evidence.record(["knn"])[0]["fewer_because"] == "each takes an hour"


def test_an_unknown_protocol_or_part_names_those_near(place):
    (place / "knn.toml").write_text(SPEC.replace('"score"', '"scores"'))
    with pytest.raises(TellapartError, match="did you mean score"):
        evidence.record(["knn"])
    with pytest.raises(TellapartError, match="did you mean"):
        evidence.record(["knnn"])
    with pytest.raises(TellapartError, match="no evidence to record: write"):
        evidence.record(["dsir"])


def test_without_names_all_that_have_a_spec_are_recorded(place, protocol):
    assert [r["part"] for r in evidence.record()] == ["knn"]
    rows = {row["name"]: row for row in evidence.listing()}
    assert rows["knn"]["recorded"] and rows["knn"]["verdict"].startswith("helps") and not rows["dsir"]["spec"]


def test_shared_queries_narrow_the_interval_only_where_they_are_shared():
    rng = np.random.default_rng(0)
    hard = rng.random(200)
    baseline = [(hard + 0.1 * rng.normal(size=200) > 0.5).astype(float) for _ in range(5)]
    variant = [np.maximum(b, rng.random(200) < 0.05) for b in baseline]
    middle, low, high, how = evidence.paired_interval(baseline, variant, same_queries=True)
    assert (
        "200 queries" in how and low < middle < high and middle == pytest.approx(np.mean(variant) - np.mean(baseline))
    )
    _, _, _, seeds_only = evidence.paired_interval(baseline, variant)
    assert seeds_only == "bootstrap over 5 seeds"
    ragged = [b[: 100 + i] for i, b in enumerate(baseline)]
    assert evidence.paired_interval(ragged, ragged, same_queries=True) == (0, 0, 0, "bootstrap over 5 seeds")


def test_the_interval_over_few_seeds_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(300):
        baseline = rng.normal(size=5)
        variant = baseline + 0.3 + rng.normal(size=5)
        _, low, high, _ = evidence.paired_interval([np.array(b) for b in baseline], [np.array(v) for v in variant])
        held += low <= 0.3 <= high
    assert 0.90 <= held / 300 <= 0.99


def test_every_committed_spec_can_be_read(monkeypatch):
    monkeypatch.delenv("TELLAPART_EVIDENCE", raising=False)
    for file in sorted(evidence.folder().glob("*.toml")):
        spec = evidence.read_spec(file.stem)
        assert spec.data and spec.seed_list
