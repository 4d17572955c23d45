"""Items that belong to none of some names: classes of which nothing is known but what they are called.

Texts and items stand in one space, and a score of the trait `names` is fitted on pairs of them that say nothing of
classes. Every seed divides the classes of the remaining items between validation and test; in each some are named and
the others are the unknown ones. So test names are new ones, too. A contender is given the vectors of the names, and
chooses its options by the AUROC of validation.

Data:
- `wordnet`: words and glosses of nouns, both in MiniLM as it is; fitted on 60% of the pairs. Classes are the 26
  lexicographer files ("animal", "body"), 7 of 13 named.
- `openmoji`: names and drawings, one of each concept. Heads (`mlp-head(dim=64)`, InfoNCE) are trained on 60% of the
  pairs and frozen, and the score is fitted on the same pairs. Each name is a class of one picture, 40 of 340 named.

Metrics: `auroc` and `fpr95` (see the protocol `novelty`); `F1` of what is called unknown: by the variant's own decision
and, for the baseline, at the threshold that is best on validation, for which unknown items must be known. `competing`
beside a metric: the variant's other rule (`clipn.competing`) in its place.

Baselines: `mcm`, 1 - the largest softmax of cosines over the names; `max-cosine`, minus the largest cosine.

Options (`[options]` of the spec):
    part_grid, baseline_grid: {option: values}.
    against: {name: grid} of further baselines, whose name stands beside the metric.
    epochs: of the heads (30).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.features import softmax, unit_rows
from tellapart.core.parts import make
from tellapart.data.spool import cache_folder
from tellapart.protocol import _sets
from tellapart.protocol._unknown import auroc, fpr95
from tellapart.protocol.audit import synsets
from tellapart.protocol.misfits import pairs

LOWER_IS_BETTER = ("fpr95",)
KNOWN = ("part_grid", "baseline_grid", "against", "epochs")
NAMED = {"openmoji": 40, "wordnet": 7}
RULES = {"": "score", ", competing": "competing"}

Figures = dict[str, tuple[float, float]]
Score = Callable[[np.ndarray, np.ndarray], np.ndarray]  # names [c, d], items [n, d] -> [n]


@dataclass(frozen=True)
class Asked:
    """Vectors of some names, of items that belong to one of them, and of items that do not."""

    names: np.ndarray
    known: np.ndarray
    unknown: np.ndarray

    def scores(self, score: Score) -> tuple[np.ndarray, np.ndarray]:
        """Of known and of unknown items."""
        return score(self.names, self.known), score(self.names, self.unknown)


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one division of the classes."""
    options = spec["options"]
    wrong = [name for name in options if name not in KNOWN]
    if wrong:
        raise PartError(f"the protocol names has no option {wrong[0]!r}; it knows {', '.join(KNOWN)}")
    if data not in NAMED:
        raise DataError(f"names are looked for in {', '.join(NAMED)}, not in {data!r}")
    x, texts, tune, probe = asked(data, seed, options.get("epochs", 30))
    others = {"": (spec["baseline"], options.get("baseline_grid", {}))}
    others |= {f" against {name}": (name, grid) for name, grid in options.get("against", {}).items()}
    found: Figures = {}
    fitted = [make("score", spec["part"], **v).fit(x, texts, names=tune.names) for v in choices(options["part_grid"])]
    for words, rule in RULES.items():
        ours = best([functools.partial(by_names, part, rule) for part in fitted], tune)
        mine = probe.scores(ours)
        told = probe.scores(functools.partial(ours, decided=True))
        for name, (baseline, grid) in others.items():
            theirs = best([functools.partial(by_cosine, baseline, **v) for v in choices(grid)], tune)
            plain, cut = probe.scores(theirs), threshold(*tune.scores(theirs))
            found[f"auroc{words}{name}"] = (auroc(*plain), auroc(*mine))
            found[f"fpr95{words}{name}"] = (fpr95(*plain), fpr95(*mine))
            found[f"F1{words}{name}"] = (f1(plain[0] > cut, plain[1] > cut), f1(*told))
    return found


def choices(grid: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Every combination of a grid."""
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def best(scores: list[Any], tune: Asked) -> Any:
    """The score that tells known from unknown best on validation; of equals, the first."""
    return max(scores, key=lambda score: auroc(*tune.scores(score)))


def by_names(part: Any, rule: str, names: np.ndarray, items: np.ndarray, *, decided: bool = False) -> np.ndarray:
    """[n] what a fitted part says of items by one of its rules, or [n] bool what it decides by it."""
    asked = part.named(names)
    if decided and rule == "score":
        return np.asarray(asked.unknown(items))
    found = np.asarray(getattr(asked, rule)(items))
    return found > 0.5 if decided else found


def by_cosine(baseline: str, names: np.ndarray, items: np.ndarray, *, temperature: float = 1.0) -> np.ndarray:
    """[n] a baseline's score, higher = more unknown."""
    cosine = items @ names.T
    if baseline == "max-cosine":
        return np.asarray(-cosine.max(axis=1))
    if baseline != "mcm":
        raise DataError(f"names are compared with mcm or max-cosine, not with {baseline}")
    return np.asarray(1 - softmax(cosine / temperature).max(axis=1))


def f1(known: np.ndarray, unknown: np.ndarray) -> float:
    """Of what is called unknown, [n] bool each."""
    return float(2 * unknown.sum() / (len(unknown) + unknown.sum() + known.sum()))


def threshold(known: np.ndarray, unknown: np.ndarray) -> float:
    """Above which calling items unknown has the best F1."""
    cuts = np.quantile(np.concatenate([known, unknown]), np.linspace(0, 1, 101))
    return float(max(cuts, key=lambda cut: f1(known > cut, unknown > cut)))


def asked(data: str, seed: int, epochs: int) -> tuple[np.ndarray, np.ndarray, Asked, Asked]:
    """Items and texts of the pairs to fit on, and what validation and test ask."""
    text, item, kind, words = classes(data)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 31]))
    train, rest = np.split(rng.permutation(len(text)), [len(text) * 3 // 5])
    if data == "openmoji":
        text, item, words = trained(text, item, words, train, seed, epochs)
    found = []
    for part in np.array_split(rng.permutation(np.unique(kind[rest])), 2):
        named, others = part[: NAMED[data]], part[NAMED[data] :]
        known, unknown = (item[rest[np.isin(kind[rest], some)]] for some in (named, others))
        found.append(Asked(words[named], known, unknown))
    return item[train], text[train], found[0], found[1]


def trained(
    text: np.ndarray, item: np.ndarray, words: np.ndarray, train: np.ndarray, seed: int, epochs: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Texts, items and names under heads that were trained on some of the pairs."""
    import torch

    from tellapart.core.relation import Keys
    from tellapart.engine.fit import fit
    from tellapart.engine.inputs import Features, TrainData
    from tellapart.recipe import Recipe

    recipe = Recipe.of({"head": "mlp-head(dim=64)", "batch_size": 128, "epochs": epochs})
    numbers = torch.arange(len(train))
    keys = Keys(numbers, numbers, numbers)
    fitted = fit(recipe, TrainData(Features(text[train]), Features(item[train]), keys, False), seed=seed)
    return fitted.encode("query", text), fitted.encode("document", item), fitted.encode("query", words)


@functools.cache
def classes(data: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Features of texts and of items, [n] the class of each item, and the features of the classes' names."""
    from tellapart.engine.embed import embed

    if data == "openmoji":
        text, item = (x.astype(np.float32) for x in pairs(data))
        return text, item, np.arange(len(text)), text
    text, item, number = synsets()
    files = _sets.shipped("wordnet").where("pos", "n").codes("lexname")[1]
    kept, kind = np.unique(number, return_inverse=True)
    made = Collection.of({"text": [str(files[k]).split(".")[1].lower() for k in kept]})
    z = embed(made, "text", make("encode", "minilm"), cache=cache_folder(None, "evidence-vectors"))
    return text.astype(np.float32), item.astype(np.float32), kind, unit_rows(np.array(z))
