"""Items of frames and sound, each half of which has nothing to do with the caption, searched by the caption.

Data: `made-sounds`, generated with known truth. An item has eight frames, four altered copies of an OpenMoji drawing
and four of another one (`protocol.frames`), and a recording of 1.6 seconds, one half of which is a sound of one of
twelve kinds and the other half of another kind; the caption names the first drawing and the first kind. Every drawing
stands in three items, which only sound tells apart; drawings of test items are in no other part. Sounds are synthetic,
drawn anew for each item. Frames and texts are encoded once by the recipe's frozen encoders, recordings by `log-mel`.

A recipe has one of four arms, by `arm`:

- `pictures`: its strategy reads the frames alone.
- `concat`: the mean frame and the mean piece of sound side by side are the item's vector (for `two-tower`).
- `joint`: frames and pieces of sound are one set of tokens, which one reader attends to.
- `separate`: two sets, each with a reader of its own.

Measured on test items, each recipe choosing among its options by `R@1` on validation items, by the numpy scores that
are served (`engine.token_sets`); for `two-tower` by cosine:

- `R@1`, `R@10`: share of captions whose item is first, or among ten.
- `R@1 with noise for sound`, `R@1 with noise for pictures`: the same trained run, where the frozen vectors of that
  modality are, in all items searched, normal noise of the mean and deviation that they have in training.
- `R@1, against NAME` and the two others for each control; `R@1, against its own index`: the variant against the index
  of the items' own vectors, in which `tefal`'s know nothing of sound.

Options (`[options]` of the spec):
    baseline, variant: `arm` and fields of the recipe; a list holds what is chosen from.
    controls.NAME: further ones that the variant is compared with.
    drawings, batch_size, epochs, head: the budget, the same for all (200, 64, 20, "linear-head(dim=64)").
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
from tellapart.core.parts import make
from tellapart.data.spool import cache_folder
from tellapart.engine.embed import embed
from tellapart.engine.fit import Fitted, fit
from tellapart.engine.prepare import train_data
from tellapart.engine.regions import REGION
from tellapart.engine.sounds import listed
from tellapart.engine.token_sets import FRAMES, SOUND, Several, TokenSets, pooled_as
from tellapart.protocol.composites import recall
from tellapart.protocol.frames import drawings
from tellapart.protocol.frames import items as framed_items
from tellapart.recipe import Recipe

DATA = ("made-sounds",)
KNOWN = ("baseline", "variant", "controls", "drawings", "batch_size", "epochs", "head")
ARMS = ("pictures", "concat", "joint", "separate")
RATE, SECONDS, EACH, OTHERS = 16_000, 0.8, 3, 4
HELD = (0.625, 0.75)  # of the drawings: training up to here, validation up to there
FIRST, TEN, INDEX = "R@1", "R@10", "R@1, against its own index"
NOISES = {"sound": "R@1 with noise for sound", "pictures": "R@1 with noise for pictures"}

Figures = dict[str, tuple[Any, Any]]


@dataclass(frozen=True, eq=False)
class Items:
    """Frozen vectors of items: `text` [n, width], `frames` [n, 8, width], `sound` [n, pieces, bands]."""

    text: np.ndarray
    frames: np.ndarray
    sound: np.ndarray


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one seed."""
    options = spec["options"]
    unknown = [name for name in options if name not in KNOWN]
    if unknown:
        raise PartError(f"the protocol sounds has no option {unknown[0]!r}; it knows {', '.join(KNOWN)}")
    if data not in DATA:
        raise DataError(f"the protocol sounds knows {', '.join(DATA)}, not {data!r}")
    parts = made(options.get("drawings", 200), seed)
    budget = {"batch_size": options.get("batch_size", 64), "epochs": options.get("epochs", 20)}
    budget["head"] = options.get("head", "linear-head(dim=64)")
    ours = chosen(parts, budget | options["variant"], seed)
    other = chosen(parts, budget | options["baseline"], seed)
    figures: Figures = {name: (other[name], ours[name]) for name in ours if name != INDEX}
    for name, fields in options.get("controls", {}).items():
        found = chosen(parts, budget | fields, seed)
        figures |= {f"{metric}, against {name}": (found[metric], ours[metric]) for metric in (FIRST, *NOISES.values())}
    return figures | {INDEX: (ours[INDEX], ours[FIRST])}


def chosen(parts: list[Items], fields: dict[str, Any], seed: int) -> dict[str, float]:
    """Figures on the test part of the recipe that has the best `R@1` on the validation part."""
    fields = dict(fields)
    arm = fields.pop("arm", "")
    if arm not in ARMS:
        raise PartError(f"the protocol sounds has the arms {', '.join(ARMS)}, not {arm!r}")
    lists = {name: value if isinstance(value, list) else [value] for name, value in fields.items()}
    recipes = [Recipe.of(dict(zip(lists, values, strict=True))) for values in itertools.product(*lists.values())]
    tried = [measured(parts, arm, recipe, seed) for recipe in recipes]
    return max(tried, key=lambda figures: figures[0][FIRST])[1]


@functools.cache
def recorded(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(which drawing each item shows [n], vectors of captions [n, width], log-mel tokens [n, pieces, bands])."""
    base, cache = drawings(count), cache_folder(None, "evidence-vectors")
    names, captions, waves = base.collection.values("text"), [], []
    for drawing in range(count):
        rng = np.random.default_rng([drawing, 8])
        kinds = rng.permutation(len(KINDS))
        for kind, other in zip(kinds[:EACH], kinds[EACH : 2 * EACH], strict=True):
            halves = [sounded(list(KINDS)[k], rng) for k in rng.permutation([kind, other])]
            waves.append(np.concatenate(halves)[None])
            captions.append(f"{names[drawing]} with {list(KINDS)[kind]}")
    text = embed(Collection.of({"text": captions}), "text", make("encode", Recipe().text), cache=cache)
    tokens = np.stack(make("encode", "log-mel").encode_tokens(waves))
    return np.repeat(np.arange(count), EACH), np.array(text), tokens


def made(count: int, seed: int) -> list[Items]:
    """Training, validation and test items; frozen vectors have mean 0 and deviation 1 over the training tokens."""
    base, (of, text, sound) = drawings(count), recorded(count)
    parts = []
    for held in np.split(np.random.default_rng(seed).permutation(count), [int(count * share) for share in HELD]):
        frames = np.stack([framed_items(base, held, OTHERS, seed * EACH + turn) for turn in range(EACH)], 1)
        rows = (held[:, None] * EACH + np.arange(EACH)).ravel()
        assert (of[rows] == held.repeat(EACH)).all()
        parts.append(Items(text[rows], frames.reshape(len(rows), *frames.shape[2:]), sound[rows]))
    for name in ("frames", "sound"):
        flat = getattr(parts[0], name).reshape(-1, getattr(parts[0], name).shape[-1])
        mean, spread = flat.mean(0), np.maximum(flat.std(0), 1e-6)
        parts = [Items(**{**vars(p), name: ((getattr(p, name) - mean) / spread).astype(np.float32)}) for p in parts]
    return parts


def with_noise(items: Items, what: str, seed: int) -> Items:
    """The items with noise in place of one modality."""
    name = {"sound": "sound", "pictures": "frames"}[what]
    noise = np.random.default_rng([seed, 7]).normal(size=getattr(items, name).shape).astype(np.float32)
    return Items(**{**vars(items), name: noise})


def tokens(items: Items, arm: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """([n, width] the vectors of whole items, the token sets that the strategy reads)."""
    frames, sound = items.frames, items.sound
    if arm == "concat":
        return np.concatenate([frames.mean(1), sound.mean(1)], 1), {}
    if arm == "joint":
        union = np.concatenate([np.pad(frames, ((0, 0), (0, 0), (0, sound.shape[2]))),
                                np.pad(sound, ((0, 0), (0, 0), (frames.shape[2], 0)))], 1)  # fmt: skip
        return union.mean(1), {REGION: union, SOUND: sound[:, :0]}
    return frames.mean(1), {REGION: frames, SOUND: sound if arm == "separate" else sound[:, :0]}


def measured(parts: list[Items], arm: str, recipe: Recipe, seed: int) -> list[dict[str, float]]:
    """Figures on validation and on test items of a recipe in one of the arms."""
    train, *held = parts
    whole, sets = tokens(train, arm)
    vectors = {"query": train.text, "document": whole} | {name: listed(list(x)) for name, x in sets.items()}
    plain = Collection.of({"text": [str(i) for i in range(len(whole))], "image": [b""] * len(whole)})
    fitted = fit(recipe, train_data(plain, vectors, recipe), seed=seed)
    return [figures(fitted, arm, items, seed) for items in held]


def figures(fitted: Fitted, arm: str, items: Items, seed: int) -> dict[str, float]:
    """Figures of one part."""
    right = np.eye(len(items.text), dtype=bool)
    sim = scores(fitted, arm, items)
    found = {FIRST: recall(sim, right, first=1), TEN: recall(sim, right, first=10)}
    for what, metric in NOISES.items():
        found[metric] = recall(scores(fitted, arm, with_noise(items, what, seed)), right, first=1)
    own = fitted.encode("query", items.text) @ fitted.encode("document", tokens(items, arm)[0]).T
    return found | {INDEX: recall(own, right, first=1)}


def scores(fitted: Fitted, arm: str, items: Items) -> np.ndarray:
    """[n, n] of captions and items, as they are served."""
    q, (whole, sets) = fitted.encode("query", items.text), tokens(items, arm)
    own = fitted.encode("document", whole)
    if not sets:
        return q @ own.T
    encode = {REGION: lambda x: fitted.encode("document", x), SOUND: getattr(fitted.strategy, "sounds", None)}
    held = {}
    for name, called in ((REGION, FRAMES), (SOUND, SOUND)):
        if sets[name].shape[1]:
            z = encode[name](sets[name].reshape(-1, sets[name].shape[2]))
            held[called] = Several.of(z, [sets[name].shape[1]] * len(q))
    ids = np.array([str(row) for row in range(len(q))])
    kept = TokenSets(ids, own, held, **pooled_as(fitted.strategy))
    documents = [kept.tokens(id_, z) for id_, z in zip(ids.tolist(), own, strict=True)]
    found = kept.score(np.repeat(q, len(documents), 0), documents * len(q))
    return found.reshape(len(q), len(documents))


def sounded(kind: str, rng: np.random.Generator) -> np.ndarray:
    """[steps] a sound of a kind, as loud as others, with a little noise."""
    time = np.arange(int(RATE * SECONDS)) / RATE
    x = KINDS[kind](time, rng)
    return 0.3 * rng.uniform(0.5, 1.0) * x / max(np.abs(x).max(), 1e-6) + 0.002 * rng.normal(size=len(time))


def _tone(time: np.ndarray, pitch: float | np.ndarray) -> np.ndarray:
    """A sine of a pitch that may change."""
    return np.sin(2 * np.pi * np.cumsum(np.broadcast_to(pitch, time.shape)) / RATE)


def _since(time: np.ndarray, every: float, first: float = 0.0) -> np.ndarray:
    """Seconds since the last of some beats."""
    return (time + first) % every


def _wind(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    x = np.fft.rfft(rng.normal(size=len(time)))
    x[int(len(x) * rng.uniform(0.04, 0.08)) :] = 0
    return np.fft.irfft(x, len(time)) * (1 + 0.6 * np.sin(2 * np.pi * rng.uniform(1, 2) * time))


def _fire(time: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.normal(size=len(time)) * np.repeat(rng.random(len(time) // 160 + 1) < 0.06, 160)[: len(time)]


KINDS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "a low hum": lambda t, rng: sum(_tone(t, n * rng.uniform(90, 110)) / n for n in (1, 2, 3)),
    "a high whistle": lambda t, rng: _tone(t, rng.uniform(2600, 3800) + 40 * np.sin(30 * t)),
    "a ticking clock": lambda t, rng: np.exp(-400 * _since(t, 0.2, rng.uniform(0, 0.2))) * rng.normal(size=len(t)),
    "falling rain": lambda t, rng: rng.normal(size=len(t)),
    "blowing wind": _wind,
    "a siren": lambda t, rng: _tone(t, 900 + 350 * np.sin(2 * np.pi * rng.uniform(1.5, 3) * t + rng.uniform(0, 6))),
    "a ringing bell": lambda t, rng: np.exp(-5 * t) * sum(_tone(t, n * rng.uniform(650, 850)) for n in (1, 2.76, 5.4)),
    "a beating drum": lambda t, rng: np.exp(-25 * _since(t, rng.uniform(0.2, 0.3))) * _tone(t, rng.uniform(60, 90)),
    "singing birds": lambda t, rng: _tone(t, rng.uniform(3000, 3600) + 16_000 * _since(t, 0.11)) * (t % 0.11 < 0.08),
    "a running engine": lambda t, rng: _since(t, 1 / rng.uniform(30, 45)) * 35 - 0.5 + 0.1 * rng.normal(size=len(t)),
    "a beeping alarm": lambda t, rng: _tone(t, rng.uniform(1500, 2100)) * (_since(t, 0.24, rng.uniform(0, 0.2)) < 0.12),
    "a crackling fire": _fire,
}  # fmt: skip
