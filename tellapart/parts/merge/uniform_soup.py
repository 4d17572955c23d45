"""The mean of several models' weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tellapart.core.errors import DataError
from tellapart.core.parts import part

State = Mapping[str, np.ndarray]
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@part(
    paper="Wortsman et al., Model soups: averaging weights of multiple fine-tuned models improves accuracy without "
    "increasing inference time, ICML 2022 (its plain baseline)",
    place="train",
    traits=("average",),
)
def uniform_soup(
    states: Sequence[State],
    evaluate: Callable[[State], float] | None = None,
    recompute: Callable[[State], State] | None = None,
    starts: Sequence[str] | None = None,
) -> tuple[dict[str, np.ndarray], list[int]]:
    """Every weight is the mean of that weight over all models.

    Formula:
        theta = (1 / n) sum_i theta_i, taken in float64 and given in the type of the weights.

    Only models that were fine-tuned from one and the same start may be averaged: others lie in different basins, and
    their mean is no model at all. Batch statistics (`running_mean`, `running_var`) of a mean are not the mean of the
    statistics: where there are such, `recompute` has to measure them again on training data. Other whole numbers must
    be equal in all models.

    Use it as the baseline that `model-soups` has to beat, or where nothing is held out.

    Relations: `model-soups` adds a model only where a held-out score does not fall. The running average of one
    training run (`average` of a recipe) is the same over time instead of over runs.

    Args:
        states: one dict of arrays a model, equal in names and shapes.
        evaluate: not used.
        recompute: takes the mean and gives it back with its batch statistics measured anew.
        starts: a name or hash of the start of each model, where it is known.

    Returns:
        The state, and the numbers of all models.

    Raises:
        DataError: no models, models that do not match or do not share a start, values that are not finite, or batch
            statistics without `recompute`.
    """
    _check(states, starts)
    statistics = [name for name in states[0] if name.rsplit(".", 1)[-1] in _STATISTICS]
    if statistics and recompute is None and len(states) > 1:
        raise DataError(
            f"the models hold batch statistics ({statistics[0]}, …), which cannot be averaged: give `recompute`, which "
            "measures them on training data"
        )
    soup = {name: _mean([state[name] for state in states], name, name in statistics) for name in states[0]}
    if statistics and recompute is not None:
        soup = dict(recompute(soup))
    return soup, list(range(len(states)))


def _check(states: Sequence[State], starts: Sequence[str] | None) -> None:
    if not states:
        raise DataError("there are no models to merge")
    if starts is not None and (len(starts) != len(states) or len(set(starts)) > 1):
        said = f"{len(set(starts))} different starts" if len(starts) == len(states) else f"{len(starts)} starts"
        raise DataError(f"{len(states)} models from {said}: fine-tune all of them from one saved model and merge those")
    first = states[0]
    for number, state in enumerate(states[1:], start=2):
        if set(state) != set(first):
            odd = sorted(set(state) ^ set(first))[0]
            raise DataError(f"model {number} and model 1 are of different kinds: only one of them has {odd!r}")
        for name in first:
            if state[name].shape != first[name].shape or state[name].dtype != first[name].dtype:
                raise DataError(
                    f"model {number} and model 1 are of different kinds: {name!r} is {state[name].dtype} "
                    f"{state[name].shape} and {first[name].dtype} {first[name].shape}"
                )
    for number, state in enumerate(states, start=1):
        for name, value in state.items():
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                raise DataError(f"model {number} has values in {name!r} that are not finite: leave it out")


def _mean(values: list[np.ndarray], name: str, statistic: bool) -> np.ndarray:
    if values[0].dtype.kind == "f":
        total = np.zeros(values[0].shape)
        for value in values:
            total += value
        return (total / len(values)).astype(values[0].dtype)
    if not statistic and any(not np.array_equal(value, values[0]) for value in values):
        raise DataError(f"{name!r} holds whole numbers that differ between the models; they cannot be averaged")
    return values[0].copy()
