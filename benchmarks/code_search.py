"""Tuning a text encoder for code search, docstrings to functions, against sentence-transformers.

    python benchmarks/code_search.py [--pairs 512] [--seeds 1] [--rates 5e-5 1e-4] [--cache runs/benchmarks]

The same pairs (functions of the standard library, numpy, scipy, scikit-learn and torch with the first sentence of
their docstrings), the same packaged MiniLM, the same mined negative for each pair, the same batches a step and number
of steps, the same loss (in-batch and mined negatives, one way, temperature 0.05), AdamW with the same schedule. Files
are kept whole by the split. Each side chooses its learning rate on the validation part with the first seed; the test
part is searched with what each then trained, among all test functions. Times are of training alone, one after the
other, each in a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from _record import spread, write

PACKAGES = ("python", "numpy", "scipy", "sklearn", "torch")
FUNCTIONS, HELD_OUT, BATCH, TEMPERATURE, WARMUP, DECAY = 8000, 1000, 32, 0.05, 0.1, 0.0


def collection(pairs: int, cache: Path):
    """The functions with their split and, for training pairs, a mined negative."""
    from tellapart.core.parts import make
    from tellapart.data import curate, split
    from tellapart.data.docstrings import docstrings
    from tellapart.engine.embed import embed
    from tellapart.engine.mine import mine

    made = split(curate(docstrings(PACKAGES, limit=FUNCTIONS)), seed=0, shares=(0.6, 0.15, 0.25))
    side = np.asarray(made.values("split"), dtype=object)
    rng = np.random.default_rng(0)
    rows = {part: rng.permutation(np.flatnonzero(side == part)) for part in ("train", "validation", "test")}
    rows = {part: np.sort(found[: pairs if part == "train" else HELD_OUT]) for part, found in rows.items()}
    train = made.take(rows["train"])
    q, k = (
        np.asarray(embed(train, column, make("encode", "minilm"), cache=cache)) for column in ("anchor", "positive")
    )
    groups = train.numbers("group")
    table = mine(
        q, k, query_ids=None, document_ids=None, query_groups=groups, document_groups=groups,
        positives=np.arange(len(train)), depth=50, keep=1,
    )  # fmt: skip
    table = table.filter(table["kept"])
    of = dict(zip(table["query"].to_pylist(), table["document"].to_pylist(), strict=True))
    texts = train.values("positive")
    # A pair without a hard negative gets the one after it, so that both sides have one for each.
    negatives = [texts[of.get(i, (i + 1) % len(texts))] for i in range(len(texts))]
    found = {part: (made.take(r).values("anchor"), made.take(r).values("positive")) for part, r in rows.items()}
    return found | {"negatives": negatives}


def ndcg(q: np.ndarray, k: np.ndarray) -> np.ndarray:
    from tellapart.engine.evaluate import Relevant, retrieval

    return retrieval(q, k, Relevant.by_target(np.arange(len(q)), np.arange(len(k))), ks=(10,))["nDCG@10"]


def ours(data, rate: float, seed: int, part: str) -> tuple[float, np.ndarray]:
    from tellapart.core.collection import Collection
    from tellapart.engine.fit import fit
    from tellapart.engine.prepare import train_data
    from tellapart.recipe import Recipe

    anchors, positives = data["train"]
    columns = {"anchor": anchors, "positive": positives, "negative": data["negatives"]}
    recipe = Recipe(
        text="minilm", head="residual-head", tune="full", objective=f"infonce(temperature={TEMPERATURE})",
        both_ways=False, epochs=1, batch_size=BATCH, learning_rate=rate, warmup=WARMUP, weight_decay=DECAY,
    )  # fmt: skip
    pairs = train_data(Collection.of(columns), {}, recipe)
    start = time.perf_counter()
    fitted = fit(recipe, pairs, seed=seed)
    seconds = time.perf_counter() - start
    q, k = (_encoded(fitted, *given) for given in zip(("query", "document"), data[part], strict=True))
    return seconds, ndcg(q, k)


def _encoded(fitted, side: str, texts: list[str]) -> np.ndarray:
    import torch

    from tellapart.core.parts import make

    encoder, found = make("encode", "minilm"), []
    with torch.no_grad():
        for start in range(0, len(texts), 64):
            found.append(fitted.towers[side](torch.stack(encoder.prepare(texts[start : start + 64]), 1)).numpy())
    return np.concatenate(found)


def theirs(data, rate: float, seed: int, part: str) -> tuple[float, np.ndarray]:
    from datasets import Dataset
    from sentence_transformers import (
        SentenceTransformer,
        SentenceTransformerTrainer,
        SentenceTransformerTrainingArguments,
    )
    from sentence_transformers.losses import MultipleNegativesRankingLoss

    from tellapart.parts.encode._bert_folder import packaged_folder

    model = SentenceTransformer(str(packaged_folder()), device="cpu")
    anchors, positives = data["train"]
    rows = Dataset.from_dict({"anchor": anchors, "positive": positives, "negative": data["negatives"]})
    arguments = SentenceTransformerTrainingArguments(
        "runs/peer", num_train_epochs=1, per_device_train_batch_size=BATCH, learning_rate=rate, seed=seed,
        warmup_ratio=WARMUP, lr_scheduler_type="cosine", weight_decay=DECAY, report_to=[], save_strategy="no",
        use_cpu=True, disable_tqdm=True, logging_strategy="no", dataloader_drop_last=True,
    )  # fmt: skip
    loss = MultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE)
    trainer = SentenceTransformerTrainer(model, arguments, train_dataset=rows, loss=loss)
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    model.eval()
    q, k = (model.encode(texts, normalize_embeddings=True, show_progress_bar=False) for texts in data[part])
    return seconds, ndcg(np.asarray(q), np.asarray(k))


def child(side: str, pairs: int, rate: float, seed: int, part: str, cache: Path) -> None:
    file = cache / f"code-search-{pairs}.json"
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet):
        data = json.loads(file.read_text())
        if side == "untrained":
            from tellapart.core.parts import make

            seconds, figures = 0.0, ndcg(*(make("encode", "minilm").encode(texts) for texts in data[part]))
        else:
            seconds, figures = (ours if side == "ours" else theirs)(data, rate, seed, part)
    sys.stdout.write("\n" + json.dumps({"seconds": seconds, "nDCG@10": figures.tolist()}))


def trained(side: str, pairs: int, rate: float, seed: int, part: str, cache: Path) -> dict:
    """What a process of its own found; kept, so that a benchmark that was stopped goes on."""
    kept = cache / "code-search-runs" / f"{side}-{pairs}-{rate:g}-{seed}-{part}.json"
    if kept.is_file():
        return json.loads(kept.read_text())
    command = [sys.executable, __file__, "--cache", str(cache), "--pairs", str(pairs), "--child"]
    job = subprocess.run([*command, side, str(rate), str(seed), part], capture_output=True, text=True, check=True)
    found = json.loads(job.stdout.splitlines()[-1])
    kept.parent.mkdir(exist_ok=True)
    kept.write_text(json.dumps(found))
    told = f"{side} rate={rate} seed={seed} {part}: {found['seconds']:.1f} s, {np.mean(found['nDCG@10']):.4f}\n"
    sys.stderr.write(told)
    return found


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--pairs", type=int, default=512)
    given.add_argument("--seeds", type=int, default=1)
    given.add_argument("--rates", type=float, nargs="+", default=[5e-5, 1e-4])
    given.add_argument("--cache", type=Path, default=Path(__file__).parent.parent / "runs" / "benchmarks")
    given.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    given = given.parse_args()
    if given.child:
        side, rate, seed, part = given.child
        child(side, given.pairs, float(rate), int(seed), part, given.cache)
        return
    from tellapart.engine import intervals

    given.cache.mkdir(parents=True, exist_ok=True)
    (given.cache / f"code-search-{given.pairs}.json").write_text(json.dumps(collection(given.pairs, given.cache)))
    pairs, cache = given.pairs, given.cache
    held: dict[str, list[dict]] = {}
    chosen, tried = {}, {}
    for side in ("peer", "ours"):
        runs = {rate: trained(side, pairs, rate, 0, "validation", cache) for rate in given.rates}
        tried[side] = {str(rate): round(float(np.mean(run["nDCG@10"])), 4) for rate, run in runs.items()}
        chosen[side] = max(given.rates, key=lambda rate: tried[side][str(rate)])
    for seed in range(given.seeds):
        for side in chosen:
            held.setdefault(side, []).append(trained(side, pairs, chosen[side], seed, "test", cache))
    before = trained("untrained", pairs, 0.0, 0, "test", cache)
    figures = {side: np.mean([run["nDCG@10"] for run in runs], axis=0) for side, runs in held.items()}
    seconds = {side: [run["seconds"] for run in runs] for side, runs in held.items()}
    result = {
        "what": f"MiniLM tuned on {pairs:,} pairs with a mined negative each, one epoch, batches of {BATCH}",
        "to reach": {"nDCG@10": "equal or better", "share of the time": 0.5},
        "learning rate": chosen,
        "nDCG@10 on the validation part by learning rate": tried,
        "nDCG@10": {side: round(float(f.mean()), 4) for side, f in figures.items()}
        | {"untrained": round(float(np.mean(before["nDCG@10"])), 4)},
        "ours less peer": [round(float(x), 4) for x in intervals.paired(figures["peer"], figures["ours"])],
        "queries": len(figures["peer"]),
        "seconds": {side: spread(s, 1) for side, s in seconds.items()},
        "share of the peer's time": spread([a / b for a, b in zip(seconds["ours"], seconds["peer"], strict=True)], 3),
    }
    write("code_search", result, ["torch", "sentence-transformers", "transformers"])


if __name__ == "__main__":
    main()
