"""Whether a module that captions taught finds by a picture and a condition what the sum of both vectors does not.

Data, pictures with a caption and two tags:
    shapes: 720 drawn shapes of six forms and six colours, of any size and place, "a red disc"; trained on 60 of 100
        pictures, asked about the rest.
    openmoji: drawings of people with a skin tone, "waving hand: dark skin tone"; the thing is the concept, the
        attribute the tone. Concepts that are asked about are in no training picture; all other drawings are trained on.

`rtd` trains heads on EfficientNet-Lite0 and MiniLM, and a composer, on pictures with captions alone. The audit asks its
four tasks of held-out pictures. Metrics: `R@1, TASK`, of the sum of the vectors of reference and words (baseline) and
of the composer (variant), in one space; `…, against the picture alone` and `…, against the words alone`.

Options (`[options]` of the spec): fields of the recipe; episodes (150) of a task.
"""

from __future__ import annotations

import functools
import io
from typing import Any

import numpy as np
import torch
from PIL import Image

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.parts import make
from tellapart.core.relation import Keys
from tellapart.data.spool import cache_folder
from tellapart.engine.captions import told
from tellapart.engine.embed import embed
from tellapart.engine.fit import fit
from tellapart.engine.inputs import Features, TrainData
from tellapart.parts.audit._conditions import TASKS
from tellapart.protocol._sets import shipped
from tellapart.protocol.regions import png
from tellapart.protocol.wrong_captions import COLOURS, SHAPES, drawn
from tellapart.recipe import Recipe

KINDS, TRAINED, PICTURES, SIDE = ("shapes", "openmoji"), 0.6, 720, 160
TAGS = ("attribute", "thing")


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, variant)} for one data set and one seed."""
    if data not in KINDS:
        raise DataError(f"the protocol conditions knows {', '.join(KINDS)}, not {data!r}")
    options = dict(spec["options"])
    most = options.pop("episodes", 150)
    made, image, text = pictures(data)
    fold = made.codes("concept")[0]
    order = np.random.default_rng(np.random.SeedSequence([seed, 21])).permutation(int(fold.max()) + 1)
    known = np.isin(fold, order[: round(TRAINED * len(order))])
    train, test = np.flatnonzero(known), np.flatnonzero(~known & np.array([bool(a) for a in made.values("attribute")]))
    minilm, cache = make("encode", "minilm"), cache_folder(None, "evidence-vectors")
    words, extra = told([made.values("text")[row] for row in train])
    phrases = embed(Collection.of({"text": words}), "text", minilm, cache=cache)
    row, code = torch.arange(len(train)), torch.from_numpy(extra["caption"])
    fitted = fit(
        Recipe.of(options),
        TrainData(
            Features(text[train]), Features(image[train]), Keys(row, code, code), phrase=Features(np.array(phrases)),
            extra=extra,
        ),
        seed=seed,
    )  # fmt: skip

    def encoded(texts: list[str]) -> np.ndarray:
        return fitted.encode("query", np.array(embed(Collection.of({"text": texts}), "text", minilm, cache=cache)))

    vectors = {
        "image": fitted.encode("document", image[test]),
        "text-encoder": encoded,
        "composer": fitted.strategy.composer.saved(),
    }
    audit = make("audit", spec["part"], attribute="attribute", thing="thing", episodes_each=most)
    report, found = audit(vectors, made.take(test), seed=seed), {}
    for task in (f"{how} {tag}" for how in TASKS for tag in TAGS):
        r1 = {how: report.figure(f"R@1, {task}, {how}").value for how in ("sum", "image", "words", "composer")}
        found[f"R@1, {task}"] = (r1["sum"], r1["composer"])
        found[f"R@1, {task}, against the picture alone"] = (r1["image"], r1["composer"])
        found[f"R@1, {task}, against the words alone"] = (r1["words"], r1["composer"])
    return found


@functools.cache
def pictures(data: str) -> tuple[Collection, np.ndarray, np.ndarray]:
    """Pictures with `text`, `attribute`, `thing` and `concept`, and the frozen vectors of pictures and texts."""
    made = _shapes() if data == "shapes" else _people()
    cache = cache_folder(None, "evidence-vectors")
    image = np.array(embed(made, "image", make("encode", "lite0"), cache=cache))
    return made, image, np.array(embed(made, "text", make("encode", "minilm"), cache=cache))


def _shapes() -> Collection:
    columns: dict[str, list[Any]] = {name: [] for name in ("id", "image", "text", *TAGS, "concept")}
    things = [(colour, shape) for colour in COLOURS for shape in SHAPES]
    for n in range(PICTURES):
        rng, (colour, shape) = np.random.default_rng([8, n]), things[n % len(things)]
        tile = Image.open(io.BytesIO(drawn((colour, shape)))).convert("RGB").crop((0, 48, 96, 144))
        side = int(rng.integers(70, SIDE))
        left, top = (int(v) for v in rng.integers(0, SIDE - side + 1, 2))
        whole = Image.new("RGB", (SIDE, SIDE), "white")
        whole.paste(tile.resize((side, side)), (left, top))
        row = (f"{n:04d}", png(whole), f"a {colour} {shape}", colour, shape, f"{n:04d}")
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
    return Collection.of(columns)


def _people() -> Collection:
    made = shipped("openmoji")
    tones = [f"{tone} skin tone" if tone and " and " not in tone else "" for tone in made.values("skin_tone")]
    return made.with_column("attribute", tones).with_column("thing", made["concept"])
