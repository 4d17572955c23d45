"""The tables of docs/scaling.md, worked out from the rates in benchmarks/results/ and from prices that are assumed.

    python scripts/scaling.py [--cores 64] [--core-hour 0.04] [--memory-month 3.0] [--disk-month 0.08]

prints them with prices of your own; `scripts/docs --write` puts them, with those that are assumed here, into the page.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESULTS, PAGE = ROOT / "benchmarks" / "results", ROOT / "docs" / "scaling.md"
LINKS = "https://github.com/tellapart/tellapart/blob/main/benchmarks/results"
PLACE = re.compile(r"(<!-- worked out: (?P<name>[a-z]+) -->\n)(?P<shown>.*?)(<!-- end -->)", re.DOTALL)
SIZES = {"10 million": 10**7, "1 billion": 10**9, "100 billion": 10**11}

# What the code keeps for an item, in bytes.
VECTOR = 384 * 4
SIGNATURE = 64 * 8
PICTURE = 32 + 768
# `Collection.row_of` and `.ids` for ids of 20 characters: what 400,000 of them added to a process, by item.
ID = 247
SHARD = 10**7


@dataclass(frozen=True)
class Prices:
    """Assumptions, in one currency; no offer of anybody's."""

    cores: int = 64
    core_hour: float = 0.04
    memory_month: float = 3.0
    disk_month: float = 0.08


@dataclass(frozen=True)
class Rate:
    """A recorded figure: where it stands and what it is."""

    what: str
    file: str
    path: tuple[str | int, ...]
    unit: str

    @property
    def value(self) -> float:
        """As it is recorded."""
        held = recorded(self.file)
        for key in self.path:
            held = held[key]
        return float(held)

    @property
    def cores(self) -> int:
        """Cores of the machine that it was recorded on."""
        return int(recorded(self.file)["machine"]["cores"])


def recorded(file: str) -> dict:
    """What a benchmark wrote."""
    return json.loads((RESULTS / f"{file}.json").read_text(encoding="utf-8"))


RATES = {
    "texts": Rate("first sentences of docstrings through `minilm`", "text_embedding",
                  ("sentences", "ours_per_second", "median"), "texts a second"),
    "pictures": Rate("pictures through `lite0`, decoding included", "image_embedding",
                     ("end_to_end", "ours_per_second", "median"), "pictures a second"),
    "mining": Rate("a million vectors mined among themselves, to 50 negatives", "mining_million",
                   ("seconds",), "seconds"),
    "slope": Rate("log seconds of that over log items, from 10,000 to a million", "growth",
                  ("jobs", "mine", "slope"), ""),
    "near": Rate("near duplicates of a million vectors, among themselves", "near_duplicates",
                 ("items", "1000000", "seconds"), "seconds"),
    "near slope": Rate("log seconds of that over log items, from 10,000 to a million", "near_duplicates",
                       ("slope",), ""),
    "mining MiB": Rate("memory for it beyond the vectors", "mining_million", ("MiB",), "MiB"),
    "rabitq": Rate("`rabitq` built for 30,000 vectors", "index", ("indexes", "rabitq", "build_seconds"), "seconds"),
    "rabitq MB": Rate("memory of it beside the vectors", "index",
                      ("indexes", "rabitq", "MB_beside_the_vectors"), "MB"),
    "rabitq recall": Rate("its recall@10", "index", ("indexes", "rabitq", "recall@10"), ""),
    "hnsw": Rate("`hnsw` built for 30,000 vectors", "index", ("indexes", "hnsw", "build_seconds"), "seconds"),
    "hnsw MB": Rate("memory of it beside the vectors", "index", ("indexes", "hnsw", "MB_beside_the_vectors"), "MB"),
    "ray": Rate("two workers on Ray, as a share of twice one process", "on_ray",
                ("ratio to twice one worker", "median"), ""),
    "plain": Rate("two processes without Ray, as a share of twice one", "on_ray",
                  ("ratio of two processes without Ray to twice one worker", "median"), ""),
}  # fmt: skip
SEARCH = {
    "recall": Rate("recall@10 of `hnsw` at its defaults, 1,000,000 vectors", "search_scale",
                   ("mixed", "hnsw", -1, "recall@10"), ""),
    "code": Rate("recall@10 of `ivf` at its defaults, docstrings among 31,176 functions", "code_queries",
                 ("indexes", "ivf", "measured with held-out queries", "recall@10"), ""),
    "growth": Rate("log milliseconds of a search over log items, from 10,000 to a million", "search_scale",
                   ("slope", "hnsw"), ""),
    "alone": Rate("queries a second beside bare FAISS on the same graph, one by one", "backends",
                  ("speed_ratios", "hnsw / bare FAISS", "alone", "median"), "times"),
    "together": Rate("the same, a hundred in a call", "backends",
                     ("speed_ratios", "hnsw / bare FAISS", "by 100", "median"), "times"),
    "lance": Rate("queries a second beside LanceDB with the index that it makes by itself", "backends",
                  ("speed_ratios", "hnsw / LanceDB by itself", "alone", "median"), "times"),
    "http": Rate("half of the answers over HTTP, 16 clients, 200,000 items, writes going on", "http_search",
                 ("p50_http / mean_bare_16_at_once",), "times a bare call of the index under the same load"),
    "slowest": Rate("99 of 100 of them", "http_search", ("p99_http / p50_http",), "times the half"),
    "errors": Rate("errors in 100,000 requests", "http_search", ("errors",), ""),
    "muvera": Rate("`muvera(candidates=400)` beside exact MaxSim over 50,000 functions, one by one", "muvera",
                   ("figures", "encodings, 400 candidates", "alone_times_faster", "median"), "times faster"),
    "muvera recall": Rate("its recall@10", "muvera",
                          ("figures", "encodings, 400 candidates", "recall@10", "median"), ""),
    "killed": Rate("items lost that were acknowledged, killed at 200 points", "kill_points",
                   ("acknowledged and lost",), ""),
}  # fmt: skip


def tables(prices: Prices | None = None) -> dict[str, str]:
    """The tables of the page by name, as Markdown."""
    prices = prices or Prices()
    return {
        "rates": rates(RATES),
        "search": rates(SEARCH),
        "stages": stages(prices),
        "memory": memory(),
        "cost": cost(prices),
    }


def rates(of: dict[str, Rate]) -> str:
    """What was recorded, and where it stands."""
    rows = [[r.what, f"{r.value:,g} {r.unit}".strip(), str(r.cores), f"[{r.file}.json]({LINKS}/{r.file}.json)"]
            for r in of.values()]  # fmt: skip
    return markdown(["what", "recorded", "cores", "file"], rows)


def core_hours(n: int) -> dict[str, tuple[float, str]]:
    """Hours of one core for the stages of n items, and what the figure stands on."""
    shards = max(1, n // SHARD)
    mining = RATES["mining"].value * (min(n, SHARD) / 10**6) ** RATES["slope"].value * shards
    built = n / recorded("index")["items"]
    return {
        "embed texts": (n / RATES["texts"].value * RATES["texts"].cores / 3600, "rate x items"),
        "embed pictures": (n / RATES["pictures"].value * RATES["pictures"].cores / 3600, "rate x items"),
        "mine": (mining * RATES["mining"].cores / 3600, "slope, within shards of 10 million"),
        "index with `rabitq`": (built * RATES["rabitq"].value * RATES["rabitq"].cores / 3600, "linear from 30,000"),
        "index with `hnsw`": (hnsw_seconds(n) * RATES["hnsw"].cores / 3600, "n log n from 30,000"),
    }


def hnsw_seconds(n: int) -> float:
    """Insertion costs about log n, and there are n."""
    at = recorded("index")["items"]
    return RATES["hnsw"].value * n / at * math.log(min(n, SHARD)) / math.log(at)


def stages(prices: Prices) -> str:
    """Core-hours by stage, and hours on the assumed machine."""
    columns = [core_hours(n) for n in SIZES.values()]
    rows = []
    for stage, (_, basis) in columns[0].items():
        cells = [f"{rounded(c[stage][0])} ({rounded(c[stage][0] / prices.cores)})" for c in columns]
        rows.append([stage, *cells, basis])
    return markdown(["core-hours (hours on one machine)", *SIZES, "worked out by"], rows)


def memory() -> str:
    """Bytes on disk and in memory."""
    codes = RATES["rabitq MB"].value * 1e6 / recorded("index")["items"]
    graph = RATES["hnsw MB"].value * 1e6 / recorded("index")["items"]
    kept = {
        "vectors of one side, 384 numbers of float32 (disk; memory-mapped)": VECTOR,
        "ids of a collection in one process (memory)": ID,
        "signatures of texts, while duplicates are looked for (memory)": SIGNATURE,
        "hashes and colours of pictures, for the same (memory)": PICTURE,
        "`rabitq` beside the vectors (memory)": codes,
        "`hnsw` with its vectors (memory)": graph + VECTOR,
    }
    rows = [[what, f"{b:,.0f}", *(size(b * n) for n in SIZES.values())] for what, b in kept.items()]
    return markdown(["what", "bytes an item", *SIZES], rows)


def cost(prices: Prices) -> str:
    """Money under the assumed prices."""
    codes = RATES["rabitq MB"].value * 1e6 / recorded("index")["items"]
    rows = []
    for stage in ("embed texts", "embed pictures", "mine"):
        rows.append([f"{stage}, once", *(rounded(core_hours(n)[stage][0] * prices.core_hour) for n in SIZES.values())])
    disk, held = VECTOR / 1e9 * prices.disk_month, (codes + ID) / 1e9 * prices.memory_month
    rows.append(["vectors on disk, a month", *(rounded(n * disk) for n in SIZES.values())])
    rows.append(["codes of `rabitq` and ids in memory, a month", *(rounded(n * held) for n in SIZES.values())])
    note = (
        f"Assumed: {prices.core_hour:g} a core-hour, {prices.memory_month:g} a GB of memory and "
        f"{prices.disk_month:g} a GB of disk for a month, machines of {prices.cores} cores."
    )
    return markdown(["cost", *SIZES], rows) + f"\n\n{note}"


def rounded(value: float) -> str:
    """Two figures that count: more would claim more than is known."""
    if value < 0.01:
        return "under 0.01"
    places = 1 - math.floor(math.log10(value))
    return f"{round(value, places):,.{max(0, min(places, 2))}f}"


def size(count: float) -> str:
    """Bytes in words."""
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return f"{rounded(count)} {unit}"
        count /= 1000
    return f"{rounded(count)} PB"


def markdown(columns: list[str], rows: list[list[str]]) -> str:
    """A table."""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def renew(*, write: bool, page: Path = PAGE) -> list[str]:
    """Names of the tables of the page that are outdated; with `write` they are renewed instead."""
    made, stale = tables(), []

    def shown(match: re.Match) -> str:
        fresh = f"\n{made[match['name']]}\n\n"
        if fresh != match["shown"] and not write:
            stale.append(match["name"])
        return match[1] + fresh + match[4]

    text = page.read_text(encoding="utf-8")
    renewed = PLACE.sub(shown, text)
    if write and renewed != text:
        page.write_text(renewed, encoding="utf-8")
    return stale


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    usual = Prices()
    given.add_argument("--cores", type=int, default=usual.cores)
    given.add_argument("--core-hour", type=float, default=usual.core_hour)
    given.add_argument("--memory-month", type=float, default=usual.memory_month)
    given.add_argument("--disk-month", type=float, default=usual.disk_month)
    for name, table in tables(Prices(**vars(given.parse_args()))).items():
        sys.stdout.write(f"{name}\n\n{table}\n\n")


if __name__ == "__main__":
    main()
