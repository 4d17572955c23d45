"""Audits that ask a judge, with judges whose truth is known.

**gecko** (`openmoji`; `planted`: made up): captions of three attributes, none to three of which are replaced by others
of the same kind; what people would say is minus that number. The judge is a ridge classifier of each attribute above
frozen features, and the cosine is of captions mapped into the space of the pictures; both are fitted on the same other
items with true captions, their ridge chosen on captions spoilt likewise. Metrics (Kendall's tau-b with minus the number
of wrong attributes): `agreement, beside cosine` (cosine, score) and `agreement, beside hard match` (hard match, score).

**kitten** (`openmoji`: concepts in several skin tones; `fashion`: kinds of clothes): references of an entity; faithful
pictures (others of it), other things (pictures of the entity whose references are nearest), copies (references moved by
a pixel or two, darkened and compressed). Metrics (AUROC): `faithful above other things` (nearest reference, mean over
references) and `copies above faithful` (nearest reference by encoder, by pixels).

**vidic** (`openmoji`, `wordnet`): pairs of items, a line for each column in which they are the same or differ; four
describers by template (perfect; all differs; nothing differs; right in 70%), a judge that reads the template. Metric:
`least distance of two describers`, by the mean of both accuracies, and by the greater difference of the two.

Options (`[options]` of the spec): items (600 captions, 60 entities, 100 pairs).
"""

from __future__ import annotations

import functools
import io
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.features import softmax, unit_rows
from tellapart.core.judging import offer
from tellapart.core.leaderboard import kendall
from tellapart.core.linear import ridge_map
from tellapart.core.parts import make, parse_spec
from tellapart.core.questions import Question
from tellapart.data.spool import cache_folder
from tellapart.engine.evaluate import detection
from tellapart.parts.audit._fidelity import fidelity, flat, nearest_of
from tellapart.protocol import _sets

Figures = dict[str, tuple[Any, Any]]
JUDGE, RIDGES, SHARP = "judge-of-the-evidence", (0.01, 0.1, 1.0, 10.0), (2.0, 5.0, 10.0, 20.0)
COLUMNS = ("tone", "gender", "role")
BOTS = ("perfect", "all differs", "nothing differs", "right in 70%")


def run(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """{metric: (baseline, variant)} for one data set and one seed."""
    protocols: dict[str, Callable[..., Figures]] = {"gecko": captions, "kitten": entities, "vidic": checklists}
    return protocols[parse_spec(spec["part"])[0]](spec, data, seed)


def captions(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """How well cosine, hard match and score follow the number of wrong attributes."""
    x, held, said = _attributes(data)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 1]))
    train, tune, test = np.split(rng.permutation(len(x)), [len(x) // 2, len(x) * 3 // 4])
    test = test[: spec["options"].get("items", 600)]
    values = {c: sorted(set(held[c])) for c in COLUMNS}
    code = {c: np.searchsorted(values[c], held[c]) for c in COLUMNS}
    spoilt, wrong = _spoilt(held, values, rng)
    texts = {"true": said(_joined(held)), "spoilt": said(_joined(spoilt))}

    def cosine(ridge: float, rows: np.ndarray) -> np.ndarray:
        mapped = ridge_map(texts["true"][train], x[train], ridge)(texts["spoilt"][rows])
        middle = x[train].mean(axis=0)
        found: np.ndarray = np.einsum("nd,nd->n", unit_rows(mapped - middle), unit_rows(x[rows] - middle))
        return found

    def chances(ridge: float, sharp: float) -> dict[str, np.ndarray]:
        return {
            c: softmax(sharp * ridge_map(x[train], np.eye(len(values[c]))[code[c][train]], ridge)(x)) for c in COLUMNS
        }

    best = max(RIDGES, key=lambda r: kendall(cosine(r, tune), -wrong[tune]))
    told = max(
        itertools.starmap(chances, itertools.product(RIDGES, SHARP)),
        key=lambda p: sum(float(np.log(p[c][tune, code[c][tune]] + 1e-9).mean()) for c in COLUMNS),
    )
    ids = [f"i{i:05d}" for i in range(len(x))]
    row_of = {i: row for row, i in enumerate(ids)}

    def judge(question: Question) -> dict[str, float] | None:
        if not question.column:
            return None
        p = told[question.column][row_of[question.item]]
        return {a: float(p[values[question.column].index(a)]) for a in question.answers}

    offer(JUDGE, judge)
    made: dict[str, Any] = {
        "id": [ids[r] for r in test],
        "text": [_joined(spoilt)[r] for r in test],
        "rated": -wrong[test],
    }
    collection = Collection.of({**made, **{c: [held[c][r] for r in test] for c in COLUMNS}})
    audit = make("audit", spec["part"], judge=JUDGE, columns="|".join(COLUMNS), rated="rated")
    report = audit({}, collection, seed=seed)
    rows = next(block for block in report.blocks if getattr(block, "title", "") == "Agreement with rated").rows
    found = {name: figure.value for name, figure in rows}
    near = kendall(cosine(best, test), -wrong[test])
    return {
        "agreement, beside cosine": (near, found["score"]),
        "agreement, beside hard match": (found["hard match"], found["score"]),
    }


def _joined(held: dict[str, list[str]]) -> list[str]:
    return [f"{g} {r}, {t} skin tone" for t, g, r in zip(*(held[c] for c in COLUMNS), strict=True)]


def _spoilt(
    held: dict[str, list[str]], values: dict[str, list[str]], rng: np.random.Generator
) -> tuple[dict[str, list[str]], np.ndarray]:
    """Attributes with none to three of them replaced, and how many are."""
    n = len(held[COLUMNS[0]])
    wrong = rng.integers(0, len(COLUMNS) + 1, n)
    which = np.argsort(rng.random((n, len(COLUMNS))), axis=1) < wrong[:, None]
    out = {}
    for place, column in enumerate(COLUMNS):
        others = [rng.choice([v for v in values[column] if v != own]) if bad else own
                  for own, bad in zip(held[column], which[:, place], strict=True)]  # fmt: skip
        out[column] = [str(v) for v in others]
    return out, wrong.astype(float)


@functools.cache
def _attributes(data: str) -> tuple[np.ndarray, dict[str, list[str]], Callable[[list[str]], np.ndarray]]:
    """Features of pictures, their attributes, and an encoder of captions."""
    if data == "planted":
        rng = np.random.default_rng(0)
        sizes = {"tone": 5, "gender": 2, "role": 20}
        codes = {c: rng.integers(0, k, 2000) for c, k in sizes.items()}
        x = sum(rng.normal(size=(k, 48))[codes[c]] for c, k in sizes.items()) + 1.5 * rng.normal(size=(2000, 48))
        held = {c: [f"{c}{'abcdefghijklmnopqrst'[v]}" for v in codes[c]] for c in sizes}
        words = sorted({w for c in held for w in held[c]})
        return np.asarray(x), held, lambda texts: np.array([[float(w in t) for w in words] for t in texts])
    if data != "openmoji":
        raise DataError(f"gecko is judged on openmoji and planted, not on {data!r}")
    made = _sets.shipped("openmoji")
    tone, gender = made.values("skin_tone"), made.values("gender")
    plain = {"light", "medium-light", "medium", "medium-dark", "dark"}
    rows = [r for r in range(len(made)) if tone[r] in plain and gender[r] in ("man", "woman")]
    role = []
    for r in rows:
        left = made.values("text")[r].replace(f"{tone[r]} skin tone", " ").split()
        role.append(" ".join(w for w in left if w not in ("man", "woman", "men", "women")) or "standing")
    known = {name for name in role if role.count(name) >= 10}
    keep = [i for i, name in enumerate(role) if name in known]
    rows = [rows[i] for i in keep]
    held = {"tone": [tone[r] for r in rows], "gender": [gender[r] for r in rows], "role": [role[i] for i in keep]}
    return np.array(_embedded(made.take(rows), "image", "lite0"), float), held, _minilm


def _minilm(texts: list[str]) -> np.ndarray:
    return np.array(_embedded(Collection.of({"text": texts}), "text", "minilm"), float)


def _embedded(made: Collection, column: str, encoder: str) -> np.ndarray:
    from tellapart.engine.embed import embed

    return embed(made, column, make("encode", encoder), cache=cache_folder(None, "evidence-vectors"))


def entities(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """How well one similarity, and two, tell faithful pictures from other things and from copies."""
    x, pixels, copies, copied, entity = _pictures(data)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 2]))
    many = np.unique(entity)
    chosen = rng.permutation(many)[: spec["options"].get("items", 60)]
    references, faithful = [], []
    for e in chosen:
        mine = rng.permutation(np.flatnonzero(entity == e))
        references.append(mine[: len(mine) // 2])
        faithful.append(mine[len(mine) // 2 :])
    centre = np.stack([unit_rows(x[r]).mean(axis=0) for r in references])
    near = centre @ centre.T - 9 * np.eye(len(centre))
    other = [faithful[int(j)] for j in near.argmax(axis=1)]
    u, v, codes, kind = [], [], [], []
    for place in range(len(chosen)):
        for name, rows, z, p in (
            ("reference", references[place], x, pixels), ("faithful", faithful[place], x, pixels),
            ("other", other[place], x, pixels), ("copy", references[place], copies, copied),
        ):  # fmt: skip
            u.append(z[rows])
            v.append(p[rows])
            codes += [place] * len(rows)
            kind += [name] * len(rows)
    z, of, what = unit_rows(np.concatenate(u)), np.array(codes), np.array(kind)
    w, known, made = flat(np.concatenate(v)), np.flatnonzero(what == "reference"), np.flatnonzero(what != "reference")
    mean, _ = fidelity(z, made, known, of, len(chosen))
    scores = {"mean": mean, "nearest": nearest_of(z, made, known, of)[0], "pixels": nearest_of(w, made, known, of)[0]}
    asked = what[made]

    def area(score: str, found: str, left: str) -> float:
        rows = np.isin(asked, (found, left))
        return detection(scores[score][rows], asked[rows] == found)["AUROC"]

    labels = {"label": [f"e{c}" for c in codes], "reference": ["yes" if k == "reference" else "no" for k in kind]}
    collection = Collection.of({"id": [f"p{i:05d}" for i in range(len(of))], **labels})
    report = make("audit", spec["part"])({"image": z, "pixels": np.concatenate(v)}, collection, seed=seed)
    called = dict(zip(report.findings()[0].ids, report.findings()[0].values, strict=True))
    share = [float(np.mean([called[f"p{i:05d}"] for i in np.flatnonzero(what == k)])) for k in ("faithful", "copy")]
    return {
        "faithful above other things": (area("nearest", "faithful", "other"), area("mean", "faithful", "other")),
        "copies above faithful": (area("nearest", "copy", "faithful"), area("pixels", "copy", "faithful")),
        "called copies, faithful and copies": (share[0], share[1]),
    }


@functools.cache
def _pictures(data: str) -> tuple[np.ndarray, ...]:
    """Vectors, pixels, vectors of copies, pixels of copies, and entities, of pictures of entities with six or more."""
    from PIL import Image, ImageChops, ImageEnhance

    from tellapart.data.images import image_source, open_image

    if data not in ("openmoji", "fashion"):
        raise DataError(f"kitten is judged on openmoji and fashion, not on {data!r}")
    made, column, most = (
        _sets.shipped(data),
        "concept" if data == "openmoji" else "label",
        6 if data == "openmoji" else 30,
    )
    entity, _ = made.codes(column)
    size = np.bincount(entity[entity >= 0])
    rng = np.random.default_rng(0)
    picked = rng.permutation(np.flatnonzero(size >= most))[:70]
    rows = np.sort(np.concatenate([rng.permutation(np.flatnonzero(entity == e))[:most] for e in picked]))
    made = made.take(rows)
    plain = [open_image(image_source(v, made.root)).convert("RGB").resize((112, 112)) for v in made.values("image")]
    moved = []
    for image in plain:
        out, (right, down) = io.BytesIO(), rng.integers(1, 3, 2)
        turned = ImageEnhance.Brightness(ImageChops.offset(image, int(right), int(down))).enhance(0.9)
        turned.save(out, "JPEG", quality=60)
        moved.append(Image.open(out).convert("RGB"))
    x, y = (np.array(_embedded(Collection.of({"image": [_png(i) for i in images]}), "image", "lite0"), float)
            for images in (plain, moved))  # fmt: skip
    small = [np.stack([np.asarray(i.resize((48, 48)), np.float32) for i in images]) for images in (plain, moved)]
    return x, small[0], y, small[1], entity[rows]


def _png(image: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def checklists(spec: dict[str, Any], data: str, seed: int) -> Figures:
    """The least distance between any two of four describers, by one mean and by two accuracies."""
    wanted = {"openmoji": ("concept", "skin_tone", "gender", "version"), "wordnet": ("pos", "lexname", "hypernym")}
    if data not in wanted:
        raise DataError(f"vidic is judged on openmoji and wordnet, not on {data!r}")
    made, rng = _sets.shipped(data), np.random.default_rng(np.random.SeedSequence([seed, 3]))
    cells = {c: [str(v or "none") for v in made.values(c)] for c in wanted[data]}
    order = np.argsort(cells[wanted[data][0]], kind="stable")
    first = rng.choice(len(order) - 3, spec["options"].get("items", 100), replace=False)
    pairs = [(int(order[i]), int(order[i + 1 + rng.integers(2)])) for i in first]
    offer(JUDGE, lambda question: "yes" if question.text.split(": ")[1] in question.texts[0].split(" | ") else "no")
    seen = []
    for bot in BOTS:
        lines: dict[str, list[str]] = {n: [] for n in ("id", "kind", "question", "answer", "text", "pair", "category")}
        for number, (a, b) in enumerate(pairs):
            truth = {c: cells[c][a] != cells[c][b] for c in cells}
            told = [c for c, differs in truth.items() if _says(bot, differs, rng)]
            for c, differs in truth.items():
                line = (f"l{number}-{c}", "difference" if differs else "similarity", f"Do they differ in this: {c}",
                        "yes" if differs else "no", " | ".join(told) or "nothing", f"p{number}", c)  # fmt: skip
                for name, value in zip(lines, line, strict=True):
                    lines[name].append(value)
        report = make("audit", spec["part"], judge=JUDGE)({}, Collection.of(lines), seed=seed)
        seen.append([report.figure(f"{kind} accuracy").value for kind in ("similarity", "difference")])
    both = np.array(seen)
    apart = [(abs(a.mean() - b.mean()), np.abs(a - b).max()) for a, b in itertools.combinations(both, 2)]
    return {"least distance of two describers": (float(min(m for m, _ in apart)), float(min(d for _, d in apart)))}


def _says(bot: str, differs: bool, rng: np.random.Generator) -> bool:
    """Whether a describer calls something different."""
    right = rng.random() < 0.7
    return {"perfect": differs, "all differs": True, "nothing differs": False}.get(bot, differs == right)
