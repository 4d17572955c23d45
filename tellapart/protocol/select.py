"""How good a selection of texts is: what a language model trained on it says of held-out texts of the target.

Each seed draws one class of texts as the target. A small sample of it is shown to the methods, as many texts are kept
to choose options on and as many for the test, and the rest of the class is hidden in the pool among all others. Every
method selects the same number of texts: the part by its `select`; a baseline as `random`, as the highest scores of a
part, `top-k(NAME)`, with the options chosen for the part, or as `classifier`, the highest probabilities of a logistic
regression of shown texts against the pool on the same n-gram buckets (the kind of heuristic filter the paper names).

On each selection a bigram model (interpolated with unigrams, add-0.1 smoothed over the words of the pool) is trained:

- `bits a word`: its log loss on the test's target texts (less is better);
- `target share`: how much of the selection truly is of the target's class;
- `classes kept`: how many classes the selection holds, as exp of the entropy of their shares (not against `random`,
  which keeps all);
- `kl reduction`: of the selection against a random one, in nats, on 1,000 buckets;
- `rank agreement`: Spearman's correlation, over methods and options, of KL reduction and minus bits a word, beside 0
  for no relation.

Options (`[options]` of the spec):
    share: of the pool that is selected (0.05). sample: target texts shown (200). pool: at most so many texts (20000).
    part_grid: {option: list of values}. also: further baselines the part is compared with.
"""

from __future__ import annotations

import functools
import itertools
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tellapart.core.errors import PartError, near
from tellapart.core.parts import make
from tellapart.protocol._sets import shipped

LOWER_IS_BETTER = ("bits",)
JUDGE = "dsir(buckets=1000)"
FEWEST = 4
PACKAGES = ("python", "numpy", "scipy", "sklearn", "pyarrow", "torch")
WORD = re.compile(r"\w+|[^\w\s]+")


@functools.cache
def texts(data: str) -> tuple[list[str], np.ndarray]:
    """(texts, classes) of one data set by name, without repeated texts."""
    if data == "wordnet":
        made = shipped("wordnet")
        pairs = zip(made.values("gloss"), made.values("lexname"), strict=True)
    elif data == "docstrings":
        from tellapart.core.needs import installed
        from tellapart.data.shipped import docstrings

        made = docstrings([p for p in PACKAGES if p == "python" or installed(p)])
        pairs = zip(made.values("anchor"), made.values("label"), strict=True)
    else:
        raise PartError(f"there are no texts named {data!r}; {near(data, ['wordnet', 'docstrings'])}")
    first: dict[str, str] = {}
    for text, label in pairs:
        first.setdefault(text, label)
    return list(first), np.array(list(first.values()))


def run(spec: dict[str, Any], data: str, seed: int) -> dict[str, tuple[float, float]]:
    """{metric: (baseline, part)}."""
    options = spec["options"]
    task = Task.drawn(data, seed, options.get("sample", 200), options.get("pool", 20_000), options.get("share", 0.05))
    grid = options.get("part_grid", {})
    trials = []
    for values in itertools.product(*grid.values()):
        chosen = dict(zip(grid, values, strict=True))
        model = make("score", spec["part"], **chosen).fit(*task.marked)
        trials.append((model, model.select(task.pool, task.n, rng=task.rng)))
    model, mine = min(trials, key=lambda trial: task.bits(trial[1], task.tuning))
    found: dict[str, tuple[float, float]] = {}
    picked = {name: task.select(name, model) for name in [spec["baseline"], *options.get("also", [])]}
    for number, (name, base) in enumerate(picked.items()):
        end = "" if number == 0 else f", against {name}"
        pair = base, mine
        found[f"bits a word{end}"] = _both(pair, lambda rows: task.bits(rows, task.test))
        found[f"target share{end}"] = _both(pair, lambda rows: float((task.classes[rows] == task.target).mean()))
        if name != "random":
            found[f"classes kept{end}"] = _both(pair, lambda rows: _spread(task.classes[rows]))
        found[f"kl reduction{end}"] = _both(pair, task.kl_reduction)
    tried = [*picked.values(), *(rows for _, rows in trials)]
    agreement = _spearman([task.kl_reduction(r) for r in tried], [-task.bits(r, task.test) for r in tried])
    return found | {"rank agreement": (0.0, agreement)}


@dataclass
class Task:
    """One pool with a target hidden in it."""

    target: str
    shown: list[str]
    tuning: list[str]
    test: list[str]
    pool: list[str]
    classes: np.ndarray
    n: int
    rng: np.random.Generator

    @staticmethod
    def drawn(data: str, seed: int, sample: int, most: int, share: float) -> Task:
        """The task of a seed."""
        rng = np.random.default_rng(np.random.SeedSequence([seed, 5]))
        everything, classes = texts(data)
        names, counts = np.unique(classes, return_counts=True)
        large = names[counts >= FEWEST * sample]
        if not len(large):
            raise PartError(f"no class of {data} has {FEWEST * sample} texts: give a smaller sample")
        target = str(rng.choice(large))
        rows = rng.permutation(np.flatnonzero(classes == target))
        shown, tuning, test = ([everything[r] for r in rows[i * sample : (i + 1) * sample]] for i in range(3))
        rest = rows[3 * sample :][: most // 2]
        others = rng.permutation(np.flatnonzero(classes != target))[: most - len(rest)]
        order = rng.permutation(np.concatenate([rest, others]))
        pool = [everything[r] for r in order]
        return Task(target, shown, tuning, test, pool, classes[order], max(1, round(share * len(pool))), rng)

    @property
    def marked(self) -> tuple[list[str], list[bool]]:
        """Shown texts and pool, and which is which."""
        return self.shown + self.pool, [True] * len(self.shown) + [False] * len(self.pool)

    @functools.cached_property
    def vocabulary(self) -> int:
        """The number of words of the pool, and one for all others."""
        return len({w for text in self.pool for w in words(text)}) + 1

    @functools.cached_property
    def judge(self) -> Any:
        """What KL reductions are measured with, and a random selection to compare with."""
        some = np.random.default_rng(0).choice(len(self.pool), self.n, replace=False)
        return make("score", JUDGE).fit(*self.marked), [self.pool[r] for r in some]

    def kl_reduction(self, rows: np.ndarray) -> float:
        """Of the selection, in nats."""
        model, random = self.judge
        return float(model.kl_reduction([self.pool[r] for r in rows], random))

    def bits(self, rows: np.ndarray, held: list[str]) -> float:
        """Log loss a word on held-out texts of the bigram model trained on these rows of the pool."""
        return Bigrams([self.pool[r] for r in rows], self.vocabulary).bits(held)

    def select(self, name: str, model: Any) -> np.ndarray:
        """[n] rows picked by a baseline."""
        if name == "random":
            return np.sort(self.rng.choice(len(self.pool), self.n, replace=False))
        if name == "classifier":
            weights = self._classifier()
        elif re.fullmatch(r"top-k\(.*\)", name):
            weights = model.score(self.pool)
        else:
            raise PartError(
                f"there is no way to select named {name!r}; {near(name, ['random', 'classifier', 'top-k'])}"
            )
        return np.sort(np.argsort(-weights, kind="stable")[: self.n])

    def _classifier(self) -> np.ndarray:
        from sklearn.feature_extraction.text import HashingVectorizer
        from sklearn.linear_model import LogisticRegression

        x, y = self.marked
        counts = HashingVectorizer(ngram_range=(1, 2), n_features=10_000, norm="l2").transform(x)
        fitted = LogisticRegression(class_weight="balanced", max_iter=1000).fit(counts, y)
        return fitted.decision_function(counts[len(self.shown) :])


class Bigrams:
    """Word frequencies of the training texts, for single words and for pairs."""

    def __init__(self, training: list[str], vocabulary: int) -> None:
        self.vocabulary = vocabulary
        self.single: Counter[str] = Counter()
        self.double: Counter[tuple[str, str]] = Counter()
        self.before: Counter[str] = Counter()
        for text in training:
            tokens = ["", *words(text)]
            self.single.update(tokens[1:])
            self.double.update(itertools.pairwise(tokens))
            self.before.update(tokens[:-1])
        self.total = sum(self.single.values())

    def bits(self, held: list[str]) -> float:
        """Mean log loss of the held-out words, in bits."""
        loss, count = 0.0, 0
        for text in held:
            for last, word in itertools.pairwise(["", *words(text)]):
                one = (self.single[word] + 0.1) / (self.total + 0.1 * self.vocabulary)
                two = self.double[last, word] / self.before[last] if self.before[last] else one
                loss -= math.log2(0.5 * one + 0.5 * two)
                count += 1
        return loss / count


def words(text: str) -> list[str]:
    """Lower-case words and runs of punctuation."""
    return WORD.findall(text.lower())


def _both(pair: tuple[np.ndarray, np.ndarray], measure: Callable[[np.ndarray], float]) -> tuple[float, float]:
    return measure(pair[0]), measure(pair[1])


def _spread(classes: np.ndarray) -> float:
    p = np.unique(classes, return_counts=True)[1] / len(classes)
    return float(np.exp(-(p * np.log(p)).sum()))


def _spearman(a: list[float], b: list[float]) -> float:
    """Correlation of the ranks (ties in the order given)."""
    ranks = [np.argsort(np.argsort(v, kind="stable")) for v in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])
