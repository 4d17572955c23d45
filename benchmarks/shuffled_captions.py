"""Training with 30% and 50% of the captions shuffled, with and without curation: R@10 on clean pairs, five seeds.

Data: `openmoji` (names and drawings, one of each concept), `wordnet` (words of noun synsets and their glosses). A fifth
of the pairs are the test and stay right; of the others, train and validation alike, a share hand their text on to the
next of them. Everything goes the way of a user: `curate` into a folder, `find` in what is not the test, which would be
cleaner than what anybody has, `decide` that all that `misfit-captions` proposes is right, `run` on the folder; the
figure is the report's R@10.

Arms: `as it is`, `run` with no recipe (it tries InfoNCE, canonical correlation and no training, and chooses on
validation); `curated`, the same after the decisions; `rde`, the strategy with the triplet alignment loss on what nobody
looked at; `rde, infonce`, the same with InfoNCE. The ratio is to `as it is` on clean pairs, seed by seed.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from _record import write

SEEDS = range(5)
SHARES = (0.3, 0.5)
ITEMS = 2000
ASKED = {"openmoji": "text-to-image R@10", "wordnet": "anchor-to-positive R@10"}
KIND = "misfit-captions"


def pairs(data: str, seed: int):
    """The right pairs, with a split."""
    from tellapart.core.collection import Collection
    from tellapart.data import shipped

    made = shipped.load(data)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 3]))
    if data == "openmoji":
        made = made.take(np.sort(np.unique(made.codes("concept")[0], return_index=True)[1]))
    else:
        first = {gloss: row for row, gloss in reversed(list(enumerate(made.values("gloss"))))}
        rows = [row for row in sorted(first.values()) if made.values("lexname")[row].startswith("noun.")]
        some = made.take(np.sort(rng.permutation(rows)[:ITEMS]))
        made = Collection.of({"anchor": some.values("anchor"), "positive": some.values("gloss")})
    n = len(made)
    split = np.full(n, "train", dtype=object)
    order = rng.permutation(n)
    split[order[: n // 5]], split[order[n // 5 : n // 5 + n // 10]] = "test", "validation"
    return made.with_column("split", list(split))


def shuffled(collection, share: float, seed: int):
    """A share of what is not the test with each other's texts."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 4]))
    name = "text" if "text" in collection.columns else "anchor"
    said, split = (np.asarray(collection.values(c), dtype=object) for c in (name, "split"))
    rows = rng.permutation(np.flatnonzero(split != "test"))
    wrong = rows[: round(share * len(rows))]
    said[wrong] = said[np.roll(wrong, 1)]
    return collection.with_column(name, list(said)), wrong


def trained(source: Path, out: Path, data: str, seed: int, recipe=None) -> float:
    """R@10 of a run, read off its report."""
    from tellapart.run import run

    run(source, out=out, recipe=recipe, seed=seed)
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    (figure,) = (b for b in report["blocks"] if b["block"] == "figure" and b["name"] == ASKED[data])
    return float(figure["value"])


def main() -> None:
    """All arms of all seeds; what was proposed is held against what was put in."""
    from tellapart import data as reading
    from tellapart import finding
    from tellapart.engine import intervals
    from tellapart.recipe import PLAIN

    divided = {
        "rde": PLAIN.but(strategy="rde", objective="triplet-alignment"),
        "rde, infonce": PLAIN.but(strategy="rde"),
    }
    started, figures, found = time.perf_counter(), {}, {}
    names = sys.argv[1:] or list(ASKED)
    for data in names:
        for seed in SEEDS:
            right = pairs(data, seed)
            for share in (0.0, *SHARES):
                with tempfile.TemporaryDirectory() as place:
                    folder = Path(place)
                    held, wrong = shuffled(right, share, seed)
                    held = reading.curate(held)
                    held.save(folder / "curated")
                    kept = {"as it is": trained(folder / "curated", folder / "run", data, seed)}
                    if share:
                        for at, (arm, recipe) in enumerate(divided.items()):
                            kept[arm] = trained(folder / "curated", folder / f"rde {at}", data, seed, recipe)
                        findings = finding.find(held.take(np.flatnonzero(np.asarray(held["split"]) != "test")), [KIND])
                        findings.save(folder / "curated")
                        told = {str(row["item"]) for row in findings.proposed().rows()}
                        finding.decide(folder / "curated", accept=[KIND])
                        kept["curated"] = trained(folder / "curated", folder / "again", data, seed)
                        hits = len(told & set(held.ids[wrong].tolist()))
                        kept |= {"proposed": len(told), "precision": hits / max(1, len(told))}
                        kept["recall"] = hits / len(wrong)
                figures.setdefault((data, share), []).append(kept)
                sys.stderr.write(f"{data} seed {seed} {share:.0%}: {kept}\n")
        clean = np.array([f["as it is"] for f in figures[data, 0.0]])
        found[data] = {"clean": clean.tolist()}
        for share in SHARES:
            rows = figures[data, share]
            table = {name: [row[name] for row in rows] for name in rows[0]}
            for arm in ("as it is", "curated", *divided):
                ratio = np.array(table[arm]) / clean
                table[f"{arm}: share of clean"] = [float(ratio.mean()), *intervals.bootstrap(ratio)]
            found[data][f"{share:.0%} shuffled"] = table
    seconds = time.perf_counter() - started
    goal = {"30% shuffled": 0.8, "50% shuffled": 0.6}
    write(
        "shuffled_captions",
        {"seeds": list(SEEDS), "to reach": goal, "minutes": round(seconds / 60, 1), "figures": found},
        ["torch", "tellapart"],
    )


if __name__ == "__main__":
    main()
