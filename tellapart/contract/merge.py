"""What every merge of models promises.

    part(states, evaluate, recompute=None, starts=None) -> (state, kept)

`states` are dicts of numpy arrays of models of one architecture; `evaluate(state)` is a held-out score, higher for
better; `recompute(state)` gives a state back with its batch statistics measured anew; `starts` names the start of each
model, where it is known. `kept` are the numbers of the models that went in.

Traits: `average` (the result is the mean of the kept models), `evaluates` (asks for the score; the result is not worse
than the best single model).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from tellapart.contract.classify import Build, Check, must_refuse
from tellapart.core.parts import Card

State = dict[str, np.ndarray]


def models(seed: int, n: int = 5) -> list[State]:
    """Small models near one start, with a whole-number buffer that all share."""
    rng = np.random.default_rng(seed)
    start = {"layer.weight": rng.normal(size=(3, 4)), "layer.bias": rng.normal(size=3)}
    made = [
        {name: (value + 0.3 * rng.normal(size=value.shape)).astype(np.float32) for name, value in start.items()}
        for _ in range(n)
    ]
    return [{**state, "positions": np.arange(4)} for state in made]


def with_statistics(seed: int, n: int = 3) -> list[State]:
    """The same with batch statistics."""
    rng = np.random.default_rng([seed, 1])
    return [
        {**s, "norm.running_mean": rng.normal(size=3).astype(np.float32), "norm.num_batches_tracked": np.array(7 + i)}
        for i, s in enumerate(models(seed, n))
    ]


class Score:
    """A held-out score: how near the weights lie to a target. Counts how often it was asked."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng([seed, 2])
        self.target = {name: value + 0.1 * rng.normal(size=value.shape) for name, value in models(seed)[0].items()}
        self.asked = 0

    def __call__(self, state: State) -> float:
        self.asked += 1
        return -sum(float(((state[n] - self.target[n]) ** 2).sum()) for n in ("layer.weight", "layer.bias"))


class Checks:
    """The checks of one card."""

    def __init__(self, card: Card) -> None:
        self.card = card

    def check_shape(self, build: Build) -> None:
        """The state has the names, shapes and types of the models; `kept` are some of their numbers, each once."""
        states = models(0)
        state, kept = build()(states, Score(0))
        assert set(state) == set(states[0]), "the state has other names than the models"
        for name, value in state.items():
            like = states[0][name]
            assert value.shape == like.shape and value.dtype == like.dtype, f"{name} has another shape or type"
        assert kept and len(set(kept)) == len(kept), "kept must be numbers of models, each once"
        assert all(type(i) is int and 0 <= i < len(states) for i in kept), "kept must be numbers of models"

    def check_mean_of_kept(self, build: Build) -> None:
        """Every weight is the mean of that weight over the kept models; other buffers are kept as they are."""
        states = models(1)
        state, kept = build()(states, Score(1))
        for name in states[0]:
            mean = np.mean([states[i][name].astype(np.float64) for i in kept], axis=0)
            assert np.allclose(state[name], mean, atol=1e-5), f"{name} is not the mean over the kept models"

    def check_one_model(self, build: Build) -> None:
        """One model alone, or several copies of it, give that model."""
        one = models(2)[0]
        for states in ([one], [one, copy.deepcopy(one)]):
            state, _ = build()(states, Score(2))
            assert all(np.array_equal(state[n], one[n]) for n in one), "the merge of one model is another model"

    def check_not_worse(self, build: Build) -> None:
        """The held-out score of the result is not below that of the best single model."""
        for seed in range(6):
            states, score = models(seed), Score(seed)
            states.append({**states[0], "layer.weight": states[0]["layer.weight"] + 5})
            state, _ = build()(states, score)
            best = max(score(s) for s in states)
            assert score(state) >= best - 1e-6, f"the result scores {score(state):.4f}, the best model {best:.4f}"

    def check_order(self, build: Build) -> None:
        """The models kept do not depend on the order they are given in."""
        states = models(3)
        _, kept = build()(states, Score(3))
        _, turned = build()(states[::-1], Score(3))
        assert sorted(kept) == sorted(len(states) - 1 - i for i in turned), "the order of the models matters"

    def check_input_unchanged(self, build: Build) -> None:
        """The models are left as they were, and share no memory with the result."""
        states = models(4)
        before = copy.deepcopy(states)
        state, _ = build()(states, Score(4))
        for value in state.values():
            value += 1
        for state_, old in zip(states, before, strict=True):
            assert all(np.array_equal(state_[n], old[n]) for n in old), "a model was changed in place"

    def check_statistics(self, build: Build) -> None:
        """Batch statistics are not averaged in silence: they need `recompute`, whose result is taken."""
        states = with_statistics(5)
        must_refuse("batch statistics without `recompute`", lambda: build()(states, Score(5)))

        def recompute(state: State) -> State:
            return {**state, "norm.running_mean": state["layer.bias"] * 2}

        state, kept = build()(states, Score(5), recompute)
        if len(kept) > 1:
            again = np.allclose(state["norm.running_mean"], state["layer.bias"] * 2, atol=1e-5)
            assert again, "the statistics measured anew were not taken"

    def check_bad_input(self, build: Build) -> None:
        """What cannot be merged is refused in words."""
        states = models(6)
        other = [*states[:2], {**states[2], "layer.bias": np.zeros(4, dtype=np.float32)}]
        fewer = [*states[:2], {n: v for n, v in states[2].items() if n != "layer.bias"}]
        holed = [*states[:2], {**states[2], "layer.bias": np.full(3, np.nan, dtype=np.float32)}]
        turned = [*states[:2], {**states[2], "positions": np.arange(4)[::-1]}]
        refused: dict[str, Callable[[], Any]] = {
            "no models": lambda: build()([], Score(6)),
            "models of different shapes": lambda: build()(other, Score(6)),
            "models of different names": lambda: build()(fewer, Score(6)),
            "a model that is not finite": lambda: build()(holed, Score(6)),
            "whole numbers that differ": lambda: build()(turned, Score(6)),
            "models of different starts": lambda: build()(states, Score(6), None, ["a", "a", "a", "b", "a"]),
            "fewer starts than models": lambda: build()(states, Score(6), None, ["a"]),
        }
        for what, call in refused.items():
            must_refuse(what, call)

    def check_bad_score(self, build: Build) -> None:
        """A held-out score that is not a number is refused."""
        must_refuse("a score that is not a number", lambda: build()(models(7), lambda _: float("nan")))


def checks(card: Card) -> list[Check]:
    """The checks that apply to a part, by its traits."""
    bound = Checks(card)
    found = [
        bound.check_shape, bound.check_one_model, bound.check_order, bound.check_input_unchanged,
        bound.check_statistics, bound.check_bad_input,
    ]  # fmt: skip
    if "average" in card.traits:
        found.append(bound.check_mean_of_kept)
    if "evaluates" in card.traits:
        found += [bound.check_not_worse, bound.check_bad_score]
    return found
