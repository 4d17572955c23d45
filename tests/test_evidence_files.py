"""Every recorded comparison is what its spec asked for, and its words follow from its numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from tellapart import evidence
from tellapart.core.parts import card_of, cards, check_options, parse_spec

FOLDER = Path(__file__).parents[1] / "evidence"
PACKAGE = Path(evidence.__file__).parent
SPECS = sorted(FOLDER.glob("*.toml"))
RESULTS = sorted(FOLDER.glob("*.json"))


def test_nothing_else_lies_there():
    other = [f.name for f in FOLDER.iterdir() if f.suffix not in (".toml", ".json") and not f.name.startswith(".")]
    assert not other
    assert {f.stem for f in RESULTS} <= {f.stem for f in SPECS}, "a result without the spec that asked for it"


@pytest.mark.parametrize("file", SPECS, ids=lambda f: f.stem)
def test_a_spec_is_valid_and_named_after_its_part(file: Path):
    assert file.stem in cards(), f"there is no part {file.stem}"
    spec = evidence.read_spec(file.stem)
    assert (PACKAGE / "protocol" / f"{spec.protocol}.py").is_file(), f"there is no protocol {spec.protocol}"
    assert len(spec.claim.split()) <= 80, "the claim is short"
    named = [spec.part]
    # A protocol may take words for a baseline of its own.
    if spec.baseline.partition("(")[0] in cards():
        named.append(spec.baseline)
    for each in named:
        name, options = parse_spec(each)
        check_options(card_of(None, name), options)


@pytest.mark.parametrize("file", RESULTS, ids=lambda f: f.stem)
class TestResult:
    @pytest.fixture
    def held(self, file: Path) -> dict:
        return json.loads(
            file.read_text(encoding="utf-8"), parse_constant=lambda name: pytest.fail(f"{name} is no JSON")
        )

    def test_is_what_the_spec_asked_for(self, file, held):
        spec = evidence.read_spec(file.stem)
        assert (held["part"], held["baseline"], held["protocol"]) == (spec.part, spec.baseline, spec.protocol)
        assert (held["data"], held["seeds"], held["options"]) == (spec.data, spec.seed_list, spec.options)
        assert {row["data"] for row in held["rows"]} == set(spec.data)
        assert len(held["seeds"]) >= evidence.FEWEST_SEEDS or held["fewer_because"]

    def test_words_follow_from_numbers(self, file, held):
        for row in held["rows"]:
            baseline, variant, low, high = row["baseline"], row["variant"], row["low"], row["high"]
            assert len(baseline) == len(variant) == len(held["seeds"])
            assert all(map(math.isfinite, [*baseline, *variant, low, high]))
            mean = sum(v - b for b, v in zip(baseline, variant, strict=True)) / len(baseline)
            assert row["difference"] == pytest.approx(mean, rel=1e-3, abs=1e-5)
            assert low <= row["difference"] <= high
            better, worse = (low > 0, high < 0) if row["higher_is_better"] else (high < 0, low > 0)
            assert row["verdict"] == ("helps" if better else "hurts" if worse else "no difference shown"), row
        assert any(row["main"] for row in held["rows"])
        assert held["verdict"] == evidence.summary(held["rows"])

    def test_says_where_and_when_it_was_taken(self, file, held):
        assert held["seconds"] > 0 and held["machine"]["cores"] and held["versions"]["python"]
        assert len(held["commit"]) == 40 and isinstance(held["dirty"], bool)
