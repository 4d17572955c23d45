"""A BEIR folder: corpus.jsonl, queries.jsonl and qrels/*.tsv. Several relevant documents of one query stay several.

Also a folder of LongEmbed: corpus.jsonl (doc_id, text), queries.jsonl (qid, text) and qrels.jsonl (qid, doc_id), where
all documents are searched, of whatever context length.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.progress import Progress
from tellapart.data.columns import split_of
from tellapart.data.lines import lines
from tellapart.data.problems import Problems
from tellapart.data.provenance import with_about
from tellapart.data.readers import jsonl
from tellapart.data.tables import Row, collect, in_blocks

ORDER = 20
PAIRS = 4096
ADVICE = (
    "A BEIR folder holds corpus.jsonl, queries.jsonl (fields _id and text) "
    "and qrels/test.tsv (query-id, corpus-id, score), one of LongEmbed qrels.jsonl (qid, doc_id)."
)


def accepts(path: Path) -> bool:
    """A folder with corpus.jsonl, queries.jsonl, and a folder qrels or qrels.jsonl."""
    return (
        path.is_dir()
        and _file(path, "corpus") is not None
        and _file(path, "queries") is not None
        and ((path / "qrels").is_dir() or _file(path, "qrels") is not None)
    )


def read(
    path: Path,
    *,
    columns: Mapping[str, str] | None = None,
    root: Path | None = None,
    cache: Path | None = None,
    progress: Progress | None = None,
) -> Collection:
    """One row for every query and each of its relevant documents.

    `target` is the query, so that every document judged relevant is a positive of it; `score` is the grade; `split`
    comes from the name of the file in qrels. Documents that no query needs are not in the rows: `documents(path)`
    gives the whole corpus, which is what is searched.
    """
    if columns:
        raise DataError("a BEIR folder has fixed fields; columns= is for tables")
    problems = Problems()
    tables = (path / "qrels").is_dir()
    judged = list(_judgements(path / "qrels", problems) if tables else _judged_lines(path, problems))
    queries, _ = _texts(path, "queries", {q for q, _, _, _, _ in judged}, problems, progress)
    corpus, total = _texts(path, "corpus", {d for _, d, _, _, _ in judged}, problems, progress)
    made = collect(
        in_blocks(_pairs(judged, queries, corpus, problems), PAIRS), source=path.name, root=root or path, cache=cache,
        progress=progress, problems=problems, total=len(judged), advice=ADVICE,
    )  # fmt: skip
    return with_about(made, notes=[f"{total} documents are searched, {len(corpus)} of them are relevant to a query"])


def documents(path: Path, *, cache: Path | None = None, progress: Progress | None = None) -> Collection:
    """The whole corpus: `id`, `positive` (title and text) and `title`, read by blocks."""
    problems = Problems()
    file = _file(path, "corpus")
    if file is None:
        raise DataError(f"{path} holds no corpus.jsonl")
    blocks = ([(place, _document(row)) for place, row in block] for block in jsonl.blocks(file, problems))
    made = collect(
        blocks, source=file.name, root=path, cache=cache, progress=progress, problems=problems, advice=ADVICE
    )
    names = ["positive" if name == "text" else name for name in made.columns]
    return Collection(made.table.rename_columns(names), problems=made.problems)


def _document(row: dict[str, Any]) -> dict[str, Any]:
    title = row.get("title")
    return {"id": _named(row, "doc_id"), "text": _joined(row), "title": title if isinstance(title, str) else None}


def _pairs(
    judged: list[tuple[str, str, float, str, str]], queries: dict[str, str], corpus: dict[str, str], problems: Problems
) -> Iterator[Row]:
    seen = set()
    for query, document, grade, split, place in judged:
        for what, id_, known in (("query", query, queries), ("document", document, corpus)):
            if id_ not in known:
                problems.add(f"{query}/{document}", place, f"the {what} is missing: {id_!r} is judged and not there")
                break
        else:
            if (query, document) in seen:
                continue
            seen.add((query, document))
            row = {"id": f"{query}/{document}", "anchor": queries[query], "positive": corpus[document], "target": query,
                   "score": grade, "query_id": query, "document_id": document}  # fmt: skip
            yield place, {**row, "split": split} if split else row


def _judgements(folder: Path, problems: Problems) -> Iterator[tuple[str, str, float, str, str]]:
    files = sorted(p for p in folder.iterdir() if p.suffix.lower() == ".tsv" and p.is_file())
    if not files:
        raise DataError(f"{folder} holds no .tsv file. {ADVICE}")
    splits = [split_of(file.stem) for file in files]
    for file, split in zip(files, splits, strict=True):
        for number, line in enumerate(lines(file), 1):
            place = f"qrels/{file.name}:{number}"
            cells = (line or "").strip().split("\t")
            if line is None or cells == [""]:
                continue
            if len(cells) == 4:
                cells = [cells[0], cells[2], cells[3]]
            try:
                query, document, grade = cells[0], cells[1], float(cells[2])
            except (IndexError, ValueError):
                if number > 1:
                    problems.add("", place, "not a judgement: write query-id, corpus-id, score, with tabs between")
                continue
            if grade > 0:
                yield query, document, grade, split if all(splits) else "", place


def _judged_lines(path: Path, problems: Problems) -> Iterator[tuple[str, str, float, str, str]]:
    """Judgements of LongEmbed, a record each."""
    file = _file(path, "qrels")
    assert file is not None
    for block in jsonl.blocks(file, problems):
        for place, row in block:
            query, document = _key(row.get("qid")), _key(row.get("doc_id"))
            if query and document:
                yield query, document, 1.0, "", place
            else:
                problems.add("", place, "not a judgement: write qid and doc_id")


def _texts(
    path: Path, name: str, wanted: set[str], problems: Problems, progress: Progress | None
) -> tuple[dict[str, str], int]:
    file = _file(path, name)
    if file is None:
        raise DataError(f"{path} holds no {name}.jsonl. {ADVICE}")
    found: dict[str, str] = {}
    total = 0
    for block in jsonl.blocks(file, problems):
        for place, row in block:
            id_ = _named(row, "qid" if name == "queries" else "doc_id")
            if not id_:
                problems.add("", place, "a record without _id")
                continue
            total += 1
            if id_ in wanted:
                found[id_] = _joined(row)
        if progress is not None:
            progress(total, total)
    return found, total


def _joined(row: dict[str, Any]) -> str:
    return " ".join(v.strip() for v in (row.get("title"), row.get("text")) if isinstance(v, str) and v.strip())


def _named(row: dict[str, Any], other: str) -> str:
    """The id of a record of BEIR, or of LongEmbed."""
    return _key(row.get("_id", row.get(other)))


def _key(value: Any) -> str:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _file(path: Path, name: str) -> Path | None:
    return next((f for f in (path / f"{name}.jsonl", path / f"{name}.jsonl.gz") if f.is_file()), None)
