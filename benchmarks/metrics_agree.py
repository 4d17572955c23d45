"""The metrics that reports use, beside ir-measures (trec_eval), scikit-learn and SciPy, on random cases with ties.

Where scores tie, a figure of a search is its expected value over all orders of what ties. ir-measures breaks ties by
name; so every order of the tied documents is handed to it, as a query of its own, and the mean of what it says is
compared. scikit-learn and SciPy treat ties as we do. Recorded: the largest difference of each metric over all cases.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator

import numpy as np
from _record import write

CASES, TIED, DOCUMENTS, FEW, KS = 200, 200, 60, 6, (1, 3, 5, 10)


def worst(found: Iterator[tuple[str, float, float]]) -> dict[str, dict[str, float]]:
    """The largest difference and the number of comparisons of each metric."""
    out: dict[str, dict[str, float]] = {}
    for name, ours, theirs in found:
        held = out.setdefault(name, {"largest difference": 0.0, "cases": 0})
        held["largest difference"] = float(max(held["largest difference"], abs(ours - theirs)))
        held["cases"] += 1
    return out


def searches(rng: np.random.Generator) -> Iterator[tuple[str, float, float]]:
    """Figures of a search: half of the cases without ties, half with documents at three scores."""
    import ir_measures
    from ir_measures import RR, R, Success, nDCG

    from tellapart.engine.evaluate import retrieval

    kinds = ((R, "R"), (nDCG, "nDCG"), (RR, "MRR"), (Success, "Success"))
    names = {m @ k: f"{n}@{k}" for m, n in kinds for k in KS}
    for case in range(CASES + TIED):
        tied, graded = case >= CASES, case % 2 == 1
        n = FEW if tied else DOCUMENTS
        scores = rng.integers(0, 3, n).astype(float) if tied else rng.permutation(n).astype(float)
        gains = rng.integers(0, 4 if graded else 2, n)
        gains[rng.integers(n)] = 1
        relevant = {int(j): int(g) for j, g in enumerate(gains) if g}
        ours = retrieval(
            np.ones((1, 1), np.float32), scores[:, None].astype(np.float32), [relevant if graded else list(relevant)],
            ks=KS,
        )  # fmt: skip
        orders = itertools.permutations(range(n)) if tied else [np.argsort(-scores, kind="stable").tolist()]
        kept = [o for o in orders if all(scores[a] >= scores[b] for a, b in itertools.pairwise(o))]
        run = {f"o{i}": {f"d{j}": float(n - place) for place, j in enumerate(o)} for i, o in enumerate(kept)}
        truth = {name: {f"d{j}": g for j, g in relevant.items()} for name in run}
        total = dict.fromkeys(names.values(), 0.0)
        for row in ir_measures.iter_calc(list(names), truth, run):
            total[names[row.measure]] += row.value / len(kept)
        for name, value in total.items():
            yield f"{name}, {'ties' if tied else 'no ties'}, ir-measures", float(ours[name][0]), value


def others(rng: np.random.Generator) -> Iterator[tuple[str, float, float]]:
    """Detection, classes, clusters and rank correlations, on few distinct scores."""
    from scipy import stats
    from sklearn import metrics

    from tellapart.apply import _balanced
    from tellapart.core.leaderboard import kendall, spearman
    from tellapart.engine.evaluate import accuracy, detection
    from tellapart.engine.task_scores import v_measure

    for _ in range(CASES):
        n = int(rng.integers(10, 200))
        positive, scores = rng.random(n) < 0.3, rng.integers(0, 8, n).astype(float)
        positive[:2] = True, False
        ours = detection(scores, positive)
        false, true, _ = metrics.roc_curve(positive, scores, drop_intermediate=False)
        yield "AUROC, scikit-learn", ours["AUROC"], metrics.roc_auc_score(positive, scores)
        yield "AUPR, scikit-learn", ours["AUPR"], metrics.average_precision_score(positive, scores)
        yield "FPR95, scikit-learn", ours["FPR95"], false[np.argmax(true >= 0.95)]
        y, said = rng.integers(0, 5, (2, n))
        right = accuracy(said, y)
        yield "accuracy, scikit-learn", right.mean(), metrics.accuracy_score(y, said)
        each = _balanced(right, y)[0]
        with warnings.catch_warnings():
            # A class that is said and never true has no recall, in both.
            warnings.simplefilter("ignore")
            yield "balanced accuracy, scikit-learn", each, metrics.balanced_accuracy_score(y, said)
        yield "V-measure, scikit-learn", v_measure(y, said), metrics.v_measure_score(y, said)
        a, b = rng.integers(0, 6, (2, n))
        yield "Spearman, SciPy", spearman(a, b), stats.spearmanr(a, b)[0]
        yield "Kendall's tau-b, SciPy", kendall(a, b), stats.kendalltau(a, b)[0]


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    found = worst(itertools.chain(searches(rng), others(rng)))
    most = max(row["largest difference"] for row in found.values())
    write(
        "metrics_agree", {"largest of all": most, "metrics": found}, ["numpy", "ir-measures", "scikit-learn", "scipy"]
    )
