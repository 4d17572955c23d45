"""Classifiers that are told topics in a few words and see items without labels: who finds the items of a topic.

`glosses`: 6 of WordNet's noun topics (lexicographer files), known by 3 to 5 words; the items are at most 250 glosses of
each, in MiniLM's space. `openmoji`: 6 of some 14 kinds of drawings, known by 2 or 3 words; the items are their
pictures, in
the space of two heads trained on the drawings of other concepts. Options are chosen on the other topics. What a topic
is learnt from are the items that are judged, without their labels, as in the paper. Metrics, one value for each topic:
AUROC of the cosine with the topic, and F1 of what the topic is the best of, against the baseline and against the mean
of the keywords.

Options (`[options]` of the spec):
    part_grid, baseline_grid: {option: list of values} to choose from.
    items: of each topic (250).
"""

from __future__ import annotations

import functools
import itertools
from typing import Any, NamedTuple

import numpy as np

from tellapart.core.errors import DataError, PartError
from tellapart.core.features import unit_rows
from tellapart.core.parts import make
from tellapart.data.spool import cache_folder
from tellapart.protocol import _sets

KNOWN = ("part_grid", "baseline_grid", "items")
DATA = ("glosses", "openmoji")
TOPICS, LEAST = 6, 5
KEYWORDS = {
    "noun.act": "act action activity deed work practice",
    "noun.animal": "animal bird fish insect mammal reptile",
    "noun.artifact": "tool machine building device furniture vehicle",
    "noun.attribute": "quality property trait attribute characteristic",
    "noun.body": "body bone muscle nerve organ artery",
    "noun.cognition": "idea theory thought knowledge belief concept",
    "noun.communication": "language message speech writing letter word",
    "noun.event": "event accident contest happening celebration",
    "noun.feeling": "feeling emotion love anger fear joy",
    "noun.food": "food dish meat bread drink sauce",
    "noun.group": "group family team army organization people",
    "noun.location": "city country region district state territory",
    "noun.person": "person man woman worker expert scientist",
    "noun.plant": "plant tree flower shrub grass fern",
    "noun.possession": "money property payment cost wealth tax",
    "noun.substance": "chemical metal acid mineral liquid compound",
    "noun.time": "time day year month hour season",
    "noun.state": "disease condition illness disorder situation",
}
DRAWINGS = {
    "face": "face smile grin",
    "flag": "flag banner nation",
    "clock": "clock o'clock time",
    "hand": "hand finger fist",
    "arrow": "arrow direction pointing",
    "square": "square box",
    "circle": "circle round disc",
    "heart": "heart love",
    "cat": "cat kitten pet",
    "moon": "moon night crescent",
    "train": "train railway locomotive",
    "mail": "mail letter envelope",
    "ball": "ball game sport",
    "book": "book reading page",
    "person": "person people adult",
    "woman": "woman lady female",
}


class World(NamedTuple):
    """Items with hidden topics: unit vectors [n, d], topic of each [n], and the words' vectors by topic."""

    items: np.ndarray
    topic: np.ndarray
    words: dict[str, np.ndarray]


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[Any, Any]]:
    """{metric: (baseline, variant)} for one data set and one seed."""
    options = spec["options"]
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise PartError(f"the protocol topics has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    if data not in DATA:
        raise DataError(f"the protocol topics knows {', '.join(DATA)}, not {data!r}")
    choose, test = worlds(data, seed, options.get("items", 250))
    figures: dict[str, tuple[Any, Any]] = {}
    ours = figures_of(chosen(spec["part"], options.get("part_grid", {}), choose), test)
    base = figures_of(chosen(spec["baseline"], options.get("baseline_grid", {}), choose), test)
    plain = figures_of(None, test)
    for words, other in (("", base), (", against the keywords' mean", plain)):
        for name in ours:
            figures[name + words] = (other[name], ours[name])
    return figures


def chosen(spec: str, grid: dict[str, list[Any]], world: World) -> Any:
    """The part with the options of greatest mean AUROC on the topics to choose by."""
    tried = [make("classify", spec, **dict(zip(grid, v, strict=True))) for v in itertools.product(*grid.values())]
    return max(tried, key=lambda part: float(figures_of(part, world)["AUROC"].mean()))


def figures_of(part: Any, world: World) -> dict[str, np.ndarray]:
    """[topics] AUROC and F1; without a part the mean of the keywords stands for a topic."""
    x = np.concatenate(list(world.words.values()))
    y = np.repeat(list(world.words), [len(w) for w in world.words.values()])
    if part is None:
        names = np.unique(y)
        means = unit_rows(np.stack([unit_rows(x[y == name]).mean(0) for name in names]))
        cosine = world.items @ means.T
    else:
        part.fit(x, y, unlabelled=world.items)
        names, cosine = part.classes_, part.similarity(world.items)
    said = names[cosine.argmax(1)]
    area = [auroc(cosine[:, place], world.topic == name) for place, name in enumerate(names)]
    return {"AUROC": np.asarray(area), "F1": np.asarray([f1(said == name, world.topic == name) for name in names])}


def auroc(score: np.ndarray, positive: np.ndarray) -> float:
    """How often a positive has the higher score of the two, ties counting half."""
    from scipy.stats import rankdata

    rank, count = rankdata(score), int(positive.sum())
    return float((rank[positive].sum() - count * (count + 1) / 2) / (count * (len(score) - count)))


def f1(said: np.ndarray, true: np.ndarray) -> float:
    """Harmonic mean of precision and recall."""
    return float(2 * (said & true).sum() / max(said.sum() + true.sum(), 1))


@functools.lru_cache(maxsize=4)
def worlds(data: str, seed: int, items: int) -> tuple[World, World]:
    """Topics to choose by and topics to judge by, drawn by the seed with the keywords that are told of them."""
    z, of, words, few = glosses() if data == "glosses" else drawings(seed)
    rng = np.random.default_rng(seed)
    order = rng.permutation(sorted(words))
    made = []
    for names in (order[TOPICS : 2 * TOPICS].tolist(), order[:TOPICS].tolist()):
        at = np.concatenate([rng.permutation(np.flatnonzero(of == name))[:items] for name in names])
        told = {name: words[name][rng.permutation(len(words[name]))[: rng.integers(*few)]] for name in names}
        made.append(World(z[at], of[at], told))
    return made[0], made[1]


@functools.cache
def glosses() -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray], tuple[int, int]]:
    """Vectors of glosses, their topics, the keywords' vectors by topic, and how many are told: from, below."""
    from tellapart.engine.embed import embed

    made = _sets.shipped("wordnet")
    of = np.asarray(made.values("lexname"), dtype=object)
    rows = [np.flatnonzero(of == topic) for topic in KEYWORDS]
    at = np.concatenate([r[np.linspace(0, len(r) - 1, min(1000, len(r))).astype(int)] for r in rows])
    cache, encoder = cache_folder(None, "evidence-vectors"), make("encode", "minilm")
    z = unit_rows(np.array(embed(made.take(at), "positive", encoder, cache=cache)))
    return z, of[at].astype(str), {t: unit_rows(encoder.encode(said.split())) for t, said in KEYWORDS.items()}, (3, 6)


@functools.lru_cache(maxsize=2)
def drawings(seed: int) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray], tuple[int, int]]:
    """The same of pictures, under heads trained on the other half of the concepts."""
    from tellapart.data.identity import curate
    from tellapart.engine.fit import fit
    from tellapart.engine.prepare import features, train_data
    from tellapart.recipe import Recipe

    made = curate(_sets.shipped("openmoji"))
    cache = cache_folder(None, "evidence-vectors")
    x = {side: np.array(v) for side, v in features(made, Recipe(), cache=cache).items()}
    captions = [str(text).lower().replace(":", " ").replace("-", " ").split() for text in made.values("text")]
    of = np.asarray([next((t for t in DRAWINGS if t in words), "") for words in captions])
    concept = made.codes("concept")[0]
    held = np.isin(concept, np.random.default_rng(seed).permutation(np.unique(concept))[::2])
    train, test = np.flatnonzero(~held), np.flatnonzero(held & (of != ""))
    recipe = Recipe(head="linear-head(dim=128)", epochs=15)
    fitted = fit(recipe, train_data(made.take(train), {s: v[train] for s, v in x.items()}, recipe), seed=seed)
    text, there = make("encode", "minilm"), {t for t in DRAWINGS if (of[test] == t).sum() >= LEAST}
    words = {t: fitted.encode("query", text.encode(said.split())) for t, said in DRAWINGS.items() if t in there}
    return unit_rows(fitted.encode("document", x["document"][test])), of[test], words, (2, 4)
