"""Every check of the contract of augmentations passes a right part and fails a wrong one made for it."""

from __future__ import annotations

import functools
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from tellapart.contract import augment as contract
from tellapart.core.maths import unit
from tellapart.core.parts import cards

FEATURES = replace(cards("augment")["mochi"], name="change")
REPLACES = replace(FEATURES, traits=("features", "label", "replaces"))
PIXELS = replace(FEATURES, traits=("pixels", "label"))
WORDS = replace(FEATURES, traits=("words", "label"))


def right(enc, *, rng):
    """One own negative a row: the first negative, moved towards the row by a draw."""
    some = enc.rel.neg > 0
    first = some.float().argmax(1)
    columns = torch.cat([enc.k.expand(len(enc.q), -1, -1), *([] if enc.own is None else [enc.own])], 1)
    share = 0.5 * rng.uniform(1)
    with torch.no_grad():
        made = unit(share * enc.q + (1 - share) * columns[torch.arange(len(enc.q)), first]).to(enc.q.dtype)
    weight = some.any(1, keepdim=True).to(enc.rel.neg.dtype)
    return enc.with_own(made[:, None], torch.zeros_like(weight), weight)


def right_picture(image, *, rng):
    return ImageOps.mirror(image) if rng.random() < 0.5 else image.copy()


def right_words(text, *, rng):
    words = text.split(" ")
    rng.shuffle(words)
    return " ".join(words)


def drops_old_weights(enc, *, rng):
    made = right(enc, rng=rng)
    return made.with_relation(made.rel.weighing_negatives(torch.tensor(0.5)))


def drops_old_own_columns(enc, *, rng):
    made = right(enc, rng=rng)
    return made if enc.own is None else replace(made, own=made.own.roll(1, 1))


def loses_the_teacher(enc, *, rng):
    return replace(right(enc, rng=rng), rows={})


def leaves_vectors_long(enc, *, rng):
    made = right(enc, rng=rng)
    return replace(made, q=made.q * 1.1)


def leaves_own_long(enc, *, rng):
    made = right(enc, rng=rng)
    return replace(made, own=made.own * torch.tensor(0.9))


def adds_positives(enc, *, rng):
    made = right(enc, rng=rng)
    pos, neg = made.rel.pos.clone(), made.rel.neg.clone()
    pos[:, -1], neg[:, -1] = 1.0, 0.0
    return made.with_relation(replace(made.rel, pos=pos, neg=neg))


def takes_a_positive_away(enc, *, rng):
    made = right(enc, rng=rng)
    pos = made.rel.pos.clone()
    pos[0] = 0.0
    return made.with_relation(replace(made.rel, pos=pos))


def learns_in_rows_without_positives(enc, *, rng):
    made = right(enc, rng=rng)
    pos, neg = made.rel.pos.clone(), made.rel.neg.clone()
    pos[:, -1], neg[:, -1] = 1.0, 0.0
    return made.with_relation(replace(made.rel, pos=pos, neg=neg))


def makes_negatives_of_what_was_ignored(enc, *, rng):
    made = right(enc, rng=rng)
    return made.with_relation(replace(made.rel, neg=(made.rel.pos == 0).to(made.rel.neg.dtype)))


def makes_positives_of_what_was_ignored(enc, *, rng):
    made = right(enc, rng=rng)
    return made.with_relation(replace(made.rel, pos=(made.rel.neg == 0).to(made.rel.pos.dtype)))


def weighs_its_columns_by_place_in_the_block(enc, *, rng):
    made = right(enc, rng=rng)
    place = torch.arange(1, len(made.q) + 1, dtype=made.rel.pos.dtype)[:, None]
    return made.with_relation(replace(made.rel, pos=made.rel.pos * place))


def adds_to_rows_without_negatives(enc, *, rng):
    made = right(enc, rng=rng)
    neg = made.rel.neg.clone()
    neg[:, -1] = 1.0
    return made.with_relation(replace(made.rel, neg=neg))


def draws_by_place_in_the_block(enc, *, rng):
    return right(enc, rng=replace(rng, keys=torch.arange(len(enc.q)) + rng.keys[:1] * 0))


def mixes_with_other_rows(enc, *, rng):
    made = right(enc, rng=rng)
    return replace(made, q=unit(made.q + 0.1 * made.q.mean(0) * rng.uniform(1)))


def stops_the_rows(enc, *, rng):
    return replace(right(enc, rng=rng), q=enc.q.detach())


def spoils_the_scores_for_those_after_it(enc, *, rng):
    with torch.no_grad():
        assert enc.sim.isfinite().all()
    return right(replace(enc), rng=rng)


def divides_by_nothing(enc, *, rng):
    made = right(enc, rng=rng)
    zero = (made.q * 0).sum(1, keepdim=True)
    return replace(made, q=made.q + zero.square().sqrt())


def overflows_in_half(enc, *, rng):
    made = right(enc, rng=rng)
    return replace(made, q=made.q * 300 * 300 / 90000 if made.q.dtype == torch.float16 else made.q)


def shrinks_in_half(enc, *, rng):
    made = right(enc, rng=rng)
    return replace(made, q=made.q * 0.9 if made.q.dtype == torch.bfloat16 else made.q)


def draws_globally(enc, *, rng):
    return right(enc, rng=replace(rng, seed=int(torch.randint(100, (1,)))))


def writes_into_the_rows(enc, *, rng):
    made = right(enc, rng=rng)
    enc.rel.pos.mul_(2)
    return made


def deaf_to_its_draws(enc, *, rng):
    return right(enc, rng=replace(rng, seed=0))


def gives_an_array(image, *, rng):
    return np.asarray(image)


def crops(image, *, rng):
    return image.crop((0, 0, max(1, image.width - 1), image.height))


def turns_grey_into_colour(image, *, rng):
    return right_picture(image, rng=rng).convert("RGB")


def paints_over(image, *, rng):
    made = image.copy()
    image.putpixel((0, 0), 0 if image.mode == "L" else (0, 0, 0))
    return made


def gives_back_its_input(image, *, rng):
    return image


def always_mirrors(image, *, rng):
    return ImageOps.mirror(image)


def uses_pythons_generator(image, *, rng):
    random.random()
    return right_picture(image, rng=rng)


def uses_numpys_generator(image, *, rng):
    np.random.random()
    return right_picture(image, rng=rng)


def uses_torchs_generator(image, *, rng):
    torch.rand(1)
    return right_picture(image, rng=rng)


def changes_from_call_to_call(image, *, rng, calls=[0]):  # noqa: B006
    calls[0] += 1
    return ImageOps.mirror(image) if calls[0] % 3 else image.copy()


def grows_the_smallest(image, *, rng):
    return image.resize((2, 2)) if image.size == (1, 1) else right_picture(image, rng=rng)


def gives_a_list(text, *, rng):
    return text.split()


def may_leave_nothing(text, *, rng):
    return " ".join(w for w in text.split(" ") if rng.random() < 0.5)


def always_reverses(text, *, rng):
    return text[::-1]


def new_order_each_call(text, *, rng, seen=[]):  # noqa: B006
    seen.append(text)
    return text + " again" * (len(seen) % 7)


WRONG = [
    ("check_traits", replace(FEATURES, traits=("features",)), right),
    ("check_traits", replace(FEATURES, traits=("label",)), right),
    ("check_columns_kept", FEATURES, drops_old_weights),
    ("check_columns_kept", FEATURES, drops_old_own_columns),
    ("check_columns_kept", FEATURES, loses_the_teacher),
    ("check_unit_length", FEATURES, leaves_vectors_long),
    ("check_unit_length", FEATURES, leaves_own_long),
    ("check_own_weights", FEATURES, adds_positives),
    ("check_own_weights", REPLACES, takes_a_positive_away),
    ("check_own_weights", REPLACES, learns_in_rows_without_positives),
    ("check_columns_kept", REPLACES, makes_negatives_of_what_was_ignored),
    ("check_columns_kept", REPLACES, makes_positives_of_what_was_ignored),
    ("check_feature_chunks", REPLACES, weighs_its_columns_by_place_in_the_block),
    ("check_own_weights", FEATURES, adds_to_rows_without_negatives),
    ("check_feature_chunks", FEATURES, draws_by_place_in_the_block),
    ("check_feature_chunks", FEATURES, mixes_with_other_rows),
    ("check_feature_gradient", FEATURES, stops_the_rows),
    ("check_feature_gradient", FEATURES, spoils_the_scores_for_those_after_it),
    ("check_feature_gradient", FEATURES, divides_by_nothing),
    ("check_feature_half", FEATURES, overflows_in_half),
    ("check_feature_half", FEATURES, shrinks_in_half),
    ("check_feature_draws", FEATURES, draws_globally),
    ("check_feature_draws", FEATURES, writes_into_the_rows),
    ("check_feature_draws", FEATURES, deaf_to_its_draws),
    ("check_picture", PIXELS, gives_an_array),
    ("check_picture", PIXELS, crops),
    ("check_picture", PIXELS, turns_grey_into_colour),
    ("check_picture", PIXELS, paints_over),
    ("check_picture", PIXELS, gives_back_its_input),
    ("check_picture_draws", PIXELS, always_mirrors),
    ("check_picture_draws", PIXELS, changes_from_call_to_call),
    ("check_picture_draws", PIXELS, uses_pythons_generator),
    ("check_picture_draws", PIXELS, uses_numpys_generator),
    ("check_picture_draws", PIXELS, uses_torchs_generator),
    ("check_small_pictures", PIXELS, grows_the_smallest),
    ("check_text", WORDS, gives_a_list),
    ("check_text", WORDS, may_leave_nothing),
    ("check_text_draws", WORDS, always_reverses),
    ("check_text_draws", WORDS, new_order_each_call),
]
KINDS = [(FEATURES, right), (REPLACES, right), (PIXELS, right_picture), (WORDS, right_words)]


@pytest.mark.parametrize(("name", "card", "wrong"), WRONG, ids=lambda x: getattr(x, "__name__", None))
def test_a_wrong_augmentation_fails(name, card, wrong):
    check = next(check for check in contract.checks(card) if check.__name__ == name)
    with pytest.raises(AssertionError, match="change"):
        check(lambda **o: functools.partial(wrong, **o))


@pytest.mark.parametrize(("card", "part"), KINDS, ids=["features", "replaces", "pixels", "words"])
def test_a_right_augmentation_passes(card, part):
    for check in contract.checks(card):
        check(lambda **o: functools.partial(part, **o))


def test_every_check_is_shown_to_fail():
    every = {c.__name__ for card, _ in KINDS for c in contract.checks(card)}
    assert every == {name for name, _, _ in WRONG}


def test_the_picture_of_the_contract_has_a_colour_of_its_own_at_each_end():
    image = contract._picture("RGB")
    assert isinstance(image, Image.Image) and len(np.unique(np.asarray(image)[..., 0])) > 10
