"""Build the documentation: written pages from docs/, pages of parts and verbs from what the code says of itself.

    python scripts/docs.py            builds site/, fails on a broken link or an outdated snippet
    python scripts/docs.py --write    first brings the snippets of README.md and docs/ up to date

A snippet stands between `<!-- shows: tellapart ... -->` and `<!-- end -->`; the command is run and its output kept.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from tellapart import catalogue, cli
from tellapart.core.parts import SHAPES, Card, cards
from tellapart.core.report import Picture, Table, Text
from tellapart.helps import what_helps

sys.path.insert(0, str(Path(__file__).parent))
import scaling

ROOT = Path(__file__).resolve().parents[1]
BUILD, SITE = ROOT / "build" / "docs", ROOT / "site"
SNIPPET = re.compile(r"(<!-- shows: (?P<command>tellapart [^\n]*?) -->\n)(?P<shown>.*?)(<!-- end -->)", re.DOTALL)
SECTIONS = ("Args", "Attributes", "Raises", "Returns")
WIDTH = 88
STYLE = (
    ".wy-nav-content{max-width:60rem}.wy-table-responsive table td{white-space:normal}"
    ".rst-content pre code{white-space:pre-wrap}\n"
)
FIRST_PAGES = (
    "index.md", "quickstart.md", "data.md", "objectives.md", "negatives.md", "serving.md", "upgrading.md", "indexes.md",
    "scaling.md", "linking.md",
    "parts", "what_helps.md", "evidence.md", "cli.md", "architecture.md",
)  # fmt: skip
SHAPES_IN_WORDS = {
    "objective": "What training minimises, from the scores of a block of rows against all columns.",
    "relate": "Who is positive, negative or neither to whom.",
    "sample": "Which rows meet in a batch.",
    "augment": "Changed copies of pictures, words or vectors.",
    "encode": "From items to vectors, and from vectors to the shared space.",
    "strategy": "What one step of training does.",
    "classify": "From vectors to classes.",
    "score": "One number an item: how unknown, how much like a target.",
    "rank": "Hits in a better order.",
    "index": "Finding the nearest vectors.",
    "align": "From the vectors of one encoder to those of another.",
    "find": "Items of a collection that should not be learnt from, and what to do about them.",
    "condense": "A few items, chosen or made, in the place of a labelled collection.",
    "audit": "What a collection or a model gets wrong, measured.",
    "merge": "One model out of several.",
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="bring the snippets up to date first")
    asked = parser.parse_args()
    stale = snippets(write=asked.write) + [(scaling.PAGE.name, name) for name in scaling.renew(write=asked.write)]
    for file, command in stale:
        sys.stderr.write(f"{file}: `{command}` shows something else by now; run: scripts/docs --write\n")
    generate(BUILD)
    settings = BUILD.parent / "mkdocs.yml"
    # JSON is YAML, and needs no library to write.
    settings.write_text(json.dumps(configuration(BUILD), indent=1), encoding="utf-8")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "--quiet", "build", "--strict", "-f", str(settings)], cwd=ROOT
    )
    return 1 if stale else built.returncode


def written_pages() -> list[Path]:
    """README and the pages of docs/, in which snippets may stand."""
    return [f for f in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if f.is_file()]


def snippets(*, write: bool) -> list[tuple[str, str]]:
    """Run the commands of all snippets; gives (file, command) of those that are outdated and were not written."""
    stale = []
    for file in written_pages():
        text = file.read_text(encoding="utf-8")

        def shown(match: re.Match, file: Path = file) -> str:
            fresh = f"```console\n$ {match['command']}\n{output(match['command'])}\n```\n"
            if fresh != match["shown"] and not write:
                stale.append((file.name, match["command"]))
            return match[1] + fresh + match[4]

        made = SNIPPET.sub(shown, text)
        if write and made != text:
            file.write_text(made, encoding="utf-8")
    return stale


def output(command: str) -> str:
    """What a command shows on a terminal of fixed width without colours."""
    words = shlex.split(command)[1:]
    settings = {"COLUMNS": str(WIDTH), "TERM": "dumb", "NO_COLOR": "1"}
    shown = CliRunner().invoke(cli.app(words), words, prog_name="tellapart", env=settings).output
    return "\n".join(line.rstrip() for line in shown.strip().splitlines())


def generate(folder: Path) -> None:
    """The written pages, and beside them a page for every part and one for the command line."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT / "docs", folder)
    for name in ("CHANGELOG.md", "CONTRIBUTING.md"):
        if (ROOT / name).is_file():
            shutil.copy(ROOT / name, folder / name.lower())
    (folder / "extra.css").write_text(STYLE, encoding="utf-8")
    (folder / "cli.md").write_text(cli_page(), encoding="utf-8")
    (folder / "evidence.md").write_text(evidence_page(), encoding="utf-8")
    (folder / "what_helps.md").write_text(helps_page(folder / "pictures"), encoding="utf-8")
    (folder / "parts").mkdir()
    (folder / "parts" / "index.md").write_text(parts_page(), encoding="utf-8")
    for card in cards().values():
        page = folder / "parts" / card.shape / f"{card.name}.md"
        page.parent.mkdir(exist_ok=True)
        page.write_text(part_page(card), encoding="utf-8")


def configuration(folder: Path) -> dict:
    """The settings of the site builder, with every page in its menu."""
    names = [n for n in FIRST_PAGES if (folder / n).exists()]
    names += sorted(f.name for f in folder.glob("*.md") if f.name not in names)
    shapes = [{s: [f"parts/{s}/{c}.md" for c in sorted(cards(s))]} for s in SHAPES if cards(s)]
    return {
        "site_name": "tellapart",
        "docs_dir": str(folder),
        "site_dir": str(SITE),
        "use_directory_urls": False,
        "theme": {"name": "readthedocs", "highlightjs": False, "navigation_depth": 3, "titles_only": True},
        "extra_css": ["extra.css"],
        "plugins": ["search"],
        "markdown_extensions": ["tables", "fenced_code", {"toc": {"permalink": False}}],
        "validation": {"links": {"anchors": "warn", "absolute_links": "warn", "unrecognized_links": "warn"}},
        "nav": [{"Parts": ["parts/index.md", *shapes]} if n == "parts" else {label(n): n} for n in names],
    }


def label(page: str) -> str:
    """What a page is called in the menu."""
    return {"index.md": "tellapart", "cli.md": "Command line", "what_helps.md": "What helps where"}.get(
        page, page.removesuffix(".md").capitalize()
    )


def cli_page() -> str:
    """The help of every verb."""
    lines = ["# Command line", "", "```text", output("tellapart --help"), "```", ""]
    for verb in cli.verbs():
        lines += [f"## {verb}", "", "```text", output(f"tellapart {verb} --help"), "```", ""]
    return "\n".join(lines)


def evidence_page() -> str:
    """Every recorded comparison."""
    table = catalogue.comparisons()
    lines = ["# What helps, on what, by how much", "", f"{table.note}. Each page of a part says how it was judged.", ""]
    lines += ["| " + " | ".join(table.columns) + " |", "| " + " | ".join("---" for _ in table.columns) + " |"]
    shapes = {card.name: card.shape for card in cards().values()}
    for name, *cells in table.rows:
        row = [f"[{name}](parts/{shapes[name]}/{name}.md)", *map(str, cells)]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |")
    return "\n".join([*lines, ""])


def helps_page(pictures: Path) -> str:
    """What helps where, drawn; the drawings are written beside the page."""
    lines = []
    for block in what_helps().blocks:
        if isinstance(block, Text):
            lines += [block.text, ""]
        elif isinstance(block, Table):
            lines += ["| " + " | ".join(block.columns) + " |", "|" + " --- |" * len(block.columns)]
            lines += ["| " + " | ".join(map(str, row)) + " |" for row in block.rows]
            lines += ["", f"{block.note}.", ""]
        elif isinstance(block, Picture):
            file = pictures / f"helps-{block.title.lower().replace(' ', '-')}.svg"
            file.write_text(block.svg, encoding="utf-8")
            lines += [f"## {block.title}", "", block.caption, "", f"![{block.caption}](pictures/{file.name})", ""]
    return "\n".join(["# What helps where", "", *lines])


def parts_page() -> str:
    """All parts by shape, and the systems they realise."""
    lines = ["# Parts", "", "One published idea, one file. `tellapart explain NAME` shows a page on the terminal.", ""]
    for shape in SHAPES:
        held = cards(shape)
        if held:
            lines += [
                f"## {shape}",
                "",
                SHAPES_IN_WORDS[shape],
                "",
                "| part | what it does | place |",
                "| --- | --- | --- |",
            ]
            lines += [
                f"| [{c.name}]({shape}/{c.name}.md) | {linked(c.summary, c, 0)} | {c.place} |" for c in held.values()
            ]
            lines += [""]
    lines += [
        "## Published systems",
        "",
        "| system | parts | oracle | evidence | verdict |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in catalogue.systems():
        named = ", ".join(f"[{part}]({cards()[part].shape}/{part}.md)" for part in row["parts"])
        marks = ["yes" if row[name] else "no" for name in ("oracle", "evidence")]
        lines.append(f"| {row['system']} | {named} | {marks[0]} | {marks[1]} | {row['verdict']} |")
    return "\n".join([*lines, ""])


def part_page(card: Card) -> str:
    """One part: what it says of itself, its options, its recorded evidence."""
    facts = {
        "shape": card.shape,
        "place": card.place,
        "paper": card.paper,
        "system": ", ".join(card.system),
        "also called": ", ".join(f"`{alias}`" for alias in card.aliases),
        "traits": ", ".join(card.traits),
        "needs": ", ".join(card.needs),
        "oracle": "yes" if catalogue.has_oracle(card) else "none",
    }
    lines = [f"# {card.name}", "", linked(docstring(card.doc), card, 1), "", "## Facts", ""]
    lines += [f"- **{name}**: {value}" for name, value in facts.items() if value]
    if card.options:
        lines += ["", "## Options", "", "| option | type | default | bounds |", "| --- | --- | --- | --- |"]
        for o in card.options:
            default = "(must be given)" if o.required else f"`{o.default!r}`"
            kind = o.type.replace("|", "\\|")
            lines.append(f"| `{o.name}` | `{kind}` | {default} | {catalogue.bounds_in_words(o.bounds)} |")
    return "\n".join([*lines, "", "## Evidence", "", *evidence_lines(card), ""])


def evidence_lines(card: Card) -> list[str]:
    recorded = catalogue.evidence(card)
    if recorded is None:
        return ["None is recorded."]
    from tellapart.render.values import cell

    lines = [f"Against `{recorded['baseline']}`: **{recorded['verdict']}**.", ""]
    for table in catalogue.evidence_tables(recorded):
        lines += [f"{table.title}:", "", f"| {' | '.join(table.columns)} |", f"|{' --- |' * len(table.columns)}"]
        for row in table.rows:
            shown = [cell(v, signed=column == "difference") for v, column in zip(row, table.columns, strict=True)]
            lines.append(f"| {' | '.join(shown)} |")
        lines += ["", f"{table.note}.\n" if table.note else ""]
    return lines + [f"{name.capitalize()}: {recorded[name]}\n" for name in ("claim", "note") if recorded.get(name)]


def docstring(doc: str) -> str:
    """A docstring as Markdown: formulas stay as they stand, lists of arguments become lists."""
    out, lines = [], doc.strip().splitlines()
    while lines:
        line = lines.pop(0)
        block = []
        while (
            line.rstrip().endswith(":") and lines and (lines[0].startswith("    ") or (block and not lines[0].strip()))
        ):
            block.append(lines.pop(0)[4:])
        if not block and line.rstrip().endswith("::") and len(lines) > 1 and lines[1].startswith("    "):
            lines.pop(0)
            while lines and (lines[0].startswith("    ") or not lines[0].strip()):
                block.append(lines.pop(0)[4:])
        out.append(line.replace("::", ":") if block else line)
        out += shown_block(line, block)
    return "\n".join(out)


def shown_block(header: str, block: list[str]) -> list[str]:
    while block and not block[-1].strip():
        block.pop()
    if not block:
        return []
    if header.rstrip(":").strip() in SECTIONS:
        items = []
        for line in block:
            if line.startswith(" ") and items:
                items[-1] += " " + line.strip()
            elif line.strip():
                name, colon, rest = line.partition(": ")
                items.append(f"- `{name}`: {rest}" if colon else f"- {line}")
        return ["", *items, ""]
    if block[0].startswith("- "):
        return ["", *block, ""]
    return ["", "```text", *block, "```", ""]


def linked(text: str, card: Card, up: int) -> str:
    """Names of other parts in backticks become links to their pages; what is code stays code."""
    known = cards()

    def link(match: re.Match) -> str:
        other = known.get(match[1])
        if other is None or other.name == card.name:
            return match[0]
        return f"[`{other.name}`]({'../' * up}{other.shape}/{other.name}.md)"

    pieces = re.split(r"(```.*?```)", text, flags=re.DOTALL)
    return "".join(p if p.startswith("```") else re.sub(r"`([a-z0-9-]+)`", link, p) for p in pieces)


if __name__ == "__main__":
    sys.exit(main())
