"""The protocol of graphs, on a made-up graph whose links say the class and whose texts say little of it."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.data.graph import with_edges
from tellapart.protocol import graphs

SPEC = {
    "options": {
        "labelled": 5, "validation": 5, "epochs": 4, "batch_size": 64, "head": "linear-head(dim=16)",
        "baseline": {"strategy": "meow(clusterings=0)", "objective": "dcl(temperature=0.4)"},
        "variant": {"strategy": "meow", "objective": ["dcl(temperature=0.4)", "dcl(temperature=0.9)"]},
        "controls": [{"strategy": "adameow", "objective": "infonce"}], "frozen": True,
    }
}  # fmt: skip


def made(n: int = 200) -> tuple[Collection, np.ndarray]:
    rng = np.random.default_rng(0)
    label = np.arange(n) % 4
    ids = [str(i) for i in range(n)]
    columns = {"id": ids, "text": [f"text {i}" for i in ids], "label": [f"class {c}" for c in label]}
    links = []
    for i in range(n):
        for j in rng.choice(np.flatnonzero(label == label[i]), 3):
            if i != j:
                links.append((ids[i], "knows", ids[j]))
    x = rng.normal(size=(n, 24)).astype(np.float32)
    x[:, :4] += 0.8 * np.eye(4)[label]
    return with_edges(Collection.of(columns), links), x


@pytest.fixture
def small(monkeypatch):
    found = made()
    monkeypatch.setattr(graphs, "nodes", lambda data, most: found)
    return found


def test_links_tell_more_than_texts(small):
    found = graphs.run(SPEC, "nouns", 0)
    assert set(found) == {
        f"{kind}{words}"
        for kind in ("accuracy with links", "accuracy of texts")
        for words in ("", " against strategy=adameow, objective=infonce")
    } | {"weight on false negatives", "accuracy of texts against frozen features"}
    assert all(len(np.atleast_1d(one)) == len(np.atleast_1d(other)) for one, other in found.values())
    assert found["accuracy with links"][1].mean() > found["accuracy of texts"][1].mean() + 0.05
    even, weighed = found["weight on false negatives"]
    assert abs(even - 49 / 199) < 1e-6 and weighed < even - 0.01
    assert graphs.run(SPEC, "nouns", 0)["accuracy with links"][1].tolist() == found["accuracy with links"][1].tolist()


def test_no_label_reaches_training(small, monkeypatch):
    seen = []
    fit = graphs.fit
    monkeypatch.setattr(
        graphs, "fit", lambda recipe, data, seed: seen.append(data.keys) or fit(recipe, data, seed=seed)
    )
    graphs.run(SPEC, "nouns", 0)
    assert seen and all(len(keys.target.unique()) == len(keys) for keys in seen)


def test_parts_are_by_class_and_apart(small):
    parts = graphs.parted(small[0], 5, 5, 1)
    label = small[0].codes("label")[0]
    assert [np.bincount(label[p]).tolist() for p in parts] == [[5] * 4, [5] * 4, [40] * 4]
    assert len(np.unique(np.concatenate(parts))) == 200
    assert not np.array_equal(parts[0], graphs.parted(small[0], 5, 5, 2)[0])
    with pytest.raises(DataError, match="no class has 60 nodes"):
        graphs.parted(small[0], 40, 10, 0)


def test_families_are_nodes_with_their_kinds():
    ids = [str(i) for i in range(60)]
    links = [(str(i), graphs.KINSHIP, str(i // 20 * 20)) for i in range(60) if i % 20]
    tree = with_edges(Collection.of({"id": ids, "text": ids, "label": ids}), links)
    taken = {int(i) for i in graphs.families(tree, 20).ids}
    heads = {i // 20 * 20 for i in taken}
    assert len(heads) == 2 and heads <= taken and len(taken) == 2 * (graphs.FAMILY + 1)


@pytest.mark.parametrize(("options", "data", "error"), [({"nods": 3}, "nouns", PartError), ({}, "adverbs", DataError)])
def test_unknown_options_and_data_are_refused(options, data, error):
    with pytest.raises(error, match="knows"):
        graphs.run({"options": {**SPEC["options"], **options}}, data, 0)
