"""How many words a selection of texts saves: the loss of a language model that is trained on so many words of the pool.

Each seed draws one class of texts as the target: a small sample is shown to the methods, as many texts are kept to
choose options on and as many for the test, and the rest is hidden in the pool among all others. Every method puts the
pool in an order, and its selection are the first texts that make up a share of the pool's words: methods that like
short texts are given no less to learn from. On each selection a trigram model with absolute discounting (the target
model: of longer context than those that select, smoothed in another way) is trained.

The part, and each baseline that has a grid, chooses its options by the mean loss on the tuning texts over all shares.
Baselines: `random`; a score part by name, with its own grid, in the order in which it would draw (Gumbel noise on the
scores of a part with `select`); `conditional only`, the part's conditional model without its prior, with the part's
grid.

- `bits a word, keep SHARE`: log loss on the test's target texts (less is better);
- `target share, keep SHARE`: how much of the selected words is of the target's class;
- `times less data`: how many times more words of random texts it takes to reach the loss of the part at the smallest
  share, beside 1; log-linear between random selections of growing size, and what the whole pool does not reach counts
  as the whole pool.

Options (`[options]` of the spec):
    keep: shares of the pool's words. sample: target texts shown (200). pool: at most so many texts (12000).
    part_grid: {option: list of values}. also: {baseline: grid} that the part is compared with besides.

Data: `wordnet` (glosses; those of one lexicographer file are the target), `docstrings` (of one package), `kinds`
(glosses, docstrings and captions of pictures together; one of the three).
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.core.errors import PartError, near
from tellapart.core.parts import card_of, make, parse_spec
from tellapart.protocol import select
from tellapart.protocol._sets import shipped
from tellapart.protocol.select import words

LOWER_IS_BETTER = ("bits",)
KNOWN = ("keep", "sample", "pool", "part_grid", "also")
CONDITIONAL, RANDOM = "conditional only", "random"
FEWEST, DISCOUNT = 4, 0.75


@functools.cache
def texts(data: str) -> tuple[list[str], np.ndarray]:
    """(texts, classes) of one data set by name, without repeated texts."""
    if data != "kinds":
        return select.texts(data)
    kinds = {"captions": shipped("openmoji").values("text")}
    kinds |= {kind: select.texts(name)[0] for kind, name in (("glosses", "wordnet"), ("docstrings", "docstrings"))}
    first: dict[str, str] = {}
    for kind, found in kinds.items():
        for text in found:
            first.setdefault(text, kind)
    return list(first), np.array(list(first.values()))


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, part)}."""
    options = spec["options"]
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise PartError(f"the protocol budgets has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    task = Task.drawn(data, seed, options.get("sample", 200), options.get("pool", 12_000))
    keep = sorted(options.get("keep", [0.0625, 0.125, 0.25]))
    grid = options.get("part_grid", {})
    mine = task.chosen(spec["part"], grid, keep)
    orders = {name: task.chosen(name, grid if name == CONDITIONAL else given, keep, part=spec["part"])
              for name, given in ({spec["baseline"]: {}} | options.get("also", {})).items()}  # fmt: skip
    found: dict[str, tuple[float, float]] = {}
    for number, (name, order) in enumerate(orders.items()):
        end = f", against {name}" if number else ""
        for share in keep:
            pair = [task.first(o, share) for o in (order, mine)]
            base, part = (task.bits(rows, task.test) for rows in pair)
            found[f"bits a word, keep {share:.0%}{end}"] = (base, part)
            base, part = (task.share_of_target(rows) for rows in pair)
            found[f"target share, keep {share:.0%}{end}"] = (base, part)
    return found | {"times less data": (1.0, task.saved(mine, keep[0]))}


@dataclass
class Task:
    """One pool with a target hidden in it."""

    target: str
    shown: list[str]
    tuning: list[str]
    test: list[str]
    pool: list[str]
    classes: np.ndarray
    rng: np.random.Generator

    @staticmethod
    def drawn(data: str, seed: int, sample: int, most: int) -> Task:
        """The task of a seed."""
        rng = np.random.default_rng(np.random.SeedSequence([seed, 9]))
        everything, classes = texts(data)
        names, counts = np.unique(classes, return_counts=True)
        large = names[counts >= FEWEST * sample]
        if not len(large):
            raise PartError(f"no class of {data} has {FEWEST * sample} texts: give a smaller sample")
        target = str(rng.choice(large))
        rows = rng.permutation(np.flatnonzero(classes == target))
        shown, tuning, test = ([everything[r] for r in rows[i * sample : (i + 1) * sample]] for i in range(3))
        rest = rows[3 * sample :][: most // 4]
        others = rng.permutation(np.flatnonzero(classes != target))[: most - len(rest)]
        order = rng.permutation(np.concatenate([rest, others]))
        return Task(target, shown, tuning, test, [everything[r] for r in order], classes[order], rng)

    @functools.cached_property
    def marked(self) -> tuple[list[str], list[bool]]:
        """Shown texts and pool, and which is which."""
        return self.shown + self.pool, [True] * len(self.shown) + [False] * len(self.pool)

    @functools.cached_property
    def lengths(self) -> np.ndarray:
        """[n] words of each text of the pool."""
        return np.array([len(words(text)) for text in self.pool])

    @functools.cached_property
    def vocabulary(self) -> int:
        """The number of words of the pool, and one for all others."""
        return len({w for text in self.pool for w in words(text)}) + 1

    @functools.cached_property
    def random(self) -> np.ndarray:
        """[n] the pool in a random order."""
        return self.rng.permutation(len(self.pool))

    def chosen(self, name: str, grid: dict[str, list[Any]], keep: list[float], *, part: str = "") -> np.ndarray:
        """[n] the pool in the order of a method, with the options that do best on the tuning texts."""
        if name == RANDOM:
            return self.random
        combined = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
        orders = [self.order(name, options, part) for options in combined]
        if len(orders) == 1:
            return orders[0]
        return min(orders, key=lambda o: np.mean([self.bits(self.first(o, s), self.tuning) for s in keep]))

    def order(self, name: str, options: dict[str, Any], part: str = "") -> np.ndarray:
        """[n] the pool, best first."""
        if name == CONDITIONAL:
            values = -make("score", part, **options).fit(*self.marked).losses(self.pool)[:, 1]
        else:
            card = card_of("score", parse_spec(name)[0])
            if "target" not in card.traits:
                raise PartError(f"{name} puts no texts in an order; {near(name, [RANDOM, CONDITIONAL, 'dsir'])}")
            values = make("score", name, **options).fit(*self.marked).score(self.pool)
            if "select" in card.traits:
                values = values + np.random.default_rng(len(self.pool)).gumbel(size=len(values))
        return np.argsort(-values, kind="stable")

    def first(self, order: np.ndarray, share: float) -> np.ndarray:
        """The rows that come first and have a share of the words."""
        so_far = np.cumsum(self.lengths[order])
        return order[: max(1, int(np.searchsorted(so_far, share * so_far[-1], side="right")))]

    def bits(self, rows: np.ndarray, held: list[str]) -> float:
        """Log loss a word on held-out texts of the model trained on these rows of the pool."""
        return Trigrams([self.pool[r] for r in rows], self.vocabulary).bits(held)

    def share_of_target(self, rows: np.ndarray) -> float:
        """Of the words of these rows, how many are of texts of the target's class."""
        return float(self.lengths[rows] @ (self.classes[rows] == self.target) / self.lengths[rows].sum())

    def saved(self, order: np.ndarray, share: float) -> float:
        """By how much more words random texts reach the loss of the first ones of an order."""
        goal = self.bits(self.first(order, share), self.test)
        sizes = np.append(np.geomspace(share, 1, 9)[:-1], 1.0)
        losses = np.minimum.accumulate([self.bits(self.first(self.random, s), self.test) for s in sizes])
        if losses[0] <= goal:
            return 1.0
        return float(np.exp(np.interp(-goal, -losses, np.log(sizes / share))))


class Trigrams:
    """Word frequencies after two, one and no words, each discounted by 0.75 in favour of the shorter context."""

    def __init__(self, training: list[str], vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self.after: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for text in training:
            tokens = ["", "", *words(text)]
            for i in range(2, len(tokens)):
                for start in (i - 2, i - 1, i):
                    self.after[tuple(tokens[start:i])][tokens[i]] += 1
        self.totals = {context: counts.total() for context, counts in self.after.items()}

    def probability(self, context: tuple[str, ...], word: str) -> float:
        """Of a word after at most two others."""
        shorter = self.probability(context[1:], word) if context else 1 / self.vocabulary
        counts = self.after.get(context)
        if counts is None:
            return shorter
        left = DISCOUNT * len(counts) * shorter
        return (max(counts[word] - DISCOUNT, 0.0) + left) / self.totals[context]

    def bits(self, held: list[str]) -> float:
        """Mean log loss of the held-out words, in bits."""
        loss, count = 0.0, 0
        for text in held:
            tokens = ["", "", *words(text)]
            for i in range(2, len(tokens)):
                loss -= math.log2(self.probability((tokens[i - 2], tokens[i - 1]), tokens[i]))
                count += 1
        return loss / count
