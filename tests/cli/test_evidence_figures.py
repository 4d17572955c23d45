"""`tellapart evidence --figures`: recorded comparisons, of parts or of systems."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from tellapart import catalogue, cli


def run(*arguments: str):
    return CliRunner().invoke(cli.app(arguments), list(arguments))


def test_every_row_is_one_that_was_recorded():
    table = catalogue.comparisons(["beclr", "mochi"])
    assert {row[0] for row in table.rows} == {"opta", "dyce", "mochi"}
    for name, against, data, metric, difference, verdict in table.rows:
        recorded = catalogue.evidence(catalogue.card_of(None, name))
        (row,) = (r for r in recorded["rows"] if (r["data"], r["metric"]) == (data, metric))
        assert (against, verdict) == (recorded["baseline"], row["verdict"])
        assert (difference.value, difference.low, difference.high) == (row["difference"], row["low"], row["high"])
    assert len(catalogue.comparisons().rows) > 100


def test_on_the_command_line():
    shown = json.loads(run("evidence", "--figures", "mochi", "--json").output)
    table = next(block for block in shown["blocks"] if block["block"] == "table")
    assert {row[0] for row in table["rows"]} == {"mochi"}
    wrong = run("evidence", "--figures", "mochy")
    assert isinstance(wrong.exception, SystemExit) and "mochi" in wrong.output
