"""Each edit of source text by its counts, with kinds from Python's own tokeniser; prose; what is refused."""

from __future__ import annotations

import io
import keyword
import tokenize
from collections import Counter

import numpy as np
import pytest

from tellapart.core.errors import PartError

CASES: list[dict] = [{}, {"share": 0.6, "mask": "<mask>"}, {"share": 1.0}]
TEXT = """def area(width, height):
    if (width < 3) and (height == 4):
        return width * height  # flat
    raise 17
"""
PROSE = "the area of a wide and rather high thing"


def check(build, options):
    share, mask = options.get("share", 0.15), options.get("mask", "[MASK]")
    part, times = build(**options), 2000
    tokens = _tokens()
    edits, touched, of_kind = Counter(), Counter(), Counter()
    for seed in range(times):
        made = part(TEXT, rng=np.random.default_rng(seed))
        pieces = _read(made, tokens, mask)
        changed = [(what, kind) for what, (_, kind) in zip(pieces, tokens, strict=True) if what != "same"]
        kinds, whats = {kind for _, kind in changed}, {what for what, _ in changed}
        assert not {"kind", "other"} <= whats and not {"kind", "mask"} <= whats, "two edits of one text"
        edits[frozenset(whats), len(kinds)] += 1
        for what, kind in changed:
            touched[what] += 1
            of_kind[kind] += 1
    n, sizes = len(tokens), Counter(kind for _, kind in tokens)
    # any token in one edit of four; tokens of one kind, each kind equally likely, in another: n / kinds at a time
    one, every = times / 4 * share * n / len(sizes), times / 4 * share * n
    assert abs(touched["mask"] / (0.8 * (every + one)) - 1) < 0.12
    assert abs(touched["kind"] / (0.8 * (every + one)) - 1) < 0.12
    repeats = sum(v * v for v in Counter(word for word, _ in tokens).values()) / n**2
    assert abs(touched["other"] / (0.1 * every * (1 - repeats)) - 1) < 0.35
    for kind, size in sizes.items():
        wanted = times / 4 * share * size * (0.8 + 0.8 + 2 * 0.8 / len(sizes))
        assert abs(of_kind[kind] / (wanted + times / 4 * share * size * 0.1 * (1 - repeats)) - 1) < 0.25, kind
    if share == 1.0:
        single = sum(count for (_, kinds), count in edits.items() if kinds == 1)
        assert 0.4 < single / times < 0.62, "half of the edits are of one kind"
    _prose(part, share, mask)
    with pytest.raises(PartError, match="no language 'pyhton'"):
        build(**{**options, "language": "pyhton"})(TEXT, rng=np.random.default_rng(0))


def _tokens():
    """(word, kind) of every token but white space."""
    found, before = [], ""
    for token in tokenize.generate_tokens(io.StringIO(TEXT).readline):
        kind = None
        if token.type == tokenize.NAME:
            kind = "keyword" if keyword.iskeyword(token.string) else "function" if before == "def" else "identifier"
        elif token.type == tokenize.OP:
            kind = "separator" if token.string in "():," else "operator"
        elif token.type in (tokenize.NUMBER, tokenize.COMMENT):
            kind = {tokenize.NUMBER: "number", tokenize.COMMENT: "comment"}[token.type]
        if kind:
            found.append((token.string, kind))
        before = token.string
    return found


def _read(made, tokens, mask):
    """What became of each token: same, mask, kind or other; the text is read from the left."""
    words, gaps, rest = [word for word, _ in tokens], [], TEXT
    for word in words:
        start = rest.index(word)
        gaps.append(rest[:start])
        rest = rest[start + len(word) :]
    fits = [(0, [])]
    for gap, (word, kind) in zip(gaps, tokens, strict=True):
        longer = []
        for at, whats in fits:
            for what, piece in [
                ("same", word),
                ("mask", mask),
                ("kind", f" {kind} "),
                *(("other", w) for w in set(words) - {word}),
            ]:
                if made.startswith(gap + piece, at):
                    longer.append((at + len(gap) + len(piece), [*whats, what]))
        fits = longer
    whole = [whats for at, whats in fits if made[at:] == rest]
    assert whole, made
    return min(whole, key=lambda whats: sum(what != "same" for what in whats))


def _prose(part, share, mask):
    words = PROSE.split()
    masked = 0
    for seed in range(1500):
        made = part(PROSE, rng=np.random.default_rng(seed)).split(" ")
        assert len(made) == len(words) and set(made) <= {*words, mask}, "prose has no kinds"
        masked += made.count(mask)
    assert abs(masked / (1500 * len(words) * 0.8 * share) - 1) < 0.1
