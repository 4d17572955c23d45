"""The difference of two sets in words: is the planted word among the first three that `set-differences` names?

    python benchmarks/set_differences.py [--seeds 5] [--planted 10] [--data openmoji wordnet]

Sets are made as `tellapart/protocol/set_differences.py` says: a word, or what words are kinds of, in 60 to 100% of the
first set's items and in none of the second's; of every caption three words in ten are left out. Words are planted in a
random order, none is chosen, and one that most items have is not taken. Beside the part stands the usual way, the log
odds of single caption words.

Wanted: the planted word in the first three in 9 of 10.
"""

from __future__ import annotations

import argparse

import numpy as np
from _record import write

from tellapart.protocol import set_differences as room

WANTED, PLACES = 0.9, (1, 3, 5)


def main() -> None:
    """Plant, ask, count, record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--planted", type=int, default=10)
    parser.add_argument("--data", nargs="+", default=["openmoji", "wordnet"])
    given = parser.parse_args()
    found, reached = {}, []
    for data in given.data:
        held, ours, words, missed = room.items(data), [], [], []
        for seed in range(given.seeds):
            rng = np.random.default_rng(np.random.SeedSequence([seed, 82]))
            for word in room.words(held, rng)[: given.planted]:
                rows, inside = room.planted(held, word, 150, rng)
                collection, inside = room.made(held, rows, inside, rng)
                report = room.asked("set-differences", held, rows, collection, seed)
                ours.append(room.place_of(held, word, room.named(report)))
                words.append(room.place_of(held, word, room.by_words(collection)))
                if ours[-1] > 3:
                    missed.append(held.phrases.names[word])
        places = {"set-differences": np.array(ours), "log odds of words": np.array(words)}
        found[data] = {name: {f"first {k}": round(float((at <= k).mean()), 3) for k in PLACES}
                       for name, at in places.items()}  # fmt: skip
        found[data] |= {"planted": len(ours), "missed": missed}
        reached += ours
    share = float((np.array(reached) <= 3).mean())
    told = {"wanted": WANTED, "in the first three": round(share, 3), "reached": share >= WANTED, "data": found}
    write("set_differences", told, ("tellapart", "numpy", "onnxruntime"))


if __name__ == "__main__":
    main()
