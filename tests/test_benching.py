"""A leaderboard over tasks of one's own: every kind, models of every sort, what is refused, and MTEB's interface."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from tellapart.benching import Task, bench, held_out, read_tasks
from tellapart.core.errors import DataError, TellapartError
from tellapart.core.report import Table, Text
from tellapart.engine import task_scores
from tellapart.engine.evaluate import Relevant
from tellapart.mteb import ForMteb, encoded

WORDS = [f"{a}{b}" for a in "bcdfgh" for b in "aeiou"]


class Letters:
    """A text is how often each letter is in it, and nothing else."""

    def __init__(self, blind=""):
        self.blind = blind

    def encode(self, sentences, **kwargs):
        kept = ["".join(c for c in s if c not in self.blind) for s in sentences]
        return np.array([[t.count(c) for c in "abcdefghiou"] + [1] for t in kept], float)


@pytest.fixture
def tasks(tmp_path):
    texts = [f"{w} {w}" for w in WORDS]
    rows = [f'{w},"{t}",{w[1]},{i % 2},{(i % 2) * 2.5}' for i, (w, t) in enumerate(zip(WORDS, texts, strict=True))]
    rows = [r if i % 2 else r.replace(texts[i], texts[i - 1]) for i, r in enumerate(rows)]
    (tmp_path / "pairs.csv").write_text("anchor,positive,vowel,together,said\n" + "\n".join(rows) + "\n")
    plain = "anchor,positive\n" + "".join(f'{w},"{t}"\n' for w, t in zip(WORDS, texts, strict=True))
    (tmp_path / "plain.csv").write_text(plain)
    several = "text,label\n" + "".join(f"{w}{x},{w[1]}\n" for w in WORDS for x in "bcdf")
    (tmp_path / "several.csv").write_text(several)
    said = {
        "find": 'kind = "retrieval"\ndata = "plain.csv"',
        "few": 'kind = "retrieval"\ndata = "plain.csv"\nqueries = 8\ndocuments = 16',
        "vowel": 'kind = "classification"\ndata = "several.csv"',
        "groups": 'kind = "clustering"\ndata = "several.csv"',
        "same": 'kind = "pair-classification"\ndata = "pairs.csv"\nlabel = "together"',
        "near": 'kind = "sts"\ndata = "pairs.csv"\nscore = "said"',
    }
    for name, text in said.items():
        (tmp_path / f"{name}.toml").write_text(text)
    return tmp_path


def test_a_leaderboard_over_every_kind(tasks):
    models = {"letters": Letters(), "no vowels": Letters("aeiou"), "nothing": Letters("abcdefghiou")}
    report = bench([tasks], models, out=tasks / "out.json")
    board, *each = [b for b in report.blocks if isinstance(b, Table)]
    assert [row[1] for row in board.rows] == ["letters", "no vowels", "nothing"]
    assert len(each) == 6
    score = {(t.title.split(" (")[0], row[0]): row[1] for t in each for row in t.rows}
    assert score["find", "letters"].value == pytest.approx(1.0)
    assert score["few", "letters"].value == pytest.approx(1.0)
    assert score["vowel", "letters"].value == pytest.approx(1.0)
    assert score["vowel", "no vowels"].value < 0.4
    assert score["same", "letters"].value > score["same", "nothing"].value
    assert score["near", "nothing"].value == 0
    # Everything is one point: what chance gives, and no more.
    places = 1 / np.log2(np.arange(2, 12))
    assert score["find", "nothing"].value == pytest.approx(places.sum() / 30)
    assert score["few", "nothing"].value == pytest.approx(places.sum() / 16)
    held = json.loads((tasks / "out.json").read_text())
    assert np.array(held["scores"]).shape == (3, 6)
    assert held["tasks"][0] == {"name": "few", "kind": "retrieval"}


def test_what_a_model_cannot_be_given_is_said_and_ten_models_are_needed_to_shrink(tasks):
    class Pictures:
        def encode(self, items, **kwargs):
            raise DataError("it reads pictures")

    report = bench([tasks / "find.toml"], {"letters": Letters(), "pictures": Pictures()}, least=2)
    missed = next(b for b in report.blocks if isinstance(b, Table) and b.title == "What could not be asked")
    assert missed.rows == [["find", "pictures", "it reads pictures"]]
    assert any("cannot tell which tasks" in b.text for b in report.blocks if isinstance(b, Text))
    with pytest.raises(DataError, match="no model can be given find: it reads pictures"):
        bench([tasks / "find.toml"], {"pictures": Pictures()})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("kind = 'retrieval'", "data: Field required"),
        ("kind = 'guessing'\ndata = 'a'", "kind"),
        ("kind = ", "no TOML"),
        ("kind = 'sts'\ndata = 'pairs.csv'\nspeed = 3", "speed"),
        ("kind = 'sts'\ndata = 'pairs.csv'\nscore = 'nearness'", "no column 'nearness'"),
        ("kind = 'pair-classification'\ndata = 'pairs.csv'\nlabel = 'vowel'", "yes or no"),
    ],
)
def test_tasks_that_are_none(tasks, text, words):
    (tasks / "odd.toml").write_text(text)
    with pytest.raises(TellapartError, match=words):
        bench([tasks / "odd.toml"], {"letters": Letters()})


def test_no_task_no_model_and_two_of_one_name(tasks, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(TellapartError, match="no task"):
        read_tasks([tmp_path / "none"])
    with pytest.raises(TellapartError, match="two tasks are named 'find'"):
        read_tasks([tasks, tasks / "find.toml"])
    with pytest.raises(TellapartError, match="no run, no model folder and no encoder"):
        bench([tasks / "find.toml"], ["nobody"])
    with pytest.raises(DataError, match="has none"):
        encoded(object(), ["a"], "query")
    with pytest.raises(TellapartError, match="one model at least"):
        bench([Task(name="a", kind="sts", data="b")], {})


def test_needless_tasks_are_found_where_tasks_repeat_each_other():
    rng = np.random.default_rng(0)
    good = rng.normal(size=(12, 2))
    scores = np.concatenate([good[:, :1] + 0.05 * rng.normal(size=(12, 6)), good[:, 1:]], axis=1)
    kept, drawn = held_out(scores, ["a"] * 7, least=2, seed=0)
    assert kept > 0.7
    assert -1 <= drawn <= 1


def test_the_v_measure_is_that_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.integers(0, 4, (2, 30))
        assert task_scores.v_measure(a, b) == pytest.approx(metrics.v_measure_score(a, b))
    assert task_scores.v_measure(np.zeros(5, int), np.arange(5)) == metrics.v_measure_score([0] * 5, range(5))


def test_a_model_of_ours_follows_the_interface_and_one_that_follows_it_is_run():
    class Ours:
        dim, sides = (
            2,
            SimpleNamespace(query=SimpleNamespace(modality="text"), document=SimpleNamespace(modality="text")),
        )

        def encode_query(self, items, batch_size):
            return np.array([[1.0, 0.0]] * len(items))

        def encode_document(self, items, batch_size):
            return np.array([[0.0, len(i)] for i in items])

    theirs = ForMteb(Ours())
    batches = [{"text": ["a", "bb"]}, {"text": ["ccc"]}]
    found = theirs.encode(batches, task_metadata=None, hf_split="test", hf_subset="default", prompt_type=None)
    assert found.tolist() == [[0, 1], [0, 2], [0, 3]]
    assert theirs.encode(["a"], task_name="x", prompt_type=SimpleNamespace(value="query")).tolist() == [[1, 0]]
    assert theirs.similarity(found, found)[2].tolist() == [3, 6, 9]
    assert theirs.similarity_pairwise(found, found).tolist() == [1, 4, 9]
    assert theirs.encode([]).shape == (0, 2)
    with pytest.raises(DataError, match="query or document"):
        theirs.encode(["a"], prompt_type="both")

    class Version2:
        def encode(self, inputs, *, task_metadata, hf_split, hf_subset, prompt_type=None, **kwargs):
            self.told = (task_metadata.name, prompt_type.value)
            return np.array([[len(t)] for batch in inputs for t in batch["text"]])

    model = Version2()
    assert encoded(model, ["a"] * 40 + ["bb"], "query", task="find")[-2:].tolist() == [[1], [2]]
    assert model.told == ("find", "query")
    with pytest.raises(DataError, match="one finite vector"):
        encoded(SimpleNamespace(encode=lambda items: np.zeros((1, 2))), ["a", "b"], "query")


def test_pairs_of_one_kind_and_classes_that_are_all_learnt_from_are_refused():
    z, own = np.eye(6), np.arange(6)
    with pytest.raises(DataError, match="one kind"):
        task_scores.told_apart(z, z, np.ones(6, bool), own)
    with pytest.raises(DataError, match="nothing to ask"):
        task_scores.classified(z, ["a", "b"] * 3, own)
    figure = task_scores.searched(z, z, Relevant.by_target(own, own), own, groups=(own, own), own="keep")
    assert figure.value == 1
