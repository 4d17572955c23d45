"""What each way costs an encoder of letters, counted query by query; what an encoder ignores costs nothing."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.report import Table

CASES: list[dict] = [{}, {"items": 40, "pool": 45, "k": 3, "but": "no small words|capitals"}]
FIRST, SECOND = (
    ("Café", "Naïve", "Blüte", "Garçon", "Señor", "Crème"),
    ("zeta", "query", "wharf", "jumble", "vixen", "moth"),
)
THIRD = ("oak", "elm", "fir")
DOCS = [f"{a} - the {b}, {c}!" for a in FIRST for b in SECOND for c in THIRD][:64]


def letters(texts):
    """How often each sign stands in a text: capitals and accents are other signs, order is none."""
    z = np.zeros((len(texts), 512))
    for row, text in enumerate(texts):
        for sign in text:
            z[row, ord(sign) % 512] += 1
    return z + 1e-3


def folded(texts):
    """Letters that are left of case, accents and punctuation."""
    kept = ["".join(s for s in unicodedata.normalize("NFD", t.lower()) if s.isalpha()) for t in texts]
    return letters(kept)


def unit(z):
    return z / np.linalg.norm(z, axis=1, keepdims=True)


def hit(asked, row, k):
    q = unit(letters([asked]))[0]
    own = float(q @ KNOWN[row])
    return sum(float(q @ z) > own + 1e-6 for j, z in enumerate(KNOWN) if j != row) < k


KNOWN = unit(letters(DOCS))


def check(build, options):
    names, told = [f"d{i:02d}" for i in range(len(DOCS))], [f"about {d}" for d in DOCS]
    collection = Collection.of({"id": names, "anchor": DOCS, "positive": told})
    vectors = {"k": letters(DOCS), "text-encoder": letters}
    report = build(**options)(vectors, collection, seed=3)
    found, k = {f.figure.name: f for f in report.findings()}, options.get("k", 10)
    without = options.get("but", "").split("|")
    asked = [
        w for w in ("capitals", "small letters", "no accents", "no punctuation", "no small words") if w not in without
    ]
    assert list(found) == [f"drop with {w}" for w in [*asked, "a spelling mistake"]]
    count, n = report.facts["queries"], report.facts["documents"]
    assert (count, n) == (min(options.get("items", 200), 64), min(options.get("pool", 2000), 64))
    made = {
        "capitals": str.upper,
        "small letters": str.lower,
        "no punctuation": lambda t: t.replace(" - ", " ").strip("!").replace(",", ""),
        "no accents": lambda t: "".join(s for s in unicodedata.normalize("NFD", t) if not unicodedata.combining(s)),
        "no small words": lambda t: t.replace("the ", ""),
    }
    if n == 64:  # every document is in the pool, so that hits can be counted without knowing what was drawn
        for way in asked:
            one = found[f"drop with {way}"]
            changed = [i for i in range(64) if made[way](DOCS[i]) != DOCS[i]]
            drops = {names[i]: hit(DOCS[i], i, k) - hit(made[way](DOCS[i]), i, k) for i in changed}
            assert dict(zip(one.ids, one.values, strict=True)) == drops
            assert one.figure.value == pytest.approx(np.mean(list(drops.values())))
        assert found["drop with capitals"].p < 1e-3 and "not found as 'C" in found["drop with capitals"].examples[0].why
        assert next(b for b in report.blocks if isinstance(b, Table)).rows[0][1] == 64
    deaf = build(**options)({"k": folded(DOCS), "text-encoder": folded}, collection, seed=3)
    for one in deaf.findings():
        if one.figure.name.removeprefix("drop with ") in ("capitals", "small letters", "no accents", "no punctuation"):
            assert one.figure.value == 0 and one.p == 1.0
    check_mistakes(build)
    with pytest.raises(DataError, match="documents that they find"):
        build()({"k": letters(DOCS)}, collection, seed=0)


def check_mistakes(build):
    """One letter more, less, other, or two exchanged, never the first of a word; short words and other scripts stay."""
    seen, texts = [], ["Old harbour wall", "ab cd", "ক্ষুদ্র नमस्ते"] * 22

    def encode(given):
        seen.extend(given)
        return letters(given)

    held = Collection.of({"anchor": texts, "positive": texts})
    build(items=66)({"k": letters(texts), "text-encoder": encode}, held, seed=1)
    odd = [t for t in dict.fromkeys(seen) if t not in texts and t[:3] == "Old"]
    for text in odd:
        _, long, last = text.split()
        assert (long == "harbour") != (last == "wall"), "one word is mistyped"
        assert long[0] == "h" and last[0] == "w" and abs(len(text) - 16) <= 1
    assert len(odd) > 5
    assert "नमस्ते" in " ".join(seen) and "नमसत" not in " ".join(seen), "vowel signs are no accents"
