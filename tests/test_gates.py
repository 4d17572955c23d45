"""Gates: what is read, what is refused, and what holds."""

from __future__ import annotations

import pytest

from tellapart.core.errors import TellapartError
from tellapart.core.report import Figure
from tellapart.gates import read_gate

FIGURES = {"slices: tone=dark": Figure("tone=dark", -0.1, -0.2, 0.01, 50), "mmvp: pairs": Figure("pairs", 7, count=9)}


def gate(tmp_path, text):
    (tmp_path / "audit.toml").write_text(text)
    return read_gate(tmp_path / "audit.toml")


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ('[figures]\n"slices: tone=dark" = {at_least = -0.05}', False),
        ('[figures]\n"slices: tone=dark" = {at_least = -0.05, surely = true}', True),
        ('[figures]\n"slices: tone=dark" = {at_most = -0.3, surely = true}', False),
        ('[figures]\n"slices: tone=dark" = {at_least = -0.5, at_most = 0}', True),
        ('[figures]\n"mmvp: pairs" = {at_most = 6, surely = true}', False),
        ("clear = 0", False),
        ("clear = 1", True),
    ],
)
def test_a_line_holds_or_fails(tmp_path, text, holds):
    (line,) = gate(tmp_path, text).judged(FIGURES, ["slices: tone=dark"], {})
    assert line.holds is holds


@pytest.mark.parametrize(
    ("difference", "better", "holds"),
    [
        (Figure("x", -0.1, -0.2, -0.01, 9), "higher", False),
        (Figure("x", -0.1, -0.2, 0.01, 9), "higher", True),
        (Figure("x", -0.01, -0.015, -0.005, 9), "higher", True),
        (Figure("x", 0.1, 0.05, 0.2, 9), "higher", True),
        (Figure("x", 0.1, 0.05, 0.2, 9), "lower", False),
        (Figure("x", 0.1, count=9), "lower", True),
    ],
)
def test_a_loss_fails_where_it_is_more_than_allowed_and_sure(tmp_path, difference, better, holds):
    asked = gate(tmp_path, '[against]\nmodel = "before"\nloss = 0.02')
    (line,) = asked.judged({}, [], {"slices: x": (difference, better)})
    assert (line.name, line.holds) == ("against: slices: x", holds)


def test_a_figure_that_was_not_given_is_no_pass(tmp_path):
    asked = gate(tmp_path, '[figures]\n"slices: tone=darc" = {at_least = 0}')
    with pytest.raises(TellapartError, match="did you mean"):
        asked.judged(FIGURES, [], {})


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("clear = -1", "greater than or equal to 0"),
        ("[figures]\nx = {}", "at_least or at_most"),
        ("[figures]\nx = {at_leest = 1}", "Extra inputs"),
        ("[figures]\nx = {at_least = nan}", "finite"),
        ("[agains]\nmodel = 'x'", "Extra inputs"),
        ("clear = [", "no TOML"),
    ],
)
def test_what_is_no_gate_is_refused_in_words(tmp_path, text, words):
    with pytest.raises(TellapartError, match=words):
        gate(tmp_path, text)


def test_no_file_is_said(tmp_path):
    with pytest.raises(TellapartError, match="there is no gate"):
        read_gate(tmp_path / "none.toml")
