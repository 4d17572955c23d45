"""What is known of the parts beyond their cards: oracles, recorded evidence, and the systems they realise.

Nothing here is a list kept by hand: cards are read from source, oracles and evidence from the files that stand beside
them, in a checkout or as the package carries them.
"""

from __future__ import annotations

import functools
import importlib
import json
import runpy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tellapart.core.detection import tasks_of
from tellapart.core.errors import PartError, near
from tellapart.core.parts import SHAPES, Card, card_of, cards, make
from tellapart.core.report import Figure, Report, Table, Text

ORACLES_FILE = "oracles.json"


def checkout() -> Path | None:
    """The root of the checkout this package runs from; None when it was installed."""
    root = Path(__file__).parents[1]
    return root if (root / "tests" / "oracles").is_dir() and (root / "evidence").is_dir() else None


def parts(shape: str | None = None) -> dict[str, Card]:
    """All parts by name, or those of one shape; an unknown shape raises `PartError` with near matches."""
    if shape is not None and shape not in SHAPES:
        raise PartError(f"there is no shape {shape!r}; {near(shape, SHAPES)}")
    return cards(shape)


def oracle_file(card: Card) -> Path | None:
    """The file with a second, plain computation of the part; None where there is none to run."""
    root = checkout()
    folders = [folder / "oracles" for folder in _folders(card)] + ([root / "tests" / "oracles"] if root else [])
    return next((f for folder in folders if (f := folder / f"{card.file.stem}.py").is_file()), None)


def has_oracle(card: Card) -> bool:
    """Whether a second, plain computation of the part is kept to compare it with."""
    if oracle_file(card) is not None:
        return True
    listed = _recorded() / ORACLES_FILE
    return listed.is_file() and card.file.stem in json.loads(listed.read_text(encoding="utf-8"))


def verify(card: Card) -> list[tuple[str, str]]:
    """The contract of its shape and its oracle, run over a part: (check, "holds" or what is wrong)."""
    build = functools.partial(make, card.shape, card.name)
    contract = importlib.import_module(f"tellapart.contract.{card.shape}")
    checks = [(check.__name__, functools.partial(check, build)) for check in contract.checks(card)]
    file = oracle_file(card)
    if file is not None:
        oracle = runpy.run_path(str(file))
        checks += [
            (f"oracle {case}", functools.partial(oracle["check"], build, dict(case))) for case in oracle["CASES"]
        ]
    return [(name, _outcome(check)) for name, check in checks]


def _outcome(check: Callable[[], None]) -> str:
    try:
        check()
    except AssertionError as error:
        return f"fails: {error}" if str(error) else "fails"
    except Exception as error:  # Whatever a part in the making raises is the answer.
        return f"fails: {type(error).__name__}: {error}"
    return "holds"


def evidence(card: Card) -> dict[str, Any] | None:
    """The recorded comparison of a part with its baseline, as `tellapart evidence` wrote it; None without one."""
    root = checkout()
    own = root / "evidence" if root is not None else _recorded()
    for folder in [*(f / "evidence" for f in _folders(card)), own]:
        file = folder / f"{card.name}.json"
        if file.is_file():
            try:
                held = json.loads(file.read_text(encoding="utf-8"))
            except ValueError as error:
                raise PartError(
                    f"{file} is not readable JSON: {error}; write it again: tellapart evidence {card.name}"
                ) from None
            if isinstance(held, dict):
                return held
    return None


def systems() -> list[dict[str, Any]]:
    """Every system of the catalogue that some part realises, read off the cards.

    Each is a dict: `system`, `parts`, `oracle` and `evidence` (whether each of its parts has it), `verdict`.
    """
    of: dict[str, list[Card]] = {}
    for card in cards().values():
        for slug in card.system:
            of.setdefault(slug, []).append(card)
    return [_system(slug, realised) for slug, realised in sorted(of.items())]


def _system(slug: str, realised: list[Card]) -> dict[str, Any]:
    found = {card.name: evidence(card) for card in realised}
    words = {name: briefly(recorded) for name, recorded in found.items() if recorded is not None}
    return {
        "system": slug,
        "parts": sorted(found),
        "oracle": all(has_oracle(card) for card in realised),
        "evidence": all(recorded is not None for recorded in found.values()),
        "verdict": next(iter(words.values())) if len(found) == len(words) == 1
        else "; ".join(f"{name}: {said}" for name, said in sorted(words.items())),
    }  # fmt: skip


def briefly(recorded: Mapping[str, Any]) -> str:
    """The verdict of recorded evidence in a few words: in how many comparisons a part helps and hurts."""
    said = Counter(row["verdict"] for row in recorded["rows"] if row.get("main", True))
    if len(said) < 2:
        return str(recorded["verdict"])
    told = [f"{word} in {said[word]}" for word in ("helps", "hurts") if said[word]]
    return f"{', '.join(told)} of {said.total()}"


def explain(name: str, *, shape: str | None = None) -> Report:
    """What a part is: its formula and docstring, options with bounds, paper, relations and recorded evidence.

    Args:
        name: name or alias.

    Raises:
        PartError: there is no such part.
    """
    card = card_of(shape, name)
    report = Report(f"{card.name}: {card.summary}")
    body = card.doc.strip().split("\n", 1)
    if len(body) > 1 and body[1].strip():
        report.add(Text(body[1].strip("\n"), kind="code"))
    report.add(Text(card.paper, kind="paper"))
    if card.options:
        rows = [
            [o.name, o.type, "(must be given)" if o.required else repr(o.default), bounds_in_words(o.bounds)]
            for o in card.options
        ]
        report.add(Table("Options", ["option", "type", "default", "bounds"], rows))
    report.add(*_evidence_blocks(card))
    report.facts = {
        "name": card.name,
        "shape": card.shape,
        "place": card.place,
        "system": ", ".join(card.system),
        "aliases": ", ".join(card.aliases),
        "traits": ", ".join(card.traits),
        "tasks": ", ".join(tasks_of(card.traits)) if card.shape == "score" else "",
        "needs": ", ".join(card.needs),
        "oracle": "yes" if has_oracle(card) else "none",
        "file": _place(card.file),
    }
    report.facts = {fact: value for fact, value in report.facts.items() if value}
    return report


SIGNS = {
    "gt": ">",
    "ge": "≥",
    "lt": "<",
    "le": "≤",
    "min_length": "at least this long:",
    "max_length": "at most this long:",
    "multiple_of": "multiple of",
}


def bounds_in_words(bounds: dict[str, Any]) -> str:
    """`{"gt": 0, "le": 1}` -> `> 0, ≤ 1`."""
    return ", ".join(f"{SIGNS[name]} {value}" for name, value in bounds.items())


def _evidence_blocks(card: Card) -> Iterator[Table | Text]:
    recorded = evidence(card)
    if recorded is None:
        yield Text(f"No evidence is recorded for {card.name}.")
        return
    yield from evidence_tables(recorded)
    yield Text(f"{recorded['part']} against {recorded['baseline']}: {recorded['verdict']}.", kind="verdict")
    for words in ("claim", "note"):
        if recorded.get(words):
            yield Text(f"{words.capitalize()}: {recorded[words]}")


def evidence_tables(recorded: dict[str, Any]) -> list[Table]:
    """Recorded evidence as tables: what the verdict is read off, then the further figures, if there are any.

    Each row has the means over seeds, the paired difference with its interval, and the verdict.
    """
    cores, commit = recorded.get("machine", {}).get("cores"), str(recorded.get("commit"))[:10]
    taken = f"{len(recorded['seeds'])} seeds, {recorded.get('seconds')} s on {cores} cores, commit {commit}"
    columns = ["data", "metric", "baseline", "with the part", "difference", "verdict"]
    main = [_evidence_row(row) for row in recorded["rows"] if row.get("main", True)]
    further = [_evidence_row(row) for row in recorded["rows"] if not row.get("main", True)]
    first = Table(f"Evidence (protocol {recorded['protocol']})", columns, main, note=f"Means over {taken}")
    return [first, Table("Further figures, not part of the verdict", columns, further)] if further else [first]


def _evidence_row(row: dict[str, Any]) -> list[Any]:
    difference = Figure(row["metric"], row["difference"], row["low"], row["high"], count=len(row["variant"]))
    return [row["data"], row["metric"], _mean(row["baseline"]), _mean(row["variant"]), difference, row["verdict"]]


def comparisons(names: Sequence[str] = ()) -> Table:
    """What helps, on what and by how much: a row for each recorded comparison that a verdict is read off.

    Args:
        names: of parts, or of systems; none: all.

    Raises:
        PartError: a name that is neither.
    """
    chosen = list(cards().values())
    for name in names:
        if not any(name == card.name or name in card.system for card in chosen):
            card_of(None, name)
    rows: list[list[Any]] = []
    for card in sorted(chosen, key=lambda card: card.name):
        if names and not {card.name, *card.system} & set(names):
            continue
        recorded = evidence(card)
        if recorded is None:
            continue
        for row in map(_evidence_row, [row for row in recorded["rows"] if row.get("main", True)]):
            data, metric, _, _, difference, verdict = row
            rows.append([card.name, recorded["baseline"], data, metric, difference, verdict])
    note = "Paired differences to each part's own baseline, with 95% intervals over seeds"
    return Table("", ["part", "against", "data", "metric", "difference", "verdict"], rows, note)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)


def _place(file: Path) -> str:
    """A file of the package as it stands in it, any other with its whole path."""
    package = Path(__file__).parents[1]
    return file.relative_to(package).as_posix() if file.is_relative_to(package) else str(file)


def _folders(card: Card) -> list[Path]:
    """The folder of parts that a card of another package or of TELLAPART_PARTS was found in."""
    return [] if card.module is not None and card.module.startswith("tellapart.parts.") else [card.file.parents[1]]


def _recorded() -> Path:
    return Path(__file__).parent / "recorded"
