"""Counting how queries score after deployment: shares, the two tests against scipy, files, and what is said."""

from __future__ import annotations

import json
import threading

import numpy as np
import pytest
from scipy.stats import chi2, chi2_contingency
from typer.testing import CliRunner

from tellapart import cli
from tellapart.core.errors import DataError
from tellapart.engine.monitor import (
    BINS,
    Expected,
    Monitor,
    chance,
    counted,
    expected_of,
    kept,
    monitored,
    report,
    shift,
)
from tellapart.engine.monitor import _beyond as beyond


def of(seed: int, *, count: int = 500, mean: float = 0.6, nothing: float = 0.05) -> tuple[np.ndarray, float]:
    rng = np.random.default_rng(seed)
    best = np.where(rng.random(count) < nothing, 0.1, rng.normal(mean, 0.05, count))
    return best, 0.3


def seen_of(expected: Expected, best: np.ndarray, lowest: float) -> list[int]:
    here = best[best >= lowest]
    return counted(here, len(best) - len(here), expected.edges)


def verdict(expected: Expected, seen: list[int]) -> str:
    return next(b.text for b in report(expected, seen).blocks if getattr(b, "kind", "") == "verdict")


def test_bins_hold_equally_many_held_out_queries() -> None:
    best, lowest = of(0)
    expected = Expected.of(best, lowest)
    assert sum(expected.counts) == 500 and expected.counts[-1] == (best < lowest).sum()
    assert max(expected.counts[:BINS]) - min(expected.counts[:BINS]) <= 1
    assert Expected.from_dict(json.loads(json.dumps(expected.to_dict()))) == expected
    left_out = Expected.of(np.append(best[best >= lowest], -np.inf), -np.inf)
    assert left_out.counts[-1] == 1


@pytest.mark.parametrize("free", [1, 2, 3, 9, 10])
def test_the_distribution_is_scipys(free: int) -> None:
    for value in (0.0, 0.5, 4.0, 25.0, 200.0):
        assert beyond(value, free) == pytest.approx(chi2.sf(value, free), rel=1e-9, abs=1e-300)


def test_the_comparison_is_scipys() -> None:
    expected, seen = (10, 20, 0, 30), [12, 11, 0, 40]
    table = np.asarray([expected, seen])[:, [0, 1, 3]]
    assert chance(expected, seen) == pytest.approx(chi2_contingency(table, correction=False)[1])
    assert chance(expected, [0, 0, 0, 0]) == 1.0
    assert shift((10, 10), [10, 10]) == 0 and shift((10, 10), [5, 15]) > 0.1


def test_the_same_kind_of_query_is_not_called_different() -> None:
    expected = Expected.of(*of(0))
    said = [verdict(expected, seen_of(expected, *of(seed, count=2000))) for seed in range(1, 21)]
    assert sum("No difference shown" in text for text in said) >= 19


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"mean": 0.5}, "scores lower"),
        ({"mean": 0.7}, "scores higher"),
        ({"nothing": 0.4}, "Nothing is here for 4"),
        ({"count": 60}, "60 of at least 100"),
    ],
)
def test_what_differs_is_said(given: dict, words: str) -> None:
    expected = Expected.of(*of(0))
    assert words in verdict(expected, seen_of(expected, *of(1, **given)))


def test_processes_and_threads_are_counted_together(tmp_path) -> None:
    expected = Expected.of(*of(0))
    one, two = Monitor(tmp_path, expected), Monitor(tmp_path, expected)
    threads = [threading.Thread(target=lambda: [one.add(0.6) for _ in range(500)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    two.add(None)
    two.save()
    counts = one.counts()
    assert sum(counts) == 2001 and counts[-1] == 1
    one.save()
    assert kept(tmp_path / "monitor", expected) == counts


def test_files_that_are_not_of_this_model_do_not_count(tmp_path) -> None:
    expected, other = Expected.of(*of(0)), Expected.of(*of(5))
    Monitor(tmp_path, other).save()
    asked = Monitor(tmp_path, other)
    asked.add(0.5)
    asked.save()
    for name, text in (("a", "{}"), ("b", "[1]"), ("c", '{"counts": [1], "edges": []}'), ("d", "x" * 20_000)):
        (tmp_path / "monitor" / f"{name}.json").write_text(text)
    assert sum(kept(tmp_path / "monitor", expected)) == 0 and sum(kept(tmp_path / "monitor", other)) == 1


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path) -> None:
    (tmp_path / "monitor").write_text("a file in the way")
    counting = Monitor(tmp_path, Expected.of(*of(0)))
    for _ in range(300):
        counting.add(0.6)
    assert sum(counting.counts()) == 300


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"edges": [1.0] * 9, "counts": [1] * 10},
        {"edges": [2.0, 1.0, *range(3, 10)], "counts": [1] * 11},
        {"edges": list(range(9)), "counts": [0] * 11},
        {"edges": [float("nan"), *range(8)], "counts": [1] * 11},
    ],
)
def test_damaged_facts_are_refused(data: dict) -> None:
    with pytest.raises(DataError, match="does not say how queries score"):
        Expected.from_dict(data)


def test_too_few_held_out_queries_are_refused() -> None:
    with pytest.raises(DataError, match="at least two"):
        Expected.of(np.asarray([0.9, 0.1]), 0.5)


def test_a_run_is_reported_with_what_its_servers_counted(tmp_path) -> None:
    expected = Expected.of(*of(0))
    (tmp_path / "model").mkdir()
    with pytest.raises(DataError, match="does not say how held-out queries score"):
        monitored(tmp_path)
    (tmp_path / "model" / "calibration.json").write_text(json.dumps({"queries": expected.to_dict()}))
    counting = Monitor(tmp_path, expected_of(tmp_path))
    for score in of(1, count=400)[0]:
        counting.add(float(score) if score > 0.3 else None)
    counting.save()
    found = monitored(tmp_path)
    assert found.facts["queries"] == 400 and "No difference shown" in verdict(expected, counting.counts())
    given = ["monitor", str(tmp_path)]
    said = CliRunner().invoke(cli.app(given), given)
    assert said.exit_code == 0 and "400 queries since deployment" in said.output
    (tmp_path / "model" / "calibration.json").write_text('{"queries": 3}')
    with pytest.raises(DataError, match="damaged"):
        monitored(tmp_path)
    with pytest.raises(DataError, match="holds no run"):
        monitored(tmp_path / "none")
