"""Linking of two tables of records, each a picture and a text: pooled vectors against strings and either part alone.

An entity is an emoji, of one sign and without skin tone. Its record in table A is OpenMoji's drawing with its name; its
record in table B is drawn by another hand and has another name where it has one. Every character of both texts is read
wrong with the chance of a noise level, as a scanner does: taken for one that looks alike, lost, or doubled. Half of
the entities are known (in both tables, at all noise levels), some choose among options, the rest are linked once:
records of A look for theirs among all of B of the same part and noise level.

Towers are linear heads on frozen features. The first stage reads all records, none of which has a label but those of
known entities; the baseline is the mean of the cosines of both frozen encoders, whose weights are chosen, too.

The metric is accuracy@1, one value an entity: whether the nearest record is the right one; a tie counts in part.

Data: `noto` (Google's drawings, Debian's fonts-noto-color-emoji), `altered` (OpenMoji's own, turned, cut, of other
colours).

Options (`[options]` of the spec):
    baseline: `weights`, shares of the text to choose from; and `ngrams`, longest runs of characters for TF-IDF.
    variant: fields of the recipe; a list holds what is chosen from.
    controls: further recipes (changes of the variant, with a `name`) that the part is compared with; those with
        `labels = false` are told of no entity.
    noise: the levels (0, 0.15, 0.3).
    items, epochs, batch_size, head: the budget (600, 10, 128, "linear-head(dim=128)").
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.parts import make
from tellapart.core.relation import Keys
from tellapart.data.images import image_source, open_image
from tellapart.data.shipped import file_of_package
from tellapart.data.spool import cache_folder
from tellapart.engine.embed import embed
from tellapart.engine.evaluate import retrieval
from tellapart.engine.fit import fit
from tellapart.engine.inputs import Features, TrainData
from tellapart.engine.links import pooled
from tellapart.engine.together import joined
from tellapart.protocol._sets import shipped
from tellapart.recipe import Recipe

KNOWN = ("baseline", "variant", "controls", "noise", "items", "epochs", "batch_size", "head")
DATA, SHARES, LEVELS = ("noto", "altered"), (0.5, 0.15), (0.0, 0.15, 0.3)
FONT, PACKAGE, SIZE = "NotoColorEmoji.ttf", "fonts-noto-color-emoji", 109
ALIKE = {
    "a": "o", "b": "6", "c": "e", "e": "c", "f": "t", "g": "9", "h": "b", "i": "1", "l": "1", "m": "rn", "n": "r",
    "o": "0", "q": "g", "r": "n", "s": "5", "t": "f", "u": "v", "v": "u", "w": "vv", "y": "v", "z": "2",
}  # fmt: skip

Figures = dict[float, np.ndarray]


@dataclass(frozen=True)
class Records:
    """Two tables of the same entities, row by row.

    Attributes:
        text: by (table, level) the words; x, v: frozen features of texts [n, t] by the same, and of pictures by table.
    """

    text: Mapping[tuple[int, float], list[str]]
    x: Mapping[tuple[int, float], np.ndarray]
    v: tuple[np.ndarray, np.ndarray]

    def __len__(self) -> int:
        return len(self.v[0])


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{metric: (baseline, part)}, [test entities] each."""
    options = spec["options"]
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise PartError(f"the protocol records has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    levels = tuple(options.get("noise", LEVELS))
    made = records(data, int(options.get("items", 600)), levels)
    known, choose, test = parted(len(made), seed)
    budget = {"batch_size": options.get("batch_size", 128), "epochs": options.get("epochs", 10)}
    budget |= {"head": options.get("head", "linear-head(dim=128)")} | options["variant"]
    ours = trained(made, seed, budget, levels, known, choose, test)
    base = options["baseline"]
    weighed = [_frozen(made, weight, levels, (choose, test)) for weight in base["weights"]]
    others = {"": max(weighed, key=_on_choice)[1]}
    for name, weight in (("texts alone", 1.0), ("pictures alone", 0.0)):
        others[f", against {name}"] = _frozen(made, weight, levels, (choose, test))[1]
    strings = [_strings(made, most, levels, (choose, test)) for most in base["ngrams"]]
    others[", against TF-IDF of characters"] = max(strings, key=_on_choice)[1]
    for control in options.get("controls", []):
        fields = {k: v for k, v in control.items() if k not in ("name", "labels")}
        others[f", against {control['name']}"] = trained(
            made, seed, budget | fields, levels, known if control.get("labels", True) else known[:0], choose, test
        )
    return {f"accuracy@1, noise {level:g}{words}": (found[level], ours[level]) for words, found in others.items()
            for level in levels}  # fmt: skip


def parted(n: int, seed: int) -> list[np.ndarray]:
    """Entities that are known, that choose, and that are linked in the end."""
    order = np.random.default_rng(np.random.SeedSequence([seed, 5])).permutation(n)
    return np.split(order, np.round(np.cumsum(SHARES) * n).astype(int))


def trained(
    made: Records,
    seed: int,
    fields: Mapping[str, Any],
    levels: Sequence[float],
    known: np.ndarray,
    choose: np.ndarray,
    test: np.ndarray,
) -> Figures:
    """The test figures of the recipe that is best on the entities that choose."""
    lists = {name: value if isinstance(value, list) else [value] for name, value in fields.items()}
    rows = list(itertools.product((0, 1), levels))
    text = np.concatenate([made.x[row] for row in rows])
    picture = np.concatenate([made.v[table] for table, _ in rows])
    entity = np.tile(np.where(np.isin(np.arange(len(made)), known), np.arange(len(made)), -1), len(rows))
    item = torch.arange(len(entity))
    found = []
    for values in itertools.product(*lists.values()):
        recipe = Recipe.of(dict(zip(lists, values, strict=True)))
        # Elsewhere a record without an entity would not even find its own other half.
        own = -1 if recipe.strategy.startswith("clippings") else len(made) + item.numpy()
        keys = Keys(item, item, torch.from_numpy(np.where(entity < 0, own, entity)))
        fitted = fit(recipe, TrainData(Features(text), Features(picture), keys), seed=seed)

        def vectors(table: int, level: float, some: np.ndarray, fitted: Any = fitted) -> np.ndarray:
            t, v = fitted.encode("query", made.x[table, level][some]), fitted.encode("document", made.v[table][some])
            return joined([t, v], "sum")

        found.append(tuple({level: _accuracy(vectors(0, level, some), vectors(1, level, some)) for level in levels}
                           for some in (choose, test)))  # fmt: skip
    return max(found, key=_on_choice)[1]


def _on_choice(pair: tuple[Figures, Figures]) -> float:
    return float(np.mean([values.mean() for values in pair[0].values()]))


def _accuracy(q: np.ndarray, z: np.ndarray) -> np.ndarray:
    return retrieval(q, z, np.arange(len(q)), ks=(1,), own="keep")["Success@1"]


def _frozen(made: Records, weight: float, levels: Sequence[float], parts: Sequence[np.ndarray]) -> Any:
    """Figures of frozen vectors: the cosine is this share of that of the texts, and the rest of that of pictures."""
    found = []
    for some in parts:
        figures = {}
        for level in levels:
            q, z = (
                pooled([made.x[table, level][some], made.v[table][some]]) * _shares(made, table, level, weight)
                for table in (0, 1)
            )
            figures[level] = _accuracy(q, z)
        found.append(figures)
    return tuple(found)


def _shares(made: Records, table: int, level: float, weight: float) -> np.ndarray:
    widths = made.x[table, level].shape[1], made.v[table].shape[1]
    return np.repeat(np.sqrt([2 * weight, 2 - 2 * weight]), widths).astype(np.float32)


def _strings(made: Records, most: int, levels: Sequence[float], parts: Sequence[np.ndarray]) -> Any:
    """Figures of the cosine of TF-IDF vectors of runs of up to so many characters, learnt on the linked tables."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    found = []
    for some in parts:
        figures = {}
        for level in levels:
            texts = [[made.text[table, level][row] for row in some] for table in (0, 1)]
            vectoriser = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, most)).fit(texts[0] + texts[1])
            q, z = (np.asarray(vectoriser.transform(each).todense(), np.float32) for each in texts)
            figures[level] = _accuracy(q, z)
        found.append(figures)
    return tuple(found)


@functools.cache
def records(data: str, most: int, levels: tuple[float, ...]) -> Records:
    """Both tables with frozen features."""
    if data not in DATA:
        raise DataError(f"the protocol records knows {', '.join(DATA)}, not {data!r}")
    made = shipped("openmoji")
    plain = [row for row, id_ in enumerate(made.ids) if "-" not in id_ and made.values("text")[row]] if most else []
    rows = [plain[at] for at in np.unique(np.linspace(0, len(plain) - 1, min(most, len(plain))).astype(int))]
    some = made.take(rows)
    names = some.values("text")
    others = [next(iter(more or []), name) for name, more in zip(names, some.values("alternatives"), strict=True)]
    cache = cache_folder(None, "evidence-vectors")
    pictures = [_drawn(data, id_, value, some) for id_, value in zip(some.ids, some.values("image"), strict=True)]
    drawn = Collection.of({"id": some.ids.tolist(), "image": pictures})
    v = tuple(np.array(embed(each, "image", make("encode", "lite0"), cache=cache)) for each in (some, drawn))
    text, x = {}, {}
    for (table, words), level in itertools.product(enumerate((names, others)), levels):
        read = [misread(word, level, seed=(row, table)) for row, word in enumerate(words)]
        text[table, level] = read
        x[table, level] = np.array(embed(Collection.of({"text": read}), "text", make("encode", "minilm"), cache=cache))
    return Records(text, x, (v[0], v[1]))


def misread(text: str, level: float, *, seed: tuple[int, int]) -> str:
    """The text with every character read wrong with a chance; never all of them lost."""
    rng = np.random.default_rng(np.random.SeedSequence([*seed, 7]))
    wrong, how = rng.random(len(text)) < level, rng.integers(4, size=len(text))
    made = [
        sign if not bad else ALIKE.get(sign.lower(), "") if kind < 2 else "" if kind == 2 else sign * 2
        for sign, bad, kind in zip(text, wrong, how, strict=True)
    ]
    return "".join(made).strip() or text


def _drawn(data: str, code: str, value: Any, made: Collection) -> bytes:
    """The picture of table B as PNG."""
    import io

    if data == "noto":
        folder = file_of_package(FONT, ("usr/share/fonts/truetype/noto",), PACKAGE)
        picture = Image.new("RGB", (136, 128), "white")
        font = ImageFont.truetype(str(folder / FONT), SIZE)
        ImageDraw.Draw(picture).text((0, 0), chr(int(code, 16)), font=font, embedded_color=True)
    else:
        rng = np.random.default_rng(np.random.SeedSequence([int(code, 16), 8]))
        plain = open_image(image_source(value, made.root))
        turned = plain.rotate(float(rng.uniform(-40, 40)), fillcolor="white", resample=Image.Resampling.BICUBIC)
        left, top = rng.integers(0, plain.width // 4, size=2).tolist()
        cut = turned.crop((left, top, left + plain.width * 3 // 4, top + plain.height * 3 // 4))
        channels = cut.split()
        picture = Image.merge("RGB", [channels[i] for i in rng.permutation(3)])
    sink = io.BytesIO()
    picture.save(sink, "PNG")
    return sink.getvalue()
