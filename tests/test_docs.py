"""What is public is documented, what the pages show is what the code does, and every part has its page."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import pytest

from tellapart import cli
from tellapart.core.parts import Card, card_of, cards
from tellapart.core.version import VERSION

ROOT = Path(__file__).parents[1]
PARTS = [pytest.param(card, id=f"{card.shape}/{card.name}") for card in cards().values()]
SHAPES_OF_FORMULAS = ("objective", "relate", "classify", "score", "rank", "merge", "audit")
SOURCE = re.compile(r"\b(19|20)\d\d\b")


@pytest.fixture(scope="module")
def docs():
    spec = importlib.util.spec_from_file_location("tellapart_scripts_docs", ROOT / "scripts" / "docs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("card", PARTS)
def test_a_part_says_what_it_is(card: Card):
    assert card.summary.endswith("."), "the first line of the docstring is one sentence"
    assert len(card.doc) >= 200, "formula, shapes, when to use it, relations"
    baseline = card.paper.startswith("(plain baseline")
    assert baseline or SOURCE.search(card.paper), f"the paper has no year: {card.paper!r}"
    assert card.place.strip()


@pytest.mark.parametrize("card", [p for p in PARTS if p.values[0].system])
def test_a_published_system_gives_its_formula_and_how_it_relates(card: Card):
    text = card.doc.lower()
    if card.shape in SHAPES_OF_FORMULAS:
        assert "formula" in text, "a published method states its formula"
    # Audits each ask a question of their own; elsewhere parts of one shape and place are alternatives.
    others = {c.name for c in cards(card.shape).values() if c.place == card.place} - {card.name}
    if others and card.shape != "audit":
        named = set(re.findall(r"`([a-z0-9-]+)", card.doc)) & set(cards())
        assert "relations:" in text or named - {card.name}, f"say how it relates to {', '.join(sorted(others)[:5])}"
    assert not card.paper.startswith("(plain baseline"), "a published system names its paper"


@pytest.mark.parametrize("card", PARTS)
def test_every_part_named_in_a_docstring_exists(card: Card):
    after = re.split(r"Relations?[^:\n]*:", card.doc, maxsplit=1)
    said = re.split(r"\n\s*(?:Args|Attributes|Returns|Raises)\b", after[1])[0] if len(after) == 2 else ""
    named = re.findall(r"`([a-z0-9]+(?:-[a-z0-9]+)+)`", said)
    unknown = []
    for name in named:
        try:
            card_of(None, name)
        except ValueError:
            unknown.append(name)
    assert not unknown, f"its relations name {unknown}, which are no parts"


def test_every_part_and_every_verb_has_its_page(docs, tmp_path):
    docs.generate(tmp_path / "docs")
    held = tmp_path / "docs"
    for card in cards().values():
        page = (held / "parts" / card.shape / f"{card.name}.md").read_text(encoding="utf-8")
        assert card.paper in page and all(f"`{o.name}`" in page for o in card.options)
    index = (held / "parts" / "index.md").read_text(encoding="utf-8")
    assert all(f"]({card.shape}/{card.name}.md)" in index for card in cards().values())
    lines = (held / "cli.md").read_text(encoding="utf-8")
    assert all(f"## {verb}\n" in lines for verb in cli.verbs())


def test_snippets_show_what_the_commands_show_today(docs):
    assert docs.snippets(write=False) == []


def test_an_outdated_snippet_is_seen_and_renewed(docs, tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("<!-- shows: tellapart --version -->\nold\n<!-- end -->\n", encoding="utf-8")
    monkeypatch.setattr(docs, "written_pages", lambda: [page])
    assert docs.snippets(write=False) == [("page.md", "tellapart --version")]
    assert "old" in page.read_text(encoding="utf-8")
    assert docs.snippets(write=True) == []
    assert f"$ tellapart --version\ntellapart {VERSION}\n" in page.read_text(encoding="utf-8")
    assert docs.snippets(write=False) == []


def test_what_is_worked_out_stands_on_what_is_recorded_today(docs, tmp_path):
    scaling = docs.scaling
    assert scaling.renew(write=False) == []
    page = tmp_path / "page.md"
    page.write_text(re.sub(r"[0-9]", "7", scaling.PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    assert sorted(scaling.renew(write=False, page=page)) == sorted(scaling.tables())
    assert scaling.renew(write=True, page=page) == scaling.renew(write=False, page=page) == []
    held = json.loads((ROOT / "benchmarks" / "results" / "text_embedding.json").read_text(encoding="utf-8"))
    rate = held["sentences"]["ours_per_second"]["median"]
    assert f"| {rate:g} texts a second | {held['machine']['cores']} |" in page.read_text(encoding="utf-8")
    hours = scaling.core_hours(10**7)["embed texts"][0]
    assert hours == pytest.approx(10**7 / rate * held["machine"]["cores"] / 3600)


def test_a_docstring_becomes_markdown(docs):
    formula = "One.\n\nFormula, for x::\n\n    a = b\n      + c\n\nText.\n\n"
    lists = "Args:\n    x: this\n        and that.\n    y: other.\n\nRelations:\n    - `knn` is near."
    made = docs.docstring(formula + lists)
    assert "```text\na = b\n  + c\n```" in made
    assert "- `x`: this and that.\n- `y`: other." in made
    assert "\n- `knn` is near." in made and "::" not in made


def test_commands_in_the_pages_are_verbs():
    for file in [*(ROOT / "docs").glob("*.md"), ROOT / "CONTRIBUTING.md", ROOT / "README.md"]:
        if file.is_file():
            verbs = re.findall(r"(?:^\$ |`)tellapart ([a-z]+)", file.read_text(encoding="utf-8"), re.MULTILINE)
            unknown = set(verbs) - set(cli.verbs())
            assert not unknown, f"{file.name} shows `tellapart {sorted(unknown)[0]}`, which is no verb"


def test_the_citation_and_the_changelog_know_the_version():
    assert f"\nversion: {VERSION}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "## Unreleased" in changes
