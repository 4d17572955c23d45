"""A chain of rank parts: what it does in a row, and that it is the same chain after it was written and read."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.hits import Hits
from tellapart.core.parts import make
from tellapart.engine import reorder
from tellapart.engine.reorder import Bank, Chain, drop, open_chain
from tellapart.parts.index.exact import Exact

DIM = 16
CHAINS = ("dbnorm", "dbnorm-dynamic(k=2)", "inverted-softmax(temperature=0.1)", "cosine-adapter(epochs=5)",
          "cosine-adapter(epochs=5, recall=0.6)|dbnorm")  # fmt: skip


def unit(x):
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def world(seed, n=120, noise=0.25):
    """[n] queries and documents that belong together, all drawn towards one direction, so that there are hubs."""
    rng = np.random.default_rng(seed)
    q = unit(rng.normal(size=(n, DIM)) + 0.8 * np.eye(DIM)[0])
    k = unit(q + noise * rng.normal(size=q.shape) + rng.exponential(0.4, size=(n, 1)) * np.eye(DIM)[0])
    ids = np.array([f"w{seed}-{i:03d}" for i in rng.permutation(n)])
    return q, k, ids


def bank(seed, n=120):
    q, k, ids = world(seed, n)
    return Bank(q, k, ids, np.stack([np.arange(n)] * 2, axis=1))


def asked(chain, seed=1):
    q, k, ids = world(seed)
    return chain.search(q, k, ids)


def plain(seed=1):
    q, k, ids = world(seed)
    return Hits.sorted(np.tile(ids, (len(q), 1)), q @ k.T, reorder.POOL)


def same(a, b, rounding=0.0):
    assert np.array_equal(a.ids, b.ids)
    found = a.ids != ""
    assert np.abs(a.scores[found] - b.scores[found]).max(initial=0) <= rounding and np.isneginf(b.scores[~found]).all()


class TestOrder:
    @pytest.mark.parametrize("spec", CHAINS[:4])
    def test_one_part_is_that_part(self, spec):
        given, (q, k, ids) = bank(0), world(1)
        part = make("rank", spec).fit(
            given.queries, given.documents, query_ids=given.ids, ids=given.ids, pairs=given.pairs
        )
        row = {id_: i for i, id_ in enumerate(ids.tolist())}
        expected = part.rank(q, plain(), lambda wanted: k[[row[i] for i in wanted.tolist()]])
        same(expected, asked(Chain(spec).fit(given)), rounding=1e-4)
        moved = (expected.ids[:, 0] != plain().ids[:, 0]).any()
        assert moved == (spec != CHAINS[3]), "the world must have hubs, or nothing is tested"

    def test_a_cut_and_a_new_order_are_the_same_in_either_order(self):
        cut, moved = "cosine-adapter(epochs=5, recall=0.6)", "dbnorm"
        both = asked(Chain(f"{cut}|{moved}").fit(bank(0)))
        same(both, asked(Chain(f"{moved} | {cut}").fit(bank(0))), rounding=1e-4)
        left, order = asked(Chain(cut).fit(bank(0))), asked(Chain(moved).fit(bank(0)))
        assert 0 < (left.ids != "").sum() < (plain().ids != "").sum()
        for row in range(len(both)):
            kept = set(left.ids[row])
            assert [i for i, _ in both[row]] == [i for i, _ in order[row] if i in kept]
            assert np.allclose([s for _, s in both[row]], [s for i, s in order[row] if i in kept], atol=1e-4)

    def test_pairs_that_training_did_not_see_are_for_the_parts_that_learn_from_them(self):
        near = bank(3)
        near = Bank(near.queries, near.queries, near.ids, near.pairs)
        assert (asked(Chain("cosine-adapter").fit(near)).ids != "").sum() < 12, "pairs this near keep hardly any hit"
        same(asked(Chain("cosine-adapter").fit(near, bank(0))), asked(Chain("cosine-adapter").fit(bank(0))))
        same(asked(Chain("dbnorm").fit(bank(0), near)), asked(Chain("dbnorm").fit(bank(0))))

    def test_a_query_does_not_find_itself(self):
        q, _, ids = world(1)
        found = Chain("dbnorm").fit(bank(0)).search(q, q, ids, own=np.arange(len(q)))
        assert not (found.ids == ids[:, None]).any()
        assert (found.ids != "").sum() == len(q) * (len(q) - 1)

    def test_the_pool_bounds_what_is_ranked(self, monkeypatch):
        monkeypatch.setattr(reorder, "POOL", 7)
        found = asked(Chain("dbnorm").fit(bank(0)))
        assert found.ids.shape == (120, 7)
        for row in range(len(found)):
            assert set(found.ids[row]) == set(plain().ids[row, :7])

    def test_an_index_and_the_chain_find_the_same(self):
        q, k, ids = world(1)
        index, chain = Exact(), Chain("cosine-adapter(epochs=5, recall=0.6)|dbnorm").fit(bank(0))
        index.add(ids, k)
        expected = asked(chain)
        for row in range(0, len(q), 11):
            near = index.search(q[row : row + 1], reorder.POOL)
            hits = chain.rank(q[row : row + 1], near, lambda wanted: index.vectors(wanted.tolist()))
            assert [i for i, _ in hits[0]] == [i for i, _ in expected[row]]
            assert np.allclose([s for _, s in hits[0]], [s for _, s in expected[row]], atol=1e-3)


class TestFolder:
    @pytest.mark.parametrize("spec", CHAINS)
    def test_what_is_read_ranks_as_what_was_written(self, tmp_path, spec):
        chain = Chain(spec).fit(bank(0))
        again = Chain.load(chain.save(tmp_path / "rank"))
        assert (again.spec, again.cuts, again.dim) == (chain.spec, chain.cuts, DIM)
        same(asked(chain), asked(again))
        for one, other in zip(chain.parts, again.parts, strict=True):
            for name, value in vars(one).items():
                assert np.array_equal(value, vars(other)[name]) and type(value) is type(vars(other)[name]), name

    def test_a_second_write_replaces_the_first(self, tmp_path):
        Chain("dbnorm").fit(bank(0)).save(tmp_path / "rank")
        chain = Chain("cosine-adapter(epochs=2)").fit(bank(2))
        chain.save(tmp_path / "rank")
        assert len(list((tmp_path / "rank").iterdir())) == 2
        same(asked(chain), asked(Chain.load(tmp_path / "rank")))

    def test_a_killed_write_leaves_the_old_chain(self, tmp_path, monkeypatch):
        old = Chain("dbnorm").fit(bank(0))
        old.save(tmp_path / "rank")
        write = reorder.write_atomically

        def killed(file, content):
            if file.name == reorder.FILE:
                raise KeyboardInterrupt
            write(file, content)

        monkeypatch.setattr(reorder, "write_atomically", killed)
        with pytest.raises(KeyboardInterrupt):
            Chain("dbnorm").fit(bank(2)).save(tmp_path / "rank")
        same(asked(old), asked(Chain.load(tmp_path / "rank")))

    def test_a_run_without_a_chain_has_none(self, tmp_path):
        assert open_chain(tmp_path) is None
        Chain("dbnorm").fit(bank(0)).save(tmp_path / "rank")
        assert open_chain(tmp_path).spec == "dbnorm"
        drop(tmp_path / "rank")
        drop(tmp_path / "rank")
        assert open_chain(tmp_path) is None and not (tmp_path / "rank").exists()

    def test_another_model_is_refused(self, tmp_path):
        model = tmp_path / "model"
        model.mkdir()
        (model / "model.json").write_text("one")
        Chain("dbnorm").fit(bank(0)).save(tmp_path / "rank", model=model)
        assert open_chain(tmp_path) is not None
        (model / "model.json").write_text("two")
        with pytest.raises(DataError, match=r"another model.* delete .*rank"):
            open_chain(tmp_path)

    @pytest.mark.parametrize(
        "damage",
        [
            lambda f, facts: (f / "rank.json").unlink(),
            lambda f, facts: (f / "rank.json").write_text("{"),
            lambda f, facts: (f / "rank.json").write_text("[]"),
            lambda f, facts: (f / "rank.json").write_bytes(b"\xff\xfe"),
            lambda f, facts: (f / "rank.json").write_text(" " * 2_000_000),
            lambda f, facts: (f / facts["file"]).unlink(),
            lambda f, facts: (f / facts["file"]).write_bytes((f / facts["file"]).read_bytes()[:-1]),
            lambda f, facts: (f / facts["file"]).write_bytes((f / facts["file"]).read_bytes()[:-1] + b"?"),
            lambda f, facts: (f / "rank.json").write_text(json.dumps({**facts, "format": 2})),
            lambda f, facts: (f / "rank.json").write_text(json.dumps({**facts, "dim": 3})),
            lambda f, facts: (f / "rank.json").write_text(json.dumps({**facts, "file": "../model/query.safetensors"})),
            lambda f, facts: (f / "rank.json").write_text(json.dumps({**facts, "parts": []})),
            lambda f, facts: (f / "rank.json").write_text(
                json.dumps({**facts, "parts": [{"part": "dbnorm", "state": {"__class__": 1}}]})
            ),
            lambda f, facts: (f / "rank.json").write_text(
                json.dumps({**facts, "parts": [{"part": "dbnorm", "state": {"queries_": 1.5}}]})
            ),
            lambda f, facts: (f / "rank.json").write_text(
                json.dumps({**facts, "parts": [{"part": "dbnorm", "state": {"ids_": {"tensor": "no", "words": True}}}]})
            ),
        ],
    )
    def test_damage_is_said_with_what_to_do(self, tmp_path, damage):
        folder = Chain("dbnorm").fit(bank(0)).save(tmp_path / "rank")
        damage(folder, json.loads((folder / "rank.json").read_text()))
        with pytest.raises(DataError, match=r"Make the run again, or delete .*rank to search by cosine alone"):
            Chain.load(folder)

    def test_a_part_that_is_not_here_is_named(self, tmp_path):
        folder = Chain("dbnorm").fit(bank(0)).save(tmp_path / "rank")
        file = folder / "rank.json"
        file.write_text(file.read_text().replace('"dbnorm"', '"dbnrom"'))
        with pytest.raises(PartError, match="did you mean dbnorm"):
            Chain.load(folder)

    def test_without_torch(self, tmp_path):
        folder = Chain(CHAINS[4]).fit(bank(0)).save(tmp_path / "rank")
        code = (
            "import sys; sys.modules['torch'] = None; sys.modules['sklearn'] = None\n"
            "from tellapart.engine.reorder import Chain\n"
            f"assert Chain.load({str(folder)!r}).cuts\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


class TestBank:
    def encode(self, side, rows):
        return unit(np.stack([rows + 1.0, np.full(len(rows), 1.0 if side == "query" else 2.0)], axis=1))

    def test_pairs_of_texts_are_the_items_themselves(self):
        made = Collection.of({"anchor": list("abcd"), "positive": list("efgh")})
        found = Bank.of(made, np.array([0, 2, 3]), self.encode, "document", "query")
        assert found.pairs.tolist() == [[0, 0], [1, 1], [2, 2]]
        assert found.ids.tolist() == made.ids[[0, 2, 3]].tolist()
        assert np.array_equal(found.queries, self.encode("document", np.array([0, 2, 3])))
        assert np.array_equal(found.documents, self.encode("query", np.array([0, 2, 3])))

    def test_equal_labels_are_pairs_and_an_item_is_none_of_itself(self):
        made = Collection.of({"text": list("abcde"), "label": ["x", "y", "x", None, None]})
        found = Bank.of(made, np.arange(5), self.encode, "query", "document")
        assert found.pairs.tolist() == [[0, 2], [2, 0]]

    def test_it_is_bounded(self, monkeypatch):
        monkeypatch.setattr(reorder, "MOST_BANK", 40)
        monkeypatch.setattr(reorder, "MOST_PAIRS", 150)
        made = Collection.of({"text": [str(i) for i in range(90)], "label": ["x"] * 90})
        found = Bank.of(made, np.arange(90), self.encode, "query", "document")
        assert len(found.ids) == 10 and len(found.pairs) == 90


def test_the_engine_file_imports_nothing_heavy():
    code = "import sys, tellapart.engine.reorder\nassert not {'torch', 'sklearn', 'faiss'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
