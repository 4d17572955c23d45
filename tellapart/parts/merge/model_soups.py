"""Greedy soup: the mean of those models that a held-out score does not fall with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tellapart.core.errors import DataError
from tellapart.core.parts import make, part

State = Mapping[str, np.ndarray]


@part(
    paper="Wortsman et al., Model soups: averaging weights of multiple fine-tuned models improves accuracy without "
    "increasing inference time, ICML 2022",
    place="train",
    system="model-soups",
    traits=("average", "evaluates"),
    aliases=("greedy-soup",),
)
def model_soups(
    states: Sequence[State],
    evaluate: Callable[[State], float],
    recompute: Callable[[State], State] | None = None,
    starts: Sequence[str] | None = None,
) -> tuple[dict[str, np.ndarray], list[int]]:
    """Models are tried from the best to the worst; one is kept if the mean with it is not worse than without.

    Formula:
        order the models by falling evaluate(theta_i), equal ones as given; soup = {first};
        for each next i: if evaluate(mean(soup + {i})) >= evaluate(mean(soup)): soup = soup + {i}.
    The mean is that of `uniform-soup`, with its rules for batch statistics and for models of different starts.
    The soup is never worse than the best single model on the data that `evaluate` uses, which must not be the test
    data: choosing among 2 n - 1 scores is tuning.

    Use it after any sweep of learning rates, augmentations and seeds from one start: it costs nothing when serving.

    Relations: `uniform-soup` takes all models without asking.

    Args:
        states: one dict of arrays a model, equal in names and shapes.
        evaluate: held-out score of a state, higher is better; asked 2 n - 1 times.
        recompute: takes a mean and gives it back with its batch statistics measured anew.
        starts: a name or hash of the start of each model, where it is known.

    Returns:
        The state, and the numbers of the kept models, best first.

    Raises:
        DataError: as `uniform-soup`, and a score that is not a finite number.
    """
    average = make("merge", "uniform-soup")
    average(states, None, recompute, starts)
    scores = [_score(evaluate, state) for state in states]
    order = sorted(range(len(states)), key=lambda i: -scores[i])
    kept, best = [order[0]], scores[order[0]]
    soup = {name: value.copy() for name, value in states[order[0]].items()}
    for i in order[1:]:
        tried, _ = average([states[j] for j in (*kept, i)], None, recompute)
        score = _score(evaluate, tried)
        if score >= best:
            soup, kept, best = tried, [*kept, i], score
    return soup, kept


def _score(evaluate: Callable[[State], float], state: State) -> float:
    score = float(evaluate(state))
    if not np.isfinite(score):
        raise DataError(f"the held-out score of a model is {score}; it must be a finite number, higher for better")
    return score
