"""What every classifier promises. A check takes a factory of fresh parts and raises AssertionError.

Traits: `stream` (has `observe`), `unlabelled` (`fit` also takes `unlabelled=`, [m, d] vectors without a label),
`topics` (`similarity` gives [n, classes] cosines by which the items of a class can be ranked).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tellapart.core.errors import TellapartError
from tellapart.core.parts import Card

Build = Callable[..., Any]
Check = Callable[[Build], None]

CLOSE = 1e-4


def planted(seed: int, *, classes: int = 3, each: int = 20, dim: int = 8) -> tuple[np.ndarray, np.ndarray]:
    """Well separated clusters in directions of their own: x [n, dim] float32, y [n] words, in mixed order."""
    rng = np.random.default_rng(seed)
    centres = 4 * np.eye(dim)[:classes]
    codes = rng.permutation(np.repeat(np.arange(classes), each))
    x = centres[codes] + rng.normal(scale=0.5, size=(len(codes), dim))
    return x.astype(np.float32), np.array([f"class {c}" for c in range(classes)])[codes]


def doubtful(seed: int, *, classes: int = 3, dim: int = 8) -> np.ndarray:
    """[40, dim] float32 items that lie about half way between two clusters, where probabilities are neither 0 nor 1."""
    rng = np.random.default_rng(seed)
    pair = np.array([rng.choice(classes, size=2, replace=False) for _ in range(40)])
    centres = 4 * np.eye(dim)[:classes]
    return (centres[pair].mean(axis=1) + rng.normal(scale=0.05, size=(40, dim))).astype(np.float32)


def check_probabilities(build: Build) -> None:
    """[n, classes], finite, not negative, rows sum to 1, columns in the order of sorted labels."""
    x, y = planted(0)
    part = build().fit(x, y)
    p = part.predict_proba(x)
    assert list(part.classes_) == sorted(set(y)), f"classes_ must be the sorted labels, it is {part.classes_!r}"
    assert p.shape == (len(x), 3), f"probabilities must be [n, classes], they are {p.shape}"
    assert np.isfinite(p).all() and (p >= 0).all(), "probabilities must be finite and not negative"
    assert np.allclose(p.sum(axis=1), 1, atol=1e-5), "rows of probabilities must sum to 1"


def check_learns(build: Build) -> None:
    """Clusters that anybody can tell apart are told apart, on items not seen in fitting."""
    part = build().fit(*planted(1))
    x, y = planted(2)
    share = float((part.classes_[part.predict_proba(x).argmax(axis=1)] == y).mean())
    assert share >= 0.95, f"only {share:.2f} right on clusters that lie far apart"


def check_predict_is_likeliest(build: Build) -> None:
    """`predict` names the class of the largest probability."""
    part = build().fit(*planted(3))
    x = doubtful(4)
    assert np.array_equal(part.predict(x), part.classes_[part.predict_proba(x).argmax(axis=1)]), (
        "predict and predict_proba name different classes"
    )


def check_no_batch_mates(build: Build) -> None:
    """An item's probabilities do not depend on what else is in the batch, nor on how the batch is cut."""
    part = build().fit(*planted(5))
    x = doubtful(6)
    whole = part.predict_proba(x)
    alone = np.concatenate([part.predict_proba(x[i : i + 1]) for i in range(len(x))])
    halves = np.concatenate([part.predict_proba(x[:9]), part.predict_proba(x[9:])])
    assert np.allclose(whole, alone, atol=CLOSE), "an item alone has other probabilities than in a batch"
    assert np.allclose(whole, halves, atol=CLOSE), "a batch in two chunks has other probabilities than whole"


def check_refit_forgets(build: Build) -> None:
    """A second `fit` gives what a fresh part gives, with other classes and another width too."""
    old, new = planted(7, classes=4, dim=12), planted(8)
    again, fresh = build().fit(*old).fit(*new), build().fit(*new)
    assert list(again.classes_) == list(fresh.classes_), "classes of an earlier fit are still there"
    x = doubtful(8)
    assert np.allclose(again.predict_proba(x), fresh.predict_proba(x), atol=CLOSE), "a refit remembers"


def check_repeatable(build: Build) -> None:
    """Equal data give an equal part; the order of the items does not matter."""
    x, y = planted(9)
    order = np.random.default_rng(10).permutation(len(x))
    probe = doubtful(10)
    first = build().fit(x, y).predict_proba(probe)
    assert np.array_equal(first, build().fit(x, y).predict_proba(probe)), "two fits on equal data differ"
    mixed = build().fit(x[order], y[order]).predict_proba(probe)
    assert np.allclose(first, mixed, atol=1e-3), "the order of the items matters"


def check_numbers_as_labels(build: Build) -> None:
    """Labels may be numbers with gaps; `predict` gives them back."""
    x, y = planted(11)
    y = np.array([{"class 0": 7, "class 1": -2, "class 2": 40}[v] for v in y])
    assert set(build().fit(x, y).predict(x).tolist()) == {-2, 7, 40}, (
        "number labels do not come back as they were given"
    )


def check_class_added(build: Build) -> None:
    """After a fit with one class more, the new class is found."""
    x, y = planted(12, classes=4)
    few = y != "class 3"
    part = build().fit(x[few], y[few])
    assert len(part.classes_) == 3, "a class that was not given is there"
    part.fit(x, y)
    assert float((part.predict(x[~few]) == "class 3").mean()) >= 0.95, "an added class is not found"


def check_observe_is_fit(build: Build) -> None:
    """`observe` in pieces, with a class that was new, gives what one `fit` on all gives."""
    x, y = planted(13, classes=4)
    late = y == "class 3"
    part = build().fit(x[~late][:30], y[~late][:30])
    part.observe(x[~late][30:], y[~late][30:]).observe(x[late], y[late])
    whole = build().fit(x, y)
    assert list(part.classes_) == list(whole.classes_), "observe does not add the new class"
    probe = doubtful(13, classes=4)
    assert np.allclose(part.predict_proba(probe), whole.predict_proba(probe), atol=CLOSE), (
        "observing is not fitting on all"
    )


def check_input_unchanged(build: Build) -> None:
    """Neither fitting nor predicting changes what was given."""
    x, y = planted(14)
    given, marks = x.copy(), y.copy()
    build().fit(x, y).predict_proba(x)
    assert np.array_equal(x, given) and np.array_equal(y, marks), "the input was changed in place"


def check_bad_input(build: Build) -> None:
    """What cannot be used is refused in words: one class, holes, other lengths or widths, nothing, not fitted."""
    x, y = planted(15)
    holed, endless = x.copy(), x.copy()
    holed[3, 1], endless[3, 1] = np.nan, np.inf
    part = build().fit(x, y)
    refused: dict[str, Callable[[], Any]] = {
        "one class": lambda: build().fit(x, np.repeat("a", len(x))),
        "values that are not numbers": lambda: build().fit(holed, y),
        "infinite values": lambda: build().fit(endless, y),
        "fewer labels than items": lambda: build().fit(x, y[:-1]),
        "a missing label": lambda: build().fit(x, [None, *y[1:].tolist()]),
        "no items": lambda: build().fit(x[:0], y[:0]),
        "a vector in place of a matrix": lambda: build().fit(x[:, 0], y),
        "another width": lambda: part.predict_proba(x[:, :5]),
        "values that are not numbers in predicting": lambda: part.predict_proba(holed),
        "a part that was not fitted": lambda: build().predict_proba(x),
    }
    for what, call in refused.items():
        must_refuse(what, call)


def aside(seed: int, *, each: int = 40, dim: int = 8) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """x, y: one item a class that leans towards the next class; and many without a label, with their true ones."""
    rng = np.random.default_rng(seed)
    centres = 4 * np.eye(dim)[:3]
    codes = rng.permutation(np.repeat(np.arange(3), each))
    unlabelled = centres[codes] + rng.normal(scale=0.5, size=(len(codes), dim))
    x = 0.53 * centres + 0.47 * np.roll(centres, -1, axis=0)
    names = np.array([f"class {c}" for c in range(3)])
    return x.astype(np.float32), names, unlabelled.astype(np.float32), names[codes]


def check_unlabelled(build: Build) -> None:
    """Items without a label make up for labelled ones that stand aside; their order says nothing; none is changed."""
    for seed in range(3):
        x, y, u, truth = aside(seed)
        given, rng = u.copy(), np.random.default_rng(seed)
        part = build().fit(x, y, unlabelled=u)
        assert np.array_equal(u, given), "the unlabelled items were changed in place"
        with_them, without = ((p.predict(u) == truth).mean() for p in (part, build().fit(x, y)))
        assert with_them >= max(0.95, without), f"{with_them:.2f} right with unlabelled items, {without:.2f} without"
        again = build().fit(x, y, unlabelled=u[rng.permutation(len(u))])
        probe = doubtful(seed)
        assert np.allclose(part.predict_proba(probe), again.predict_proba(probe), atol=1e-3), (
            "the order of the unlabelled items matters"
        )
    holed = u.copy()
    holed[2, 1] = np.nan
    must_refuse("unlabelled items of another width", lambda: build().fit(x, y, unlabelled=u[:, :5]))
    must_refuse("unlabelled items that are not finite", lambda: build().fit(x, y, unlabelled=holed))


def check_topics(build: Build) -> None:
    """`similarity` gives cosines in the order of `classes_`; the greatest is the class that is predicted."""
    part, probe = build().fit(*planted(16)), doubtful(16)
    cosine = part.similarity(probe)
    assert cosine.shape == (len(probe), len(part.classes_)), f"similarities have the shape {cosine.shape}"
    assert (np.abs(cosine) <= 1 + CLOSE).all(), "a similarity is no cosine"
    assert np.allclose(part.similarity(3 * probe), cosine, atol=CLOSE), "the length of an item counts"
    assert (part.classes_[cosine.argmax(axis=1)] == part.predict(probe)).all(), "the nearest class is not predicted"


def must_refuse(what: str, call: Callable[[], Any]) -> None:
    """Assert that the call raises an error meant for people, of some length."""
    try:
        call()
    except TellapartError as error:
        assert len(str(error)) >= 15, f"{what} is refused with too few words: {error}"
    except Exception as error:
        raise AssertionError(f"{what} ends in {type(error).__name__}: {error}") from error
    else:
        raise AssertionError(f"{what} is taken without a word")


def checks(card: Card) -> list[Check]:
    """The checks that apply to a part, by its traits."""
    always = [
        check_probabilities, check_learns, check_predict_is_likeliest, check_no_batch_mates, check_refit_forgets,
        check_repeatable, check_numbers_as_labels, check_class_added, check_input_unchanged, check_bad_input,
    ]  # fmt: skip
    always += [check_unlabelled] if "unlabelled" in card.traits else []
    always += [check_topics] if "topics" in card.traits else []
    return always + ([check_observe_is_fit] if "stream" in card.traits else [])
