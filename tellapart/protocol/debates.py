"""Labels by several imperfect annotators, on collections whose labels are known and are only used to measure.

Data: `openmoji` (names and drawings; a label is the row of 16 code points that a drawing is from, where Unicode put
things of a kind; rows of 12 or more), `fashion` (photographs of ten kinds of clothes), `wordnet` (glosses by
lexicographer file). Three annotators vote on `items` of them, each having learnt from a few labelled ones of its own,
which are not voted on: an image head (logistic regression), a text head (nearest means of the names; where there are no
texts, of every other feature) and a vote of the five nearest. `noise` of the votes of the last are drawn at random.

Baseline `majority`: the label with most votes, of equal ones that of the annotator named first; how sure, their share.
Further ones: `Dawid-Skene`, EM of labels and of each annotator's confusions; `classifier`, logistic regression fitted
on the majority in the other folds, which sees the features as the debate does.

Metrics: `accuracy` of the labels, abstentions included; `accuracy, surest half`; `curve`, the mean accuracy of the
surest 10%, 20% … 100%, of equally sure ones the expected value. Each against the baseline and the further ones.

Options (`[options]` of the spec):
    items: how many are voted on at most (800).
    few: labelled items of each class that an annotator learns from (3).
    noise: share of random votes (0.2).
"""

from __future__ import annotations

import functools
import inspect
from collections import Counter
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.crossfit import crossed, folds_of
from tellapart.core.debate import debated
from tellapart.core.errors import DataError
from tellapart.core.features import unit_rows
from tellapart.core.parts import card_of, load, make, parse_spec
from tellapart.data.spool import cache_folder
from tellapart.protocol import _sets

Figures = dict[str, tuple[Any, Any]]
ROUNDS, NEAREST, LEAST = 50, 5, 12


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    if spec["baseline"] != "majority":
        raise DataError(f"labels by debate are compared with majority, not with {spec['baseline']}")
    options, rng = spec["options"], np.random.default_rng(np.random.SeedSequence([seed, 31]))
    x, t, y = tagged(data)
    few, names = options.get("few", 3), int(y.max()) + 1
    places = [rng.permutation(np.flatnonzero(y == c)) for c in range(names)]
    taught = [np.concatenate([place[a * few : (a + 1) * few] for place in places]) for a in range(3)]
    rows = rng.permutation(np.concatenate([place[3 * few :] for place in places]))[: options.get("items", 800)]
    votes = voted(x, t, y, taught, rows, rng, options.get("noise", 0.2))
    gold, group = y[rows], np.arange(len(rows))
    name, given = parse_spec(spec["part"])
    asked = inspect.signature(load(card_of("find", name))).parameters
    given = {option: given.get(option, asked[option].default) for option in ("k", "rounds", "sure")}
    held = debated(votes, x[rows].astype(float), group, names=names, **given)
    label, share = majority(votes, names)
    fold = folds_of(group, 5, rng)
    classes, codes = np.unique(label, return_inverse=True)
    proba = crossed(x[rows].astype(float), codes, fold, "logistic-regression(c=0.01)")
    others = {
        "": (label, share),
        ", against Dawid-Skene": dawid_skene(votes, names),
        ", against classifier": (classes[proba.argmax(axis=1)], proba.max(axis=1)),
    }
    ours = figures(held.label == gold, held.sure)
    return {
        f"{metric}{words}": (value, ours[metric])
        for words, (said, sure) in others.items()
        for metric, value in figures(said == gold, sure).items()
    }


def figures(right: np.ndarray, sure: np.ndarray) -> dict[str, float]:
    """Accuracy of all and of the surest; equally sure ones count as their mean."""
    _, level = np.unique(-sure, return_inverse=True)
    mean = (np.bincount(level, right) / np.bincount(level))[level]
    so_far = np.cumsum(mean[np.argsort(level, kind="stable")]) / np.arange(1, len(right) + 1)
    at = [max(1, round(len(right) * tenth / 10)) - 1 for tenth in range(1, 11)]
    return {
        "accuracy": float(right.mean()),
        "accuracy, surest half": float(so_far[at[4]]),
        "curve": float(so_far[at].mean()),
    }


def majority(votes: np.ndarray, names: int) -> tuple[np.ndarray, np.ndarray]:
    """([n] label with most votes, of equal ones that of the first annotator; [n] its share)."""
    counts = (votes[:, :, None] == np.arange(names)).sum(axis=1)
    most = counts.max(axis=1)
    own = np.take_along_axis(counts, votes, axis=1) == most[:, None]
    return votes[np.arange(len(votes)), own.argmax(axis=1)], most / votes.shape[1]


def dawid_skene(votes: np.ndarray, names: int) -> tuple[np.ndarray, np.ndarray]:
    """([n] likeliest label, [n] its probability) by EM, begun at the shares of votes; Dawid and Skene, 1979.

    p_c = mean of T_ic; pi_acv = sum_i T_ic [v_ia = v] / sum_i T_ic, with 0.01 added to every count; T_ic in proportion
    to p_c prod_a pi_acv. Every annotator votes on every item.
    """
    one_hot = (votes[:, :, None] == np.arange(names)).astype(float)
    of = one_hot.mean(axis=1)
    for _ in range(ROUNDS):
        confusion = np.einsum("ic,iav->acv", of, one_hot) + 0.01
        confusion /= confusion.sum(axis=2, keepdims=True)
        logits = np.log(of.mean(axis=0) + 1e-12) + np.einsum("iav,acv->ic", one_hot, np.log(confusion))
        of = np.exp(logits - logits.max(axis=1, keepdims=True))
        of /= of.sum(axis=1, keepdims=True)
    return of.argmax(axis=1), of.max(axis=1)


def voted(
    x: np.ndarray,
    t: np.ndarray,
    y: np.ndarray,
    taught: list[np.ndarray],
    rows: np.ndarray,
    rng: np.random.Generator,
    noise: float,
) -> np.ndarray:
    """[n, 3] votes on some rows by annotators that were taught by others."""
    image = make("classify", "logistic-regression").fit(x[taught[0]], y[taught[0]])
    text = make("classify", "nearest-mean").fit(t[taught[1]], y[taught[1]])
    likeness = unit_rows(x[rows]) @ unit_rows(x[taught[2]]).T
    near = y[taught[2]][np.argsort(-likeness, axis=1, kind="stable")[:, :NEAREST]]
    nearest = np.array([Counter(row.tolist()).most_common(1)[0][0] for row in near])
    wrong = rng.random(len(rows)) < noise
    nearest[wrong] = rng.integers(0, y.max() + 1, int(wrong.sum()))
    return np.column_stack([image.predict(x[rows]), text.predict(t[rows]), nearest])


@functools.cache
def tagged(data: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(features [n, d], what the text head sees [n, e], labels [n])."""
    if data in ("fashion", "wordnet"):
        held = _sets.load(data)
        return held.x, held.x[:, ::2], np.unique(held.y, return_inverse=True)[1]
    if data != "openmoji":
        raise DataError(f"labels by debate are judged on openmoji, fashion and wordnet, not on {data!r}")
    from tellapart.engine.embed import embed

    made, cache = _sets.shipped("openmoji"), cache_folder(None, "evidence-vectors")
    made = made.take(np.sort(np.unique(made.codes("concept")[0], return_index=True)[1]))
    theme = np.array([_theme(str(code)) for code in made.ids])
    size = Counter(theme.tolist())
    made, theme = _kept(made, theme, np.array([one >= 0 and size[one] >= LEAST for one in theme.tolist()]))
    image, text = (np.array(embed(made, c, make("encode", e), cache=cache)) for c, e in SIDES.items())
    return image, text, np.unique(theme, return_inverse=True)[1]


SIDES = {"image": "lite0", "text": "minilm"}


def _theme(code: str) -> int:
    return int(code, 16) >> 4 if "-" not in code and 0x1F300 <= int(code, 16) < 0x1FB00 else -1


def _kept(made: Collection, theme: np.ndarray, kept: np.ndarray) -> tuple[Collection, np.ndarray]:
    return made.take(np.flatnonzero(kept)), theme[kept]
