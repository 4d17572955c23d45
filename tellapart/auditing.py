"""`tellapart audit`: what a model cannot tell apart, in one report, with what would mend it."""

from __future__ import annotations

import json
import math
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.audited import Audited, opened, over
from tellapart.core.chance import holm
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.needs import installed
from tellapart.core.parts import card_of, cards, make, parse_spec
from tellapart.core.progress import Silence, Stages
from tellapart.core.report import Example, Figure, Finding, Report, Table, Text
from tellapart.engine import intervals
from tellapart.gates import Gate, read_gate
from tellapart.runs import LATEST, Run

CLEAR = 0.05
NAMED_ONLY = ("asks", "long")
MISSED = "What could not be asked"
ROWS, SIDE_BY_SIDE = 20, 8


@dataclass(frozen=True)
class Answer:
    """What one part said: its report, or why there is none."""

    part: str
    seconds: float
    report: Report | None = None
    why: str = ""

    @property
    def findings(self) -> dict[str, Finding]:
        """Findings by name, with the part's before it."""
        return {} if self.report is None else {f"{self.part}: {f.figure.name}": f for f in self.report.findings()}

    @property
    def figures(self) -> dict[str, Figure]:
        """All figures by name, with the part's before it."""
        return {} if self.report is None else {f"{self.part}: {f.name}": f for f in self.report.figures()}


def audit(
    model: str | Path = LATEST,
    data: str | Path | None = None,
    *,
    parts: Sequence[str] = (),
    other: str = "",
    against: str | Path = "",
    gate: str | Path | None = None,
    seed: int = 0,
    columns: Mapping[str, str] | None = None,
    stages: Stages | None = None,
) -> Report:
    """Ask every audit part that model and collection can answer, and say together what is clear.

    The findings of all parts are corrected for how many there are (Holm), so that of a model with nothing wrong
    something is called clear in at most 5 of 100 audits. Clear ones come first, the surest before the others.

    Args:
        model: the folder of a run or of a model, or the spec of a frozen encoder, which comes with `data`.
        data: a collection, as `run` takes it; None: that of the run.
        parts: specs of audit parts; none: every one, but for those of the traits `asks` and `long`.
        other: a second encoder, for parts that compare two.
        against: another model, asked the same of the same items; its findings are compared one by one, paired.
        gate: a TOML file of what has to hold (`gates`); what does not is in `facts["failed"]`.
        seed: of what the parts draw.
        columns: role -> column of `data`, where the names do not say it.

    Raises:
        PartError: no such audit.
        DataError: a part that was named lacks what it needs.
        TellapartError: no such model, or a gate that cannot be read.
    """
    return examined(
        model, data, parts=parts, other=other, against=against, gate=gate, seed=seed, columns=columns, stages=stages
    )[0]


def examined(
    model: str | Path,
    data: str | Path | None,
    *,
    parts: Sequence[str],
    other: str,
    against: str | Path,
    gate: str | Path | None,
    seed: int,
    columns: Mapping[str, str] | None,
    stages: Stages | None,
) -> tuple[Report, Collection]:
    """`audit`, and the collection that the items of its examples are in, for who draws them."""
    stages = stages or Silence()
    wanted = read_gate(gate) if gate else None
    against = against or (wanted.against.model if wanted and wanted.against else "")
    held = opened(model, data, other=other, columns=columns, stages=stages)
    answers = _asked(held, parts, seed, stages)
    if parts and (unanswered := next((a for a in answers if a.report is None), None)):
        raise DataError(f"{unanswered.part}: {unanswered.why}")
    report = Report(f"Audit of {model}")
    found = {name: finding for answer in answers for name, finding in answer.findings.items()}
    corrected = dict(zip(found, holm([f.p for f in found.values()]).tolist(), strict=True))
    order = sorted(found, key=lambda name: (found[name].p, -abs(found[name].figure.value)))
    clear = [name for name in order if corrected[name] < CLEAR]
    report.add(*_verdict(len(found), clear, answers))
    source = str(data) if data is not None else _source_of(held.over.folder) if isinstance(held.over, Run) else ""
    report.add(*(_shown(found[name], str(model), source, held) for name in clear))
    compared: dict[str, _Compared] = {}
    if against:
        theirs = _asked(_other(against, held, stages), parts, seed, stages)
        compared = _compared(found, {n: f for a in theirs for n, f in a.findings.items()}, held.collection)
        report.add(_table_of(compared, str(model), str(against)))
    if wanted is not None:
        report.add(*_gated(wanted, {n: f for a in answers for n, f in a.figures.items()}, clear, compared, report))
    if found:
        rows = [[name, found[name].figure, corrected[name], "clear" if name in clear else ""] for name in order]
        note = "p is corrected for how many there are (Holm)"
        report.add(Table("All that was looked for", ["what", "figure", "p", ""], rows, note))
    for answer in answers:
        report.add(*_rest(answer, alone=len(answers) == 1))
    if missed := [[a.part, a.why] for a in answers if a.report is None]:
        report.add(Table(MISSED, ["part", "why"], missed))
    seconds = {a.part: round(a.seconds, 1) for a in answers if a.report is not None}
    report.facts |= {"model": str(model), "items": len(held.collection), "seed": seed, "seconds": seconds}
    return report, held.shown


def summary(report: Report) -> Report:
    """What of a whole audit belongs on a terminal: all before the first part's own blocks, and what was not asked."""
    ends = [place for place, b in enumerate(report.blocks) if isinstance(b, Text) and b.kind == "heading"]
    first = report.blocks[: ends[0]] if ends else report.blocks
    last = [b for b in report.blocks[-1:] if ends and isinstance(b, Table) and b.title == MISSED]
    return Report(report.title, [*(_cut(b) if isinstance(b, Table) else b for b in first), *last], report.facts)


def _cut(table: Table) -> Table:
    more = len(table.rows) - ROWS
    note = f"{table.note}; {more} more on the page" if more > 0 else table.note
    return replace(table, rows=table.rows[:ROWS], note=note)


def _asked(held: Audited, parts: Sequence[str], seed: int, stages: Stages) -> list[Answer]:
    """What each part says; where none is named, those that take minutes or need more of the user are left out."""
    specs = list(parts) or [c.name for c in cards("audit").values() if not set(c.traits) & set(NAMED_ONLY)]
    answers = []
    with stages.stage("audit") as told:
        for place, spec in enumerate(specs):
            told(place, len(specs))
            with stages.stage(spec):
                answers.append(_answer(held, spec, seed))
        told(len(specs), len(specs))
    return answers


def _answer(held: Audited, spec: str, seed: int) -> Answer:
    name, options = parse_spec(spec)
    card, began = card_of("audit", name), time.monotonic()
    if lacking := held.lacks(card):
        return Answer(spec, 0.0, why=f"needs {', '.join(lacking)}")
    if missing := [name for name in card.needs if not installed(name)]:
        return Answer(spec, 0.0, why=f"needs {', '.join(missing)}, which is not installed")
    try:
        report: Report = make("audit", spec)(*held.given(card, options), seed=seed)
    except DataError as error:
        return Answer(spec, time.monotonic() - began, why=str(error))
    return Answer(spec, time.monotonic() - began, report)


def _verdict(asked: int, clear: list[str], answers: list[Answer]) -> list[Text]:
    if not asked:
        return []
    many = sum(a.report is not None for a in answers)
    said = f"{len(clear)} of {asked} things that {many} parts looked for are clear" if clear else "nothing is clear"
    more = "" if clear else f" of {asked} things that {many} parts looked for"
    return [Text(f"{said}{more}, at {CLEAR:.0%} for all of them together.", "verdict")]


def _shown(finding: Finding, model: str, source: str, held: Audited) -> Finding:
    """The finding with words for its items, and its command with paths; none that needs a run where there is none."""
    mend = "" if "{model}" in finding.mend and not isinstance(held.over, Run) else finding.mend
    mend = mend.format(model=shlex.quote(model), data=shlex.quote(source))
    return replace(finding, examples=_together(finding.examples, held.shown), mend=mend)


def _together(examples: Sequence[Example], collection: Collection) -> list[Example]:
    """The examples with words for their ids; items that are shown one by one for one reason stand side by side."""
    alone: dict[str, list[Example]] = {}
    for e in examples:
        alone.setdefault(e.why if len(e.ids) == 1 else f"{e.why} {e.ids}", []).append(e)
    found = []
    for same in alone.values():
        ids = [id_ for e in same for id_ in e.ids][:SIDE_BY_SIDE]
        scores = [score for e in same for score in e.scores][:SIDE_BY_SIDE]
        names = [name for e in same for name in e.names][:SIDE_BY_SIDE] or [_words(collection, id_) for id_ in ids]
        found.append(Example(ids, same[0].why, scores if len(scores) == len(ids) else (), names))
    return found


def _words(collection: Collection, id_: str) -> str:
    item = collection.item(id_)
    return next((item[c] for c in ("text", "anchor", "label") if isinstance(item.get(c), str)), id_)


def _source_of(folder: Path) -> str:
    """What a run was made of, as its manifest says; else the collection that it has kept."""
    try:
        return str(json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["source"])
    except (OSError, ValueError, KeyError, TypeError):
        return str(folder / "collection")


def _rest(answer: Answer, *, alone: bool) -> list[Any]:
    """What a part says beside its findings, under its name."""
    if answer.report is None:
        return []
    blocks = [b for b in answer.report.blocks if not isinstance(b, Finding)]
    return blocks if alone else [Text(f"{answer.report.title} ({answer.part})", "heading"), *blocks]


@dataclass(frozen=True)
class _Compared:
    """One finding of two models: how much more of it the first has, paired where both are of the same items."""

    ours: Figure
    theirs: Figure
    difference: Figure
    verdict: str
    better: str
    p: float


def _other(against: str | Path, held: Audited, stages: Stages) -> Audited:
    """The other model over the very items of the first."""
    return Audited(over(against, held.collection, stages=stages), held.other)


def _compared(ours: dict[str, Finding], theirs: dict[str, Finding], collection: Collection) -> dict[str, _Compared]:
    groups = collection.numbers("group") if "group" in collection.columns else np.arange(len(collection))
    found = {name: _pair(ours[name], theirs[name], collection, groups) for name in ours if name in theirs}
    judged = holm([c.p for c in found.values()])
    return {
        name: c if p < CLEAR else replace(c, verdict=intervals.NO_DIFFERENCE)
        for (name, c), p in zip(found.items(), judged, strict=True)
    }


def _pair(a: Finding, b: Finding, collection: Collection, groups: np.ndarray) -> _Compared:
    value = a.figure.value - b.figure.value
    of_a, of_b = (dict(zip(f.ids, f.values, strict=True)) for f in (a, b))
    if shared := [i for i in of_a if i in of_b]:
        rows = [collection.row_of[i] for i in shared]
        d = np.array([of_a[i] - of_b[i] for i in shared])
        judged = intervals.holm(np.zeros(len(d)), {"": d}, clusters=groups[rows], higher_is_better=a.better == "higher")
        low, high = intervals.known(judged[""].low, judged[""].high)
        figure = Figure(a.figure.name, float(d.mean()), low, high, len(d), note="paired")
        return _Compared(a.figure, b.figure, figure, judged[""].verdict, a.better, judged[""].p)
    ends = [f.figure.low is not None and f.figure.high is not None for f in (a, b)]
    figure = Figure(a.figure.name, value, note="not of the same items, and so not paired")
    if all(ends):
        wide_a, wide_b = (((f.figure.high or 0) - (f.figure.low or 0)) / 2 for f in (a, b))
        wide = math.hypot(wide_a, wide_b)
        figure = replace(figure, low=value - wide, high=value + wide, count=min(a.figure.count, b.figure.count))
    return _Compared(a.figure, b.figure, figure, intervals.NO_DIFFERENCE, a.better, 1.0)


def _table_of(compared: dict[str, _Compared], ours: str, theirs: str) -> Table:
    order = sorted(
        compared.items(), key=lambda row: (row[1].verdict == intervals.NO_DIFFERENCE, -abs(row[1].difference.value))
    )
    rows = [[name, c.ours, c.theirs, c.difference, c.verdict] for name, c in order]
    note = f"{ours} less {theirs}, item by item; verdicts are corrected for how many there are (Holm)"
    return Table(f"Against {theirs}", ["what", "here", "there", "difference", "verdict"], rows, note)


def _gated(
    gate: Gate, figures: dict[str, Figure], clear: list[str], compared: dict[str, _Compared], report: Report
) -> list[Table | Text]:
    """What the gate says of each of its lines; the report's facts name those that fail."""
    pairs = {name: (c.difference, c.better) for name, c in compared.items()}
    lines = gate.judged(figures, clear, pairs)
    failed = [line.name for line in lines if not line.holds]
    report.facts["failed"] = failed
    rows = [[line.name, line.found, line.wanted, "holds" if line.holds else "fails"] for line in lines]
    said = f"the gate fails: {', '.join(failed)}" if failed else f"the gate holds: {len(lines)} lines"
    return [Text(said, "warning" if failed else "verdict"), Table("The gate", ["what", "found", "wanted", ""], rows)]
