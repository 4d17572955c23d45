from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from tellapart.core.errors import DataError
from tellapart.engine import evaluate
from tellapart.engine.evaluate import Relevant, accuracy, chance, detection, near_twins, retrieval, summary


def unit(rng, n, d=16):
    x = rng.standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def ir_measures_of(q, k, relevant, ks):
    import ir_measures
    from ir_measures import RR, R, Success, nDCG

    s = q.astype(np.float64) @ k.astype(np.float64).T
    run = {f"q{i}": {f"d{j}": float(v) for j, v in enumerate(row)} for i, row in enumerate(s)}
    qrels = {f"q{i}": {f"d{j}": int(g) for j, g in r.items()} for i, r in enumerate(relevant) if r}
    names = {m @ c: f"{n}@{c}" for m, n in ((R, "R"), (nDCG, "nDCG"), (RR, "MRR"), (Success, "Success")) for c in ks}
    out = {n: np.full(len(q), np.nan) for n in names.values()}
    for row in ir_measures.iter_calc(list(names), qrels, run):
        out[names[row.measure]][int(row.query_id[1:])] = row.value
    return out


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("block", [None, 7])
def test_agrees_with_ir_measures(graded, block):
    rng = np.random.default_rng(3)
    q, k = unit(rng, 40), unit(rng, 90)
    relevant = [
        {int(j): int(rng.integers(1, 4)) if graded else 1 for j in rng.choice(90, rng.integers(0, 25), replace=False)}
        for _ in range(40)
    ]
    ours = retrieval(q, k, relevant if graded else [list(r) for r in relevant], ks=(1, 5, 10, 50), block=block)
    for name, values in ir_measures_of(q, k, relevant, (1, 5, 10, 50)).items():
        np.testing.assert_allclose(ours[name], values, atol=1e-9, err_msg=name)
    assert not ours["tied"][~np.isnan(ours["rank"])].any()


def enumerate_orders(scores, gains, ks):
    """Every figure averaged over all orders of the documents that respect the scores."""
    n = len(scores)
    orders = [
        o for o in itertools.permutations(range(n)) if all(scores[a] >= scores[b] for a, b in itertools.pairwise(o))
    ]
    total = {}
    for order in orders:
        g = [gains[j] for j in order]
        first = next(i for i, v in enumerate(g) if v > 0) + 1
        one = {"rank": first}
        for k in ks:
            ideal = sum(v / math.log2(i + 2) for i, v in enumerate(sorted(gains, reverse=True)[:k]))
            one[f"R@{k}"] = sum(v > 0 for v in g[:k]) / sum(v > 0 for v in gains)
            one[f"Success@{k}"] = float(first <= k)
            one[f"nDCG@{k}"] = sum(v / math.log2(i + 2) for i, v in enumerate(g[:k])) / ideal
            one[f"MRR@{k}"] = 1 / first if first <= k else 0.0
        for name, value in one.items():
            total[name] = total.get(name, 0) + value / len(orders)
    return total


@pytest.mark.parametrize("case", range(12))
def test_ties_give_the_mean_over_all_orders(case):
    rng = np.random.default_rng(case)
    levels = rng.integers(0, (case % 4) + 1, 7)
    gains = rng.integers(0, 3, 7) * (rng.random(7) < 0.6)
    gains[rng.integers(7)] = 2
    q, k = np.ones((1, 1), np.float32), levels[:, None].astype(np.float32) / 8
    ks = (1, 2, 3, 5, 7)
    found = retrieval(q, k, [{j: int(g) for j, g in enumerate(gains) if g}], ks=ks)
    for name, value in enumerate_orders(levels, gains, ks).items():
        assert found[name][0] == pytest.approx(value, abs=1e-6), name


@pytest.mark.parametrize("noise", [0.0, 1e-8])
def test_a_collapsed_model_scores_chance_whatever_the_order(noise):
    rng = np.random.default_rng(0)
    one = unit(rng, 1, 384)
    q, k = np.repeat(one, 60, 0), np.repeat(one, 500, 0)
    k = k + noise * rng.standard_normal(k.shape).astype(np.float32)
    for relevant in (np.arange(60), np.arange(440, 500)):
        found = retrieval(q, k, relevant)
        np.testing.assert_allclose(found["R@1"], 1 / 500)
        np.testing.assert_allclose(found["R@10"], 10 / 500)
        np.testing.assert_allclose(found["rank"], 250.5)
        assert found["tied"].all()
        np.testing.assert_allclose(found["MRR@10"], chance(relevant, 500)["MRR@10"])
    assert any("hardly differ" in b.text for b in summary(found).blocks if hasattr(b, "text"))


def test_self_matches_must_be_spoken_of():
    rng = np.random.default_rng(1)
    z, label = unit(rng, 30), np.arange(30) // 3
    relevant = Relevant.by_target(label, label)
    with pytest.raises(DataError, match="same vectors"):
        retrieval(z, z, relevant)
    with pytest.raises(DataError, match="own="):
        retrieval(z, z, relevant, ids=(range(30), range(30)))
    with pytest.raises(DataError, match="needs ids"):
        retrieval(z, z, relevant, own="exclude")
    kept = retrieval(z, z, relevant, own="keep")
    np.testing.assert_array_equal(kept["Success@1"], 1)
    without = retrieval(z, z, relevant, ids=(range(30), range(30)), own="exclude")
    s = z @ z.T
    np.fill_diagonal(s, -np.inf)
    np.testing.assert_array_equal(without["Success@1"], label[s.argmax(1)] == label)


def test_duplicate_groups_are_taken_out_and_leave_no_answer():
    rng = np.random.default_rng(2)
    z, label, group = unit(rng, 12), np.zeros(12, int), np.asarray([0, 0, 1, 1, 1, 2, 3, 4, 5, 6, -1, -1])
    label[:2] = 1
    found = retrieval(
        z, z, Relevant.by_target(label, label), groups=(group, group), ids=(range(12), range(12)), own="exclude"
    )
    assert np.isnan(found["R@1"][:2]).all() and not np.isnan(found["R@1"][2:]).any()
    s = z @ z.T
    s[(group[:, None] == group) & (group >= 0)] = -np.inf
    np.fill_diagonal(s, -np.inf)
    right = label[s.argmax(1)] == label
    np.testing.assert_array_equal(found["Success@1"][2:], right[2:])
    assert any("2 of 12 queries" in b.text for b in summary(found).blocks if hasattr(b, "text"))


def test_targets_and_written_out_rows_agree():
    rng = np.random.default_rng(4)
    q, k, a, b = unit(rng, 20), unit(rng, 70), rng.integers(-1, 6, 20), rng.integers(-1, 6, 70)
    lists = [np.flatnonzero(b == t).tolist() if t >= 0 else [] for t in a]
    by_target, by_list = retrieval(q, k, Relevant.by_target(a, b)), retrieval(q, k, lists)
    for name in by_list:
        np.testing.assert_array_equal(by_target[name], by_list[name])


def test_blocks_do_not_change_figures_and_progress_is_told():
    rng = np.random.default_rng(6)
    q, k, seen = unit(rng, 23), unit(rng, 50), []
    whole = retrieval(q, k, np.arange(23))
    parts = retrieval(q, k, np.arange(23), block=5, progress=lambda done, total: seen.append((done, total)))
    for name in whole:
        np.testing.assert_allclose(parts[name], whole[name], atol=1e-12)
    assert seen[-1] == (23, 23) and len(seen) == 5


def test_fewer_documents_than_the_cut():
    rng = np.random.default_rng(8)
    found = retrieval(unit(rng, 4), unit(rng, 3), [[0, 1, 2], [0], [1], [2]], ks=(1, 10))
    np.testing.assert_array_equal(found["R@10"], 1)
    np.testing.assert_allclose(found["nDCG@10"][0], 1)


def test_near_twins_by_cosine_and_by_group():
    rng = np.random.default_rng(9)
    train, test = unit(rng, 50, 64), unit(rng, 20, 64)
    test[3] = train[7] + 0.001 * test[3]
    test[3] /= np.linalg.norm(test[3])
    groups = (np.where(np.arange(20) == 5, 2, -1), np.asarray([2] + [-1] * 49))
    assert np.flatnonzero(near_twins(test, train)).tolist() == [3]
    assert np.flatnonzero(near_twins(test, train, groups=groups)).tolist() == [3, 5]


def test_summary_gives_intervals_and_the_figure_without_twins():
    figures = {"R@1": np.asarray([1.0, 1, 0, 0, 1, 0]), "rank": np.asarray([1.0, 1, 4, 5, 1, 9]), "tied": np.zeros(6)}
    report = summary(figures, twins=np.asarray([True, True, False, False, False, False]))
    assert report.figure("R@1").value == 0.5
    assert report.figure("R@1").low < 0.5 < report.figure("R@1").high
    assert report.figure("R@1 without near twins").value == 0.25
    assert report.figure("R@1 without near twins").count == 4
    assert any("2 of 6 test items" in b.text for b in report.blocks if hasattr(b, "text"))


def test_detection_agrees_with_scikit_learn():
    from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

    for seed in range(10):
        rng = np.random.default_rng(seed)
        positive = rng.random(200) < 0.3
        scores = (rng.normal(0, 1, 200) + positive).round(1 if seed % 2 else 6)
        found = detection(scores, positive)
        assert found["AUROC"] == pytest.approx(roc_auc_score(positive, scores))
        assert found["AUPR"] == pytest.approx(average_precision_score(positive, scores))
        fpr, tpr, _ = roc_curve(positive, scores, drop_intermediate=False)
        assert found["FPR95"] == pytest.approx(fpr[np.argmax(tpr >= 0.95)])
        assert found["prior"] == positive.mean() and found["count"] == 200
        flipped = detection(-scores, positive)
        assert flipped["AUROC"] == pytest.approx(1 - found["AUROC"])


def test_detection_of_a_constant_score_is_chance():
    positive = np.arange(10) < 3
    found = detection(np.ones(10), positive)
    assert (found["AUROC"], found["AUPR"], found["FPR95"]) == (0.5, pytest.approx(0.3), 1.0)


def test_accuracy_is_per_item():
    np.testing.assert_array_equal(accuracy(np.asarray([1, 2, 3]), np.asarray([1, 0, 3])), [1, 0, 1])


def test_bad_input_is_refused_in_words():
    rng = np.random.default_rng(0)
    q, k = unit(rng, 3), unit(rng, 5)
    for relevant, words in (
        (np.arange(2), "2 queries"),
        (np.asarray([0, 1, 5]), "outside"),
        ([[], [], []], "nothing to measure"),
        ([{0: 0.0}, {1: 1.0}, {}], "above 0"),
        (Relevant.by_target(np.arange(3), np.arange(4)), "4 documents"),
    ):
        with pytest.raises(DataError, match=words):
            retrieval(q, k, relevant)
    with pytest.raises(DataError, match="cut"):
        retrieval(q, k, np.arange(3), ks=(0,))
    with pytest.raises(DataError, match="'exclude' or 'keep'"):
        retrieval(q, k, np.arange(3), own="drop")
    with pytest.raises(DataError, match="one kind is missing"):
        detection(np.ones(3), np.ones(3, bool))
    with pytest.raises(DataError, match="not a number"):
        detection(np.asarray([1.0, np.nan]), np.asarray([True, False]))
    with pytest.raises(DataError, match="do not fit"):
        accuracy(np.ones(3), np.ones(2))


def test_memory_is_bounded_by_the_block():
    import tracemalloc

    rng = np.random.default_rng(0)
    q, k = unit(rng, 3000), unit(rng, 3000)
    tracemalloc.start()
    retrieval(q, k, np.arange(3000), block=20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3_500_000 < 3000 * 3000


def test_names_are_those_promised():
    rng = np.random.default_rng(0)
    names = set(retrieval(unit(rng, 3), unit(rng, 5), np.arange(3)))
    assert {"R@1", "R@10", "nDCG@10", "MRR@10", "rank"} <= names
    assert evaluate.TIED < 1e-5
