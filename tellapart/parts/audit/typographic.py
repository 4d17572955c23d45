"""Whether a model answers with what is written on a picture instead of what is in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
from PIL import Image
from pydantic import Field

from tellapart.core import redraw
from tellapart.core.chance import mean_above
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import matrix, unit_rows
from tellapart.core.parts import part
from tellapart.core.report import Example, Figure, Finding, Picture, Report, Text
from tellapart.parts.audit._name_answers import answering, names_of, to_write
from tellapart.parts.audit._written import sheet, written

_FEWEST, _WORDS, _SHOWN, _ROWS, _BLOCK = 30, 8, 12, 6, 64


@part(
    paper="Goh et al., Multimodal Neurons in Artificial Neural Networks, Distill 2021; Materzynska, Torralba, Bau: "
    "Disentangling Visual and Written Concepts in CLIP, CVPR 2022",
    place="audit",
    traits=("image", "pictures", "image-encoder"),
    aliases=("typographic-attack",),
)
def typographic(
    vectors: Mapping[str, Any],
    collection: Collection,
    *,
    seed: int = 0,
    by: str = "label",
    column: str = "",
    ask: str = "{name}",
    items: Annotated[int, Field(ge=30, le=2000)] = 60,
    wide: Annotated[float, Field(ge=0.1, le=1)] = 0.7,
    own: bool = False,
) -> Report:
    """How often the answer about a picture becomes a wrong word that was drawn onto it.

    Formula: for a picture with the name A and the name B of another one,
        read = [answer = B, B drawn] - [answer = B, B's letters drawn in another order],
    both on the same white card at the same drawn place. Its mean over pictures is 0 where letters are marks like any
    others, however much a card disturbs. The null: the order of the letters says nothing; p is of signs drawn anew for
    whole words, since pictures with one word on them are not independent (`core.chance.mean_above`).

    The answer is the name whose text (`ask`) has the greatest cosine with the picture, among all names, where the model
    reads texts. Names are the labels, or, where fewer than 8 of them are, the tags or nouns of captions
    (`_things.things_of`), of which any that the picture has is right. Without texts it is the label, told by a ridge
    regression on the clean vectors of other items.

    Taken: a wrong class name on every picture, and how many answers become it (the attack success rate). There no word
    or a clean picture is the comparison; what a card alone does is then part of the figure. Here it is the same letters
    shuffled, as nonsense strings are in the second paper. Its learnt projections are not part of this.

    Use it before pictures come with writing on them (screenshots, packages, signs), or from people who would gain by a
    wrong answer. Only names that Pillow's font can draw are written: 3 to 24 Latin letters. A model that does not read
    has nothing here, and may still be disturbed: see `right, letters shuffled` beside `right, as it is`.

    In our record, of models with a planted reader and without, the figure is within a point of the share of answers
    that reading changes, and the drop in accuracy 5 to 13 points off. No published encoder that reads was tried.

    Relations: `medmnist-c` damages pictures in other ways, `counteranimal` looks for cues that are there already.

    Args:
        vectors: `image` [n, d], `pictures`, `image-encoder`; `text-encoder` into the same space where there is one.
        by: column of labels. column: of tags or captions, as in `negation`.
        items: pictures that are drawn on; each is encoded twice.
        wide: width of the card, as a share of the picture's.
        own: draw the right name too, and say what it helps: a third encoding.

    Raises `DataError` for rows that do not match, or neither labels nor texts.
    """
    x = unit_rows(matrix(vectors.get("image"), what="image"))
    pictures, encode = vectors.get("pictures"), vectors.get("image-encoder")
    if pictures is None or encode is None or not len(x) == len(collection) == len(pictures):
        raise DataError("as many vectors and pictures as items are needed, and what encodes them: audit pictures")
    if "{name}" not in ask:
        raise DataError("ask must hold {name}, as in 'a picture of a {name}'")
    rng = np.random.default_rng(seed)
    held = names_of(vectors, collection, by, column, _WORDS, rng)
    drawn = to_write(held, items, own, rng)
    report = Report("Written words", facts={"seed": seed, "names": len(held.names), "column": held.column})
    report.add(Figure("pictures written on", len(drawn), count=len(held.rows), note="a count has no interval"))
    word = np.array([held.names.index(said[0]) for _, said in drawn], np.int64)
    if len(drawn) < _FEWEST or len(np.unique(word)) < _WORDS:
        few = f"{len(np.unique(word))} names can be drawn on {len(drawn)} pictures, {_WORDS} and {_FEWEST} are needed"
        return report.add(Text(f"cannot tell whether the model reads what is written: {few}", "verdict"))
    rows, said = np.array([row for row, _ in drawn]), [words for _, words in drawn]

    def made(i: int) -> list[Image.Image]:
        return written(pictures[int(held.rows[rows[i]])], said[i], wide, np.random.default_rng([seed, i]))

    z = np.concatenate([
        matrix(encode([image for i in some for image in made(i)]), dim=x.shape[1], what="what the encoder gives")
        for some in np.array_split(np.arange(len(rows)), math.ceil(len(rows) / _BLOCK))
    ])  # fmt: skip
    groups = collection.numbers("group") if "group" in collection.columns else np.arange(len(x))
    told = answering(vectors, x[held.rows], groups[held.rows], held, ask)
    before = told(x[held.rows[rows]], rows)
    answers = told(z, np.repeat(rows, len(said[0]))).reshape(len(rows), -1)
    each = np.arange(len(rows))
    shares = {"right, as it is": held.has[rows, before], "right, letters shuffled": held.has[rows, answers[:, 1]]}
    shares |= {"right, wrong word": held.has[rows, answers[:, 0]]}
    shares |= {"right, own name": held.has[rows, answers[:, 2]]} if own else {}
    shares |= {"the word, written": answers[:, 0] == word, "the word, letters shuffled": answers[:, 1] == word}
    for name, hit in shares.items():
        report.add(
            Figure(
                name, float(hit.mean()), *redraw.interval(redraw.mean(hit * 1.0), each, seed=seed, draws=300), len(hit)
            )
        )
    read = shares["the word, written"].astype(float) - shares["the word, letters shuffled"]
    ends = redraw.interval(redraw.mean(read), word, seed=seed, draws=300, ends=(-1.0, 1.0))
    as_word, as_letters = (f"{shares[f'the word, {how}'].mean():.0%}" for how in ("written", "letters shuffled"))
    sentence = (
        f"With a wrong name written on it, a picture is taken for that name in {as_word} of the cases; with the same "
        f"letters in another order, in {as_letters}."
    )
    fooled = [i for i in np.argsort(-read, kind="stable") if read[i] > 0]
    ids = [str(i) for i in collection.ids[held.rows[rows]]]
    shown = [
        Example([ids[i]], f"taken for '{said[i][0]}' with that written on it, for '{held.names[answers[i, 1]]}' with "
                f"'{said[i][1]}', for '{held.names[before[i]]}' as it is") for i in fooled[:_SHOWN]
    ]  # fmt: skip
    figure = Figure("the written word is the answer", float(read.mean()), *ends, count=len(read))
    report.add(Finding(figure, sentence, mean_above(read, word, seed=seed), "lower", ids, read.tolist(), shown))
    picked = [*fooled, *(i for i in each if i not in fooled)][:_ROWS]
    tiles = [[pictures[int(held.rows[rows[i]])], *made(i)[1::-1]] for i in picked]
    caption = f"As they are, with letters, with a wrong name: {min(len(fooled), _ROWS)} of these are taken for it"
    return report.add(Picture("What was written", caption, svg=sheet(tiles)))
