"""Pictures of known quality: the same ones, damaged in several ways at a graded severity.

Pictures (`openmoji`, `fashion`) of 64 x 64 are damaged in one of four ways (blur, rescaled, noise, jpeg) at a severity
drawn between 0 and 5; the grade is the severity, turned round. Features are those of EfficientNet-Lite0.
Pictures of the test are none of those that are trained on. Figures are rank correlations (Spearman) with the grade, of
all test pictures together.

**compare2score**: the baseline `direct` is a network of the same size that predicts the grade. Metrics: `SRCC, same
kinds` (of damage), `SRCC, other kinds` (trained on blur and noise, asked about rescaled and jpeg; both tuned on
validation pictures, over as many axes of the features), and of one comparator `SRCC, hard wins against soft` (ten
anchors), `SRCC, Bradley and Terry against Thurstone`, and `SRCC, one anchor against ten`.

**q-eval**: `SRCC` and `Pearson, likeliest word against expected`, and `SRCC, regression against expected` (a ridge
regression), the strengths of both tuned.

Options (`[options]` of the spec): items: that are trained on (400).
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np

from tellapart.core.corruptions import REGISTRY
from tellapart.core.errors import DataError
from tellapart.core.linear import ridge_map
from tellapart.core.parts import make, parse_spec
from tellapart.core.thurstone import scores_of
from tellapart.protocol import _sets

KINDS, SIDE, PICTURES, HELD = ("blur", "rescaled", "noise", "jpeg"), 64, 1000, 200
SEEN, DIMS, RIDGES = ("blur", "noise"), (16, 48), (0.001, 0.01, 0.1, 1.0)
DECAYS = (0.001, 0.01, 0.1)
Figures = dict[str, tuple[Any, Any]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    name = parse_spec(spec["part"])[0]
    if name not in ("compare2score", "q-eval"):
        raise DataError(f"the protocol graded knows compare2score and q-eval, not {name}")
    x, grade, kind = damaged(data)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 21]))
    test, validation, train = np.split(rng.permutation(len(x)), [HELD, 2 * HELD])
    train = train[: spec["options"].get("items", 400)]
    if name == "q-eval":
        return words(x, grade, train, validation, test)
    known = np.isin(kind, [KINDS.index(k) for k in SEEN])
    same = compared(x, grade, train, validation, test, seed)
    other = compared(x, grade, train[known[train]], validation[known[validation]], test[~known[test]], seed)
    found = {"SRCC, same kinds": same.pop("direct"), "SRCC, other kinds": other["direct"]}
    return found | {f"SRCC, {name}": pair for name, pair in same.items()}


def compared(
    x: np.ndarray, y: np.ndarray, train: np.ndarray, validation: np.ndarray, test: np.ndarray, seed: int
) -> dict[str, tuple[float, float]]:
    """Rank correlations on test pictures, of a comparator in several readings and of a network for the grade itself."""
    parts = [make("score", "compare2score", dim=dim, seed=seed).fit(x[train], y[train]) for dim in DIMS]
    ours = max(parts, key=lambda part: srcc(part.score(x[validation]), y[validation]))
    nets = [direct(x[train], y[train], dim, seed) for dim in DIMS]
    net = max(nets, key=lambda told: srcc(told(x[validation]), y[validation]))
    wins = ours.wins(x[test])
    hard, soft = (wins[:, -1, :-1] > 0.5).sum(axis=1), srcc(ours.score(x[test]), y[test])
    one = make("score", "compare2score", dim=ours.dim, seed=seed, anchors=1).fit(x[train], y[train])
    return {
        "direct": (srcc(net(x[test]), y[test]), soft),
        "hard wins against soft": (srcc(hard, y[test]), soft),
        "Bradley and Terry against Thurstone": (srcc(scores_of(wins, link="logistic")[:, -1], y[test]), soft),
        "one anchor against ten": (srcc(one.score(x[test]), y[test]), soft),
    }


def direct(x: np.ndarray, y: np.ndarray, dim: int, seed: int) -> Any:
    """A network of one hidden layer, as wide as the comparator's, from principal axes to the grade."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPRegressor

    middle = x.mean(axis=0)
    _, size, turn = np.linalg.svd(x - middle, full_matrices=False)
    turn = (turn[:dim] / size[:dim, None]).T * np.sqrt(len(x))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        net = MLPRegressor(hidden_layer_sizes=(64,), max_iter=200, alpha=1e-3, random_state=seed)
        net.fit((x - middle) @ turn, (y - y.mean()) / y.std())
    return lambda items: net.predict((items - middle) @ turn)


def words(x: np.ndarray, y: np.ndarray, train: np.ndarray, validation: np.ndarray, test: np.ndarray) -> Figures:
    """The expected value of five words, beside the likeliest of them and a regression."""
    tried = [(dim, decay) for dim in (48, 128) for decay in DECAYS]
    parts = [make("score", "q-eval", dim=dim, decay=decay).fit(x[train], y[train]) for dim, decay in tried]
    part = max(parts, key=lambda p: srcc(p.score(x[validation]), y[validation]))
    maps = [ridge_map(x[train], y[train, None], ridge) for ridge in RIDGES]
    plain = max(maps, key=lambda told: srcc(told(x[validation])[:, 0], y[validation]))
    expected, likeliest = part.score(x[test]), part.probabilities(x[test]).argmax(axis=1)
    return {
        "SRCC, likeliest word against expected": (srcc(likeliest, y[test]), srcc(expected, y[test])),
        "Pearson, likeliest word against expected": (
            float(np.corrcoef(likeliest, y[test])[0, 1]), float(np.corrcoef(expected, y[test])[0, 1]),
        ),
        "SRCC, regression against expected": (srcc(plain(x[test])[:, 0], y[test]), srcc(expected, y[test])),
    }  # fmt: skip


def srcc(said: np.ndarray, grade: np.ndarray) -> float:
    """Spearman's rank correlation; 0 where all is said alike."""
    from scipy.stats import spearmanr

    return 0.0 if np.ptp(said) == 0 else float(spearmanr(said, grade).statistic)


@functools.cache
def damaged(data: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """[n, d] features, [n] grades (0 the worst, 5 undamaged) and [n] which kind of damage."""
    from tellapart.data.images import image_source, open_image

    if data not in ("openmoji", "fashion"):
        raise DataError(f"the protocol graded knows openmoji and fashion, not {data!r}")
    made = _sets.shipped(data)
    if "concept" in made.columns:
        made = made.take(np.sort(np.unique(made.codes("concept")[0], return_index=True)[1]))
    made = made.take(np.linspace(0, len(made) - 1, PICTURES).astype(int))
    rng = np.random.default_rng(7)
    kind, severity = rng.integers(0, len(KINDS), PICTURES), rng.uniform(0, 5, PICTURES)
    held = []
    for row, cell in enumerate(made.values("image")):
        image = open_image(image_source(cell, made.root)).convert("RGB").resize((SIDE, SIDE))
        damage = REGISTRY[KINDS[kind[row]]]
        # Below a severity of 1 it is blended with the picture as it was.
        at = damage.at(image, max(1.0, float(severity[row])), np.random.default_rng([7, row]))
        held.append(_blend(image, at, min(1.0, float(severity[row]))))
    x = np.asarray(make("encode", "lite0", threads=1).encode(held), np.float64)
    return x, 5 - severity, kind


def _blend(image: Any, other: Any, share: float) -> Any:
    from PIL import Image

    return Image.blend(image, other, share)
