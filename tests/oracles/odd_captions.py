"""The rules caption by caption, cosines pair by pair."""

from __future__ import annotations

import math

import numpy as np

from tellapart.core.collection import Collection

CASES: list[dict] = [
    {}, {"shortest": 8, "usual": 1.0}, {"repeats": 3, "alike": 0.4}, {"usual": 0.0}, {"repeats": 7, "usual": 0.5},
]  # fmt: skip

NOTHING = [
    "  ",
    "...",
    "N/A",
    "Untitled",
    "IMG_0042",
    "holiday.JPG",
    "--",
    "\N{FULLWIDTH LATIN SMALL LETTER N}/a",
    "\u2026",
]
SHORT = ["ox", "a cat", "Fog", "7"]
PLAIN = ["A red fox in the snow", "two boats on a lake, far away", "the old mill at dawn", "N/A is not available here"]


def world(seed):
    """Captions with and without words; four that repeat: with unlike items, alike items, copies, and too seldom."""
    rng = np.random.default_rng(seed)
    said = [*NOTHING, *SHORT, *PLAIN] + [f"thing that is number {i} of many" for i in range(60)]
    said += (
        ["an image"] * 5 + ["An  IMAGE "] * 2 + ["a sneaker"] * 6 + ["one thing shown six times"] * 6 + ["twice"] * 2
    )
    z = rng.normal(size=(len(said), 6))
    group = np.arange(len(said))
    alike = [i for i, text in enumerate(said) if text == "a sneaker"]
    z[alike] = 3 * rng.normal(size=6) + 0.5 * z[alike]
    copies = [i for i, text in enumerate(said) if text.startswith("one thing shown")]
    group[copies] = copies[0]
    return said, z, group


def plain(text):
    """Lower case, single spaces, wide letters as narrow ones."""
    return " ".join(text.replace("\N{FULLWIDTH LATIN SMALL LETTER N}", "n").lower().split())


def nothing(text):
    letters = "".join(c for c in text if c.isalnum())
    return letters in ("", "na", "untitled", "img0042") or text.endswith(".jpg")


def check(build, options):
    shortest, repeats = options.get("shortest", 5), options.get("repeats", 4)
    alike, usual = options.get("alike", 0.1), options.get("usual", 0.01)
    for seed in range(4):
        said, z, group = world(seed)
        n = len(said)
        columns = {"text": said, "image": [f"{i}.png" for i in range(n)], "group": group}
        collection = Collection.of(columns)
        found = build(**options)({"document": z.astype(np.float32)}, collection, seed=0)
        middle = [sum(z[i][d] for i in range(n)) / n for d in range(6)]
        u = []
        for row in z:
            moved = [a - b for a, b in zip(row, middle, strict=True)]
            u.append([v / math.hypot(*moved) for v in moved])
        texts = [plain(text) for text in said]
        count = [sum(c.isalnum() for c in text) for text in texts]
        few = [not nothing(t) and c < shortest for t, c in zip(texts, count, strict=True)]
        usually = sum(few) / n > usual
        for i, row in enumerate(found.rows()):
            score, action = 0.0, "look"
            if few[i] and not usually:
                score = 1 - (count[i] + 1) / (2 * shortest)
            seen, own = set(), []
            for j in range(n):
                if texts[j] == texts[i] and group[j] not in seen:
                    seen.add(group[j])
                    own.append(j)
            if len(own) >= repeats:
                cosines = [sum(a * b for a, b in zip(u[j], u[k], strict=True)) for j in own for k in own if j != k]
                generic = min(1, max(0, (1 - sum(cosines) / len(cosines)) / (1 - alike) / 2))
                if generic >= score:
                    score, action = generic, "drop"
            if nothing(texts[i]):
                score, action = 1.0, "drop"
            assert abs(row["score"] - score) < 1e-5, (said[i], row["score"], score)
            assert score < 0.5 or row["action"] == action, said[i]
        proposed = {row["item"] for row in found.proposed().rows()}
        assert proposed == {row["item"] for row in found.rows() if row["score"] >= 0.5}
    check_defaults(build)


def check_defaults(build):
    """What is proposed as it comes: nothing said and one caption for unlike items, and no name of alike items."""
    said, z, group = world(9)
    collection = Collection.of({"text": said, "image": [f"{i}.png" for i in range(len(said))], "group": group})
    found = build()({"document": z}, collection, seed=0).proposed().rows()
    texts = {said[int(row["item"])] for row in found}
    assert {"an image", "An  IMAGE ", *NOTHING} == texts and all(row["action"] == "drop" for row in found)
