from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tellapart.core.close import cosine_pairs
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.data import curate, links, read
from tellapart.data.groups import Links, join
from tellapart.data.identity import normal
from tellapart.data.neighbours import hamming_pairs, jaccard, shingles, text_pairs
from tellapart.data.provenance import about

from .conftest import encoded, noise


def detailed(seed):
    """A picture with coarse and fine structure, as photographs have it."""
    rng = np.random.default_rng(seed)
    layers = [
        np.asarray(Image.fromarray(rng.integers(0, 256, (s, s, 3), dtype=np.uint8)).resize((128, 96)), float)
        for s in (4, 8, 16, 32)
    ]
    return Image.fromarray(np.mean(layers, axis=0).astype(np.uint8))


def groups_of(collection):
    """Sets of ids by group."""
    found: dict[int, set[str]] = {}
    for id_, group in zip(collection.ids, collection.numbers("group"), strict=True):
        found.setdefault(int(group), set()).add(id_)
    return sorted(map(sorted, found.values()))


def test_the_same_pixels_in_other_files_are_one_group(tmp_path):
    image = detailed(0)
    image.save(tmp_path / "one thing.png")
    image.save(tmp_path / "another name.bmp")
    image.resize((240, 180), Image.Resampling.LANCZOS).save(tmp_path / "larger copy.jpg", quality=90)
    detailed(1).save(tmp_path / "something else.png")
    found = curate(read(tmp_path))
    assert groups_of(found) == [["another name.bmp", "larger copy.jpg", "one thing.png"], ["something else.png"]]
    assert found["group"].type == "int64" and len(set(found.values("hash"))) == 3
    why = {(r["a"], r["b"], r["rule"]) for r in links(found).to_pylist()}
    assert ("one thing.png", "another name.bmp", "equal content") in why and len(why) == 2
    assert any(rule == "perceptual hash" for _, _, rule in why)
    assert found.provenance("group")["part"] == "curate"
    assert "2 items repeat another one" in about(found)["notes"]


def test_one_shape_in_other_colours_stays_apart(tmp_path):
    for name, colour in (("red heart", (220, 30, 40)), ("blue heart", (30, 40, 220)), ("dark hand", (106, 70, 43)),
                         ("light hand", (250, 220, 188))):  # fmt: skip
        image = Image.new("RGB", (96, 96), (255, 255, 255))
        image.paste(colour, (20, 30, 70, 80))
        image.save(tmp_path / f"{name}.png")
    found = curate(read(tmp_path))
    assert len(groups_of(found)) == 4


def test_pictures_that_cannot_be_decoded_go_to_problems_and_nothing_else(tmp_path):
    good = [encoded(noise(i, 200, 200)) for i in range(3)]
    for i, data in enumerate(good):
        (tmp_path / f"picture of {'abc'[i]}ee.png").write_bytes(data if i else data[: len(data) // 2])
    found = read(tmp_path)
    assert len(found) == 3
    vectors = np.eye(3, 4)
    made = curate(found, embeddings=vectors)
    assert made.ids.tolist() == ["picture of bee.png", "picture of cee.png"]
    assert made.problems.to_pylist()[0]["id"] == "picture of aee.png"
    assert "cut short" in made.problems.to_pylist()[0]["reason"]
    (tmp_path / "picture of bee.png").write_bytes(good[1][:400])
    (tmp_path / "picture of cee.png").unlink()
    with pytest.raises(DataError, match="nothing in the collection can be used"):
        curate(found)


def test_texts_equal_but_for_case_and_space_and_near_duplicates():
    long = (
        "the quick brown fox jumps over the lazy dog while the cat sleeps on the warm stone near the river bank, and "
    )
    long += "nobody who passes by on the old bridge in the early morning would ever think that anything happened there"
    found = curate(Collection.of({"id": list("abcdef"), "text": [
        "Hello  World", "hello world", "ﬁne day", "fine day", long, long.replace("stone", "stones"),
    ], "label": list("xyzxyz")}))  # fmt: skip
    assert groups_of(found) == [["a", "b"], ["c", "d"], ["e", "f"]]
    other = curate(Collection.of({"text": ["shaped in the form of the letter T", "shaped in the form of the letter L"],
                                  "label": [1, 2]}))  # fmt: skip
    assert other.numbers("group").tolist() == [0, 1] and other.numbers("near").tolist() == [0, 0]
    assert {r["rule"] for r in links(found).to_pylist()} == {"equal content", "shared shingles"}


def test_answers_of_one_question_become_positive_to_each_other():
    found = curate(Collection.of({"anchor": ["Who?", "who?", "why?"], "positive": ["me", "you", "because"]}))
    target = found.values("target")
    assert target[0] == target[1] != target[2] and found.sides().target == "target"
    alone = curate(Collection.of({"anchor": ["who?", "why?"], "positive": ["me", "because"]}))
    assert "target" not in alone.columns


def test_neighbours_by_vectors_and_what_is_wrong_with_them():
    z = np.asarray([[1, 0], [0.9999, 0.01], [0, 1], [0, 0]], np.float32)
    made = Collection.of({"id": list("abcd"), "text": ["w", "x", "y", "z"], "label": [1, 2, 3, 4]})
    found = curate(made, embeddings=z)
    assert groups_of(found) == [["a", "b"], ["c"], ["d"]]
    assert links(found).to_pylist()[0]["rule"] == "neighbouring vectors"
    with pytest.raises(DataError, match="one row for each"):
        curate(made, embeddings=z[:2])
    with pytest.raises(DataError, match="NaN"):
        curate(made, embeddings=np.full((4, 2), np.nan))


def test_without_the_libraries_only_equal_content_is_found_and_said(tmp_path, monkeypatch):
    image = noise(0, 120, 90)
    image.save(tmp_path / "one thing.png")
    image.resize((240, 180)).save(tmp_path / "larger copy.png")
    found = read(tmp_path)
    monkeypatch.setattr("tellapart.data.identity.installed", lambda name: False)
    made = curate(found)
    assert len(groups_of(made)) == 2 and any("imagehash is not installed" in n for n in about(made)["notes"])
    text = curate(Collection.of({"text": ["a", "b"], "label": [1, 2]}))
    assert any("datasketch is not installed" in n for n in about(text)["notes"])


def test_one_item_and_all_duplicates():
    one = curate(Collection.of({"text": ["alone"], "label": [1]}))
    assert one.numbers("group").tolist() == [0]
    same = curate(Collection.of({"text": ["same"] * 5, "label": [1] * 5}))
    assert same.numbers("group").tolist() == [0] * 5 and len(links(same)) == 4


def test_columns_of_the_users_own_are_kept_out_of_the_way_and_said(tmp_path):
    own = {"text": ["a cat", "a dog", "a cat"], "label": [1, 2, 1], "near": ["x", "y", "z"], "group": [7, 8, 9],
           "source_group": ["p", "q", "r"], "origin": ["France", "Spain", "Italy"]}  # fmt: skip
    given = Collection.of(own)
    made = curate(given, cache=tmp_path)
    assert made.values("source_near") == ["x", "y", "z"] and made.values("source_group_") == [7, 8, 9]
    assert made.values("source_group") == ["p", "q", "r"] and made.values("source_origin") == own["origin"]
    assert made.numbers("near").tolist() == made.numbers("group").tolist() == [0, 1, 0]
    said = about(made)["notes"]
    assert "the column 'near' is kept as 'source_near', because curation writes a column of that name" in said
    again = curate(made)
    assert again.columns == made.columns and again.fingerprint == made.fingerprint
    assert curate(given, cache=tmp_path).fingerprint == made.fingerprint


def test_curating_twice_gives_the_same_and_saving_keeps_the_links(tmp_path, pictures):
    found = curate(read(pictures))
    assert curate(found).fingerprint == found.fingerprint
    found.save(tmp_path / "saved")
    assert links(Collection.open(tmp_path / "saved")).equals(links(found))
    assert json.dumps(about(found)["groups_at"])


def test_a_chain_of_small_steps_makes_no_group_of_far_things_but_no_split_cuts_it():
    n = 30
    place = np.arange(n)

    def guard(one, other):
        return bool(np.abs(place[one][:, None] - place[other]).max() <= 2)

    steps = np.arange(n - 1)
    found = join(n, [Links("step", steps, steps + 1, np.ones(n - 1, np.float32), np.ones(n - 1, bool), guard)])
    widest = max(np.ptp(place[found.group == g]) for g in np.unique(found.group))
    assert widest <= 2 and found.refused > 0
    assert (found.near == 0).all()


@given(
    n=st.integers(1, 40),
    pairs=st.lists(st.tuples(st.integers(0, 39), st.integers(0, 39), st.booleans()), max_size=60),
)
@settings(max_examples=100, deadline=None)
def test_groups_are_the_connected_components(n, pairs):
    pairs = [(a % n, b % n, t) for a, b, t in pairs if a % n != b % n]
    a, b, tight = (np.asarray([p[i] for p in pairs], dtype=d) for i, d in enumerate((np.int64, np.int64, bool)))
    found = join(n, [Links("r", a, b, np.zeros(len(a), np.float32), tight)])

    def components(edges):
        reach = np.eye(n, dtype=bool)
        for x, y in edges:
            reach[x, y] = reach[y, x] = True
        for _ in range(n):
            reach = (reach.astype(int) @ reach.astype(int)) > 0
        return reach

    assert ((found.group[:, None] == found.group) == components([(x, y) for x, y, t in pairs if t])).all()
    assert ((found.near[:, None] == found.near) == components([(x, y) for x, y, _ in pairs])).all()
    sizes = np.bincount(found.group)
    assert sum(link is not None for link in found.links) == (sizes - 1).sum()
    for row, link in enumerate(found.links):
        assert link is None or found.group[link[0]] == found.group[row]


@pytest.mark.parametrize("force_pieces", [False, True])
def test_hamming_pairs_miss_nothing(force_pieces, monkeypatch):
    if force_pieces:
        monkeypatch.setattr("tellapart.data.neighbours.ALL_PAIRS", 0)
    rng = np.random.default_rng(0)
    base = rng.integers(0, 256, (60, 32), dtype=np.uint8)
    near = base.copy()
    for row in range(60):
        for bit in rng.integers(0, 256, row % 12):
            near[row, bit // 8] ^= 1 << (bit % 8)
    codes = np.concatenate([base, near])
    expected = []
    for i in range(len(codes)):
        for j in range(i + 1, len(codes)):
            bits = sum(int(x ^ y).bit_count() for x, y in zip(codes[i].tolist(), codes[j].tolist(), strict=True))
            if bits <= 8:
                expected.append((i, j, bits))
    a, b, d = hamming_pairs(codes, 8)
    assert list(zip(a.tolist(), b.tolist(), d.astype(int).tolist(), strict=True)) == expected


@pytest.mark.parametrize("faiss", [True, False])
def test_cosine_pairs_are_those_of_plain_loops(faiss, monkeypatch):
    if not faiss:
        monkeypatch.setattr("tellapart.core.close.installed", lambda name: False)
    monkeypatch.setattr("tellapart.core.close.BLOCK", 7)
    z = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    z[5] = 0
    a, b, _ = cosine_pairs(z, 0.9)
    unit = [v / max(np.linalg.norm(v), 1e-12) for v in z.astype(float)]
    expected = [(i, j) for i in range(40) for j in range(i + 1, 40) if float(unit[i] @ unit[j]) >= 0.9]
    assert list(zip(a.tolist(), b.tolist(), strict=True)) == expected


def test_close_vectors_are_found_among_many_as_among_few(monkeypatch):
    rng = np.random.default_rng(0)
    z = rng.normal(size=(3000, 16)).astype(np.float32)
    z[2000:2600] = 3 * (z[:600] + 0.05 * rng.normal(size=(600, 16)))
    z[2700:2720], z[2750] = z[7], 0
    exact = cosine_pairs(z, 0.98)
    monkeypatch.setattr("tellapart.core.close.ALL_PAIRS", 1000)
    told = []
    a, b, cosine = cosine_pairs(z, 0.98, lambda done, of: told.append((done, of)))
    pairs, true = set(zip(a.tolist(), b.tolist(), strict=True)), set(zip(*(x.tolist() for x in exact[:2]), strict=True))
    assert pairs <= true and len(true) > 600 and len(pairs) >= 0.99 * len(true)
    unit = z / np.linalg.norm(z, axis=1, keepdims=True).clip(1e-12)
    np.testing.assert_allclose(cosine, np.einsum("nd,nd->n", unit[a], unit[b]), atol=1e-6)
    assert (np.diff(a * 3000 + b) > 0).all() and told[-1] == (3000, 3000)


def test_text_pairs_find_what_jaccard_says():
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghij"), 6)) for _ in range(200)]
    base = [" ".join(rng.choice(words, 20)) for _ in range(40)]
    texts = base + [t.replace(t.split()[3], "changed", 1) for t in base]
    a, b, score = text_pairs(texts, 0.8, 0.9)
    expected = {
        (i, j) for i in range(80) for j in range(i + 1, 80) if jaccard(shingles(texts[i]), shingles(texts[j])) >= 0.8
    }
    assert set(zip(a.tolist(), b.tolist(), strict=True)) == expected and len(expected) >= 30
    assert (score >= 0.8).all()


def test_texts_that_are_all_alike_are_connected_without_comparing_all():
    constant = "as we said on an earlier page about this very matter, and as our readers have often asked us to repeat"
    texts = [
        f"{constant}, the answer is {i * 7919 % 10_000} and no other number, {constant[::-1]}" for i in range(1000)
    ]
    a, b, score = text_pairs(texts, 0.8, 0.9)
    assert len(a) < 10 * len(texts) and (score >= 0.8).all()
    found = join(len(texts), [Links("r", a, b, 1 - score, np.ones(len(a), bool))])
    assert np.bincount(found.near).max() > 0.95 * len(texts)


@given(st.text())
def test_normalising_twice_is_normalising_once(text):
    assert normal(normal(text)) == normal(text)
