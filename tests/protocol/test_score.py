"""The protocol of scores on features of known truth."""

from __future__ import annotations

import numpy as np
import pytest

from tellapart.protocol import _sets, score


def clusters(n=500, classes=10, dim=12, seed=0):
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return _sets.Labelled(
        (0.5 + 0.3 * np.eye(dim)[y] + 0.03 * rng.normal(size=(n, dim))).astype(np.float32), y, np.arange(n)
    )


@pytest.fixture
def data(monkeypatch):
    monkeypatch.setitem(_sets._SETS, "clusters", clusters)
    return "clusters"


def spec(part="knn", baseline="chance", **options):
    return {"part": part, "baseline": baseline, "options": options}


def test_what_lies_apart_is_found_and_chance_is_chance(data):
    found = score.run(spec(), data, 0)
    assert set(found) == {"auroc", "fpr95"}
    assert found["auroc"][1] > 0.99 and found["fpr95"][1] < 0.01
    assert found["auroc"][0] == pytest.approx(0.5, abs=0.1) and found["fpr95"][0] == pytest.approx(0.95, abs=0.06)
    assert score.run(spec(), data, 0) == found != score.run(spec(), data, 1)


def test_figures_agree_with_a_library():
    from sklearn.metrics import roc_auc_score, roc_curve

    rng = np.random.default_rng(0)
    known, unknown = rng.normal(size=400).round(1), (rng.normal(size=300) + 0.7).round(1)
    truth, values = np.repeat([0, 1], [400, 300]), np.concatenate([known, unknown])
    assert score.auroc(known, unknown) == pytest.approx(roc_auc_score(truth, values))
    false, true, _ = roc_curve(truth, values, drop_intermediate=False)
    ours = score.fpr95(known, unknown)
    misses = 1 - true[false <= 0.05].max()
    assert misses - 0.08 <= ours <= misses + 0.01, "as near as ties let the threshold come"
    assert score.auroc(np.zeros(5), np.zeros(3)) == 0.5 and score.fpr95(np.arange(100), np.full(9, -1)) == 1


def test_options_are_chosen_on_the_unknown_classes_kept_for_it(data):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 3)).astype(np.float32)
    tune = (rng.normal(size=(40, 3)), rng.normal(size=(40, 3)) + 4)
    made = score.tuned("knn", {"k": [1, 60]}, x, None, tune, 0)
    values = {k: score.auroc(*(score.make("score", "knn", k=k).fit(x).score(t) for t in tune)) for k in (1, 60)}
    assert made.k == max(values, key=values.get)


def test_noise_and_added_classes_are_measured(data):
    found = score.run(spec("mahalanobis-ood", "max-softmax", noise=0.3, add=True), data, 0)
    assert found["auroc"][1] > 0.95
    for metric in ("auroc, noisy labels", "fpr95, noisy labels"):
        assert all(0 <= v <= 1 for v in found[metric])
    base, ours = found["accuracy with classes added"]
    assert base > 0.95 and ours > 0.95 and min(found["accuracy on the added classes"]) > 0.9


def test_layers_of_a_network_and_attacks_are_measured(data):
    pytest.importorskip("torch")
    found = score.run(spec("mahalanobis-ood", "max-softmax", net=["clusters"]), data, 0)
    names = {m for m in found if m.startswith("auroc, net")}
    assert len(names) == 8 and all(0 <= v <= 1 for m in found for v in found[m])
    assert found["auroc, net, attacked items, all layers"][1] > 0.9


def test_attacks_raise_the_loss_and_nudges_lower_the_score():
    torch = pytest.importorskip("torch")
    from tellapart.core.parts import make
    from tellapart.protocol import _net

    data = clusters()
    codes = data.y.astype(np.int64)
    before = torch.get_rng_state()
    net = _net.trained(data.x, codes, 0)
    assert torch.equal(before, torch.get_rng_state()), "the global draws are untouched"
    again = _net.trained(data.x, codes, 0)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), again.parameters(), strict=True))
    hit = _net.attacked(net, data.x, codes)
    loss = torch.nn.functional.cross_entropy
    with torch.no_grad():
        clean, bad = (loss(net(torch.from_numpy(v)), torch.from_numpy(codes)) for v in (data.x, hit))
    assert bad > clean and np.abs(hit - data.x).max() <= _net.ATTACK + 1e-6 and hit.min() >= 0 and hit.max() <= 1
    part = make("score", "mahalanobis-ood", shrinkage=0.5).fit(_net.layers(net, data.x), data.y)
    moved = _net.nudged(net, part, data.x, 1e-3)
    assert part.score(_net.layers(net, moved)).mean() < part.score(_net.layers(net, data.x)).mean()
