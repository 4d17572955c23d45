"""A word of captions that goes with the class: whether it is named, and what training by it does for the few.

Pictures of `planted_cues` with a mark that agrees with the class in 95 of 100, and which captions name after four words
of no account: `fashion` (shirts and coats) and, for the audit, `openmoji` (a coin is the class, so that the mark is all
there is to learn). Features are colour histograms and oriented gradients.

**bias-keywords**: which word is named first. Baseline: the words that most captions of errors have beyond others
(pointwise mutual information with being wrong, as a model's errors are usually described). Metrics: `planted word
first`, over both classes, and `called found where nothing is planted` (the baseline: Fisher's test of its first word,
as if it had not been chosen).

**group-dro**: heads trained by the recipe on the biased items, with the keywords of the audit; test items have mark and
class independent, and the figure is the accuracy of the worst of the four groups (and of all) by the nearest class
vector of the training items. Baseline: `class-proxies` (all items alike), the same budget. Control: `group-dro` with
the true groups. Steps of the weights are chosen on validation items by the worst pseudo group.

Options (`[options]` of the spec):
    items: of a collection (600); clean: how many (3); epochs: of training (30).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tellapart.core.chance import difference, holm
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.features import unit_rows
from tellapart.core.outcomes import outcomes
from tellapart.core.parts import make, parse_spec
from tellapart.core.phrases import phrases_of
from tellapart.protocol.planted_cues import ENCODER, MARKS, planted

LOWER_IS_BETTER = ("called",)
KNOWN = ("items", "clean", "epochs")
STRENGTH, CLEAR, STEPS = 0.95, 0.05, (0.02, 0.2, 1.0)
Figures = dict[str, tuple[Any, Any]]


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    options = spec["options"]
    if unknown := [name for name in options if name not in KNOWN]:
        raise PartError(f"the protocol bias_keywords has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    return (trained if parse_spec(spec["part"])[0] == "group-dro" else audited)(spec["part"], options, data, seed)


def audited(part: str, options: dict[str, Any], data: str, seed: int) -> Figures:
    """Whether the planted words are named, and whether anything is called found where none is."""
    items = options.get("items", 600)
    x, made, _ = world(data, STRENGTH, items, seed)
    report = make("audit", part)({"document": x}, made, seed=seed)
    ours = [finding.said.split("'")[1] in MARKS for finding in report.findings()]
    first = (float(by_errors(x, made, seed)[0] in MARKS), float(np.mean(ours)) if ours else 0.0)
    called = []
    for number in range(options.get("clean", 3)):
        x, made, _ = world(data, 0.5, items, 1000 * (number + 1) + seed)
        report = make("audit", part)({"document": x}, made, seed=seed)
        clear = holm([f.p for f in report.findings()]) < CLEAR
        called.append([by_errors(x, made, seed)[1] < CLEAR, bool(clear.any())])
    share = np.mean(called, axis=0)
    return {"planted word first": first, "called found where nothing is planted": (float(share[0]), float(share[1]))}


def by_errors(x: np.ndarray, made: Collection, seed: int) -> tuple[str, float]:
    """The word that goes most with being wrong, and the chance of as much."""
    told = outcomes({"document": x}, made, seed=seed)
    found = phrases_of(made.values("text"), longest=1, least=5)
    wrong = told.right == 0
    share = [(wrong[rows].mean() + 1e-9) / (wrong.mean() + 1e-9) for rows in found.rows]
    best = int(np.argmax(share))
    test = difference(wrong.astype(float), found.has(best), told.rows, seed=seed, alternative="greater")
    return found.names[best], 1.0 if test is None else test.p


def world(data: str, strength: float, items: int, seed: int) -> tuple[np.ndarray, Collection, np.ndarray]:
    """Features, the collection without its pictures, and [n] which mark an item has."""
    made, pictures = planted(data, "word", strength, items, seed)
    x = np.asarray(make("encode", ENCODER).encode(pictures, batch_size=64))
    mark = np.array([text.split()[-1] == MARKS[1] for text in made.values("text")]).astype(int)
    columns = {name: made.values(name) for name in ("id", "label", "text")}
    return x, Collection.of(columns), mark


def trained(part: str, options: dict[str, Any], data: str, seed: int) -> Figures:
    """Worst-group and mean accuracy of training by all alike, by keywords, and by true groups."""
    if data != "fashion":
        raise DataError(f"group-dro is judged on fashion, where there is a class to learn, not on {data!r}")
    items = options.get("items", 600)
    x, made, mark = world(data, STRENGTH, items, seed)
    report = make("audit", "bias-keywords")({"document": x}, made, seed=seed)
    words = str(report.facts.get("keywords", ""))
    tests = world(data, 0.5, items, 5000 + seed)
    held = np.random.default_rng(seed).random(items) < 0.25
    middle, wide = x[~held].mean(axis=0), x[~held].std(axis=0) + 1e-6
    scaled = [unit_rows((v - middle) / wide) for v in (x, tests[0])]
    from tellapart.engine.subgroups import with_keywords

    found = with_keywords(made.values("text"), [w for w in words.split("|") if w])
    arms = {"": ("class-proxies", found), "keywords": (part, found), "true groups": (part, mark)}
    got = {}
    for name, (strategy, sub) in arms.items():
        tried = [strategy] if not name else [f"{strategy}(step={step})" for step in STEPS]
        every = [_accuracies(s, scaled, made, sub, held, tests, seed, options.get("epochs", 30)) for s in tried]
        got[name] = max(every, key=lambda pair: pair[0])[1]
    return {
        "worst-group accuracy": (got[""][0], got["keywords"][0]),
        "accuracy": (got[""][1], got["keywords"][1]),
        "worst-group accuracy, keywords against true groups": (got["true groups"][0], got["keywords"][0]),
    }


def _accuracies(
    strategy: str, scaled: list[np.ndarray], made: Collection, sub: np.ndarray, held: np.ndarray,
    tests: tuple[np.ndarray, Collection, np.ndarray], seed: int, epochs: int,
) -> tuple[float, tuple[float, float]]:  # fmt: skip
    """(worst pseudo group of the validation items, (worst group, all) of the test items)."""
    import torch

    from tellapart.core.relation import Keys
    from tellapart.engine.fit import fit
    from tellapart.engine.inputs import Features, TrainData
    from tellapart.recipe import Recipe

    y, truth = ((np.asarray(c.values("label")) == "kind 1").astype(int) for c in (made, tests[1]))
    train = ~held
    item = torch.arange(int(train.sum()))
    inputs = Features(scaled[0][train].astype(np.float32))
    data = TrainData(inputs, inputs, Keys(item, item, torch.from_numpy(y[train])), True,
                     extra={"subgroup": sub[train]})  # fmt: skip
    recipe = Recipe.of({"strategy": strategy, "batch_size": 64, "epochs": epochs, "head": "linear-head(dim=16)"})
    fitted = fit(recipe, data, seed=seed)
    vectors = unit_rows(fitted.strategy.vectors.detach().cpu().numpy())
    told = [(fitted.encode("query", x.astype(np.float32)) @ vectors.T).argmax(axis=1) for x in scaled]
    right = told[0] == y
    groups = [right[held & (y == c) & (sub == s)] for c in (0, 1) for s in np.unique(sub)]
    inner = min((float(g.mean()) for g in groups if len(g)), default=0.0)
    hits = told[1] == truth
    worst = min(float(hits[(truth == c) & (tests[2] == m)].mean()) for c in (0, 1) for m in (0, 1))
    return inner, (worst, float(hits.mean()))
