"""Recorded comparisons of parts with their baselines: `evidence/NAME.toml` is run, `evidence/NAME.json` came out.

Every finished (data, seed) is kept in a work folder, so that an interrupted recording goes on where it stopped. The
key of that folder holds the spec and the sources of part, baseline and protocol: a change of any of them starts anew.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib
import json
import os
import platform
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tellapart.core.errors import DataError, PartError, TellapartError, near
from tellapart.core.files import write_atomically
from tellapart.core.parts import card_of, cards, parse_spec
from tellapart.core.progress import Silence, Stages

FEWEST_SEEDS = 5
Setting = Literal[
    "few items", "many classes", "noise", "long tail", "small batch", "several modalities", "many pairs", "graph",
    "regression", "regions",
]  # fmt: skip
FOLDER_VARIABLE = "TELLAPART_EVIDENCE"
PACKAGES = ("tellapart", "numpy", "torch", "scikit-learn", "scipy", "onnxruntime", "pyarrow", "faiss-cpu")


class Spec(BaseModel):
    """What `evidence/NAME.toml` says.

    Attributes:
        part, baseline: specs of parts, such as `knn(k=1)`; a protocol may take another word for its own baseline.
        protocol: the module in `tellapart/protocol/` that compares them.
        data: names that the protocol knows.
        seeds: how many (0, 1, …), or the seeds themselves.
        fewer_because: why fewer than five seeds are enough.
        claim: what the paper says, short.
        note: what a reader of the result should know; what was tried where the claim does not show.
        main: the metrics that the verdict is read off, fixed before the run; empty: all.
        setting: what the data are like, for the page of what helps where.
        options: of the protocol.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    part: str
    protocol: str = Field(pattern=r"^[a-z][a-z_]*$")
    baseline: str
    data: list[str] = Field(min_length=1)
    seeds: int | list[int]
    fewer_because: str = ""
    claim: str = Field(min_length=10)
    note: str = ""
    main: list[str] = []
    setting: list[Setting] = []
    options: dict[str, Any] = {}

    @property
    def seed_list(self) -> list[int]:
        """The seeds as numbers."""
        return list(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds


def folder() -> Path:
    """Where specs and results lie: `TELLAPART_EVIDENCE`, or `evidence/` of the checkout or of the working folder."""
    named = os.environ.get(FOLDER_VARIABLE)
    if named:
        return Path(named)
    beside = Path(__file__).parents[1] / "evidence"
    return beside if beside.is_dir() else Path.cwd() / "evidence"


def read_spec(name: str) -> Spec:
    """The spec of a part's evidence, checked; what is wrong with it is said in one line."""
    card = card_of(None, name)
    file = folder() / f"{card.name}.toml"
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise TellapartError(f"{card.name} has no evidence to record: write {file}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise TellapartError(f"{file} is not a readable TOML file: {error}") from None
    try:
        spec = Spec(**values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(p) for p in first["loc"])
        raise PartError(f"{file}: {place}: {first['msg'].lower()}") from None
    if card_of(None, parse_spec(spec.part)[0]).name != card.name:
        raise PartError(f"{file} must be about {card.name}, it says part = {spec.part!r}")
    seeds = spec.seed_list
    if len(set(seeds)) < FEWEST_SEEDS and not spec.fewer_because:
        raise PartError(f"{file}: seeds: at least {FEWEST_SEEDS} are needed, or fewer_because with the reason")
    if len(set(seeds)) < 2 or len(set(seeds)) != len(seeds):
        raise PartError(f"{file}: seeds: at least two different ones are needed, none of them twice")
    if len(set(spec.data)) != len(spec.data):
        raise PartError(f"{file}: data: {spec.data} names a data set twice")
    return spec


def record(names: Sequence[str] = (), *, progress: Stages | None = None) -> list[dict[str, Any]]:
    """Run the evidence of these parts (all that have a spec, when none is named) and write `evidence/NAME.json`.

    Returns:
        What was written, one dict a part.
    """
    progress = progress or Silence()
    found = [card_of(None, name).name for name in names] or [row["name"] for row in listing() if row["spec"]]
    if not found:
        raise TellapartError(f"there is no evidence to record in {folder()}")
    return [_record(name, read_spec(name), progress) for name in found]


def listing() -> list[dict[str, Any]]:
    """Every part with `name`, `spec` and `recorded` (whether there is one), `stale`, `baseline`, `data`, `verdict`.

    Evidence is stale when its spec, or the source of its part, baseline or protocol, has changed since.
    """
    rows = []
    for name in sorted(cards()):
        held = _read_result(name)
        has_spec = (folder() / f"{name}.toml").is_file()
        row = {"name": name, "spec": has_spec, "recorded": held is not None, "stale": False}
        if held is not None:
            row["stale"] = not has_spec or held.get("key") != _key(read_spec(name))
            row |= {k: held.get(k) for k in ("baseline", "data", "verdict", "seconds")}
        rows.append(row)
    return rows


def _read_result(name: str) -> dict[str, Any] | None:
    file = folder() / f"{name}.json"
    if not file.is_file():
        return None
    try:
        held = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TellapartError(
            f"{file} is not readable JSON: {error}; write it again: tellapart evidence {name}"
        ) from None
    return held if isinstance(held, dict) else None


def _record(name: str, spec: Spec, progress: Stages) -> dict[str, Any]:
    from tellapart.data.spool import cache_folder

    start = head()
    protocol = _protocol(spec.protocol)
    key = _key(spec)
    work = cache_folder(None, "evidence") / f"{name}-{key}"
    work.mkdir(parents=True, exist_ok=True)
    todo = [(data, seed) for data in spec.data for seed in spec.seed_list]
    done: dict[tuple[str, int], dict[str, Any]] = {}
    with progress.stage(f"evidence {name}") as advance:
        for number, (data, seed) in enumerate(todo):
            advance(number, len(todo))
            done[data, seed] = _one(protocol, spec, data, seed, work, start)
        advance(len(todo), len(todo))
    rows = [row for data in spec.data for row in _rows(protocol, spec, data, [done[data, s] for s in spec.seed_list])]
    metrics = {row["metric"] for row in rows}
    for metric in spec.main:
        if metric not in metrics:
            raise PartError(f"main: no data set has a metric {metric!r}; {near(metric, metrics)}")
    result = {
        "part": spec.part,
        "baseline": spec.baseline,
        "protocol": spec.protocol,
        "claim": spec.claim,
        "note": spec.note,
        "verdict": summary(rows),
        "data": spec.data,
        "setting": spec.setting,
        "seeds": spec.seed_list,
        "options": spec.options,
        "rows": rows,
        "seconds": round(sum(d["seconds"] for d in done.values()), 1),
        "machine": machine(),
        "versions": versions(),
        **_one_commit(list(done.values())),
        "key": key,
        "recorded": datetime.now(UTC).strftime("%Y-%m-%d"),
    }
    if spec.fewer_because:
        result["fewer_because"] = spec.fewer_because
    _write(folder() / f"{name}.json", result)
    return result


def _protocol(name: str) -> Any:
    here = Path(__file__).parent / "protocol"
    known = sorted(f.stem for f in here.glob("*.py") if not f.stem.startswith("_"))
    if name not in known:
        raise PartError(f"there is no protocol {name!r}; {near(name, known)}")
    return importlib.import_module(f"tellapart.protocol.{name}")


def _one(protocol: Any, spec: Spec, data: str, seed: int, work: Path, start: str | None) -> dict[str, Any]:
    """`seconds`, `metrics` {metric: [baseline, variant]}, `commit` and `dirty` of one data set and seed."""
    file = work / f"{data}-{seed}.json"
    if file.is_file():
        try:
            held = json.loads(file.read_text(encoding="utf-8"))
            if isinstance(held, dict) and {"metrics", "commit"} <= set(held):
                return held
        except ValueError:
            file.unlink()
    began = time.perf_counter()
    found = protocol.run(spec.model_dump(), data, seed)
    seconds = time.perf_counter() - began
    if not found:
        raise TellapartError(f"the protocol {spec.protocol} measured nothing on {data} with seed {seed}")
    metrics = {}
    for metric, pair in found.items():
        values = [np.asarray(v, dtype=np.float64) for v in pair]
        if len(values) != 2 or values[0].shape != values[1].shape or values[0].ndim > 1:
            raise TellapartError(f"the protocol {spec.protocol} must give {metric} as (baseline, variant) of one shape")
        if not all(v.size and np.isfinite(v).all() for v in values):
            raise TellapartError(f"{metric} on {data} with seed {seed} is not finite: {pair}")
        metrics[metric] = [v.tolist() for v in values]
    result = {"seconds": seconds, "metrics": metrics, **provenance(start)}
    _write(file, result)
    return result


def _rows(protocol: Any, spec: Spec, data: str, runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a metric: values a seed, paired difference, interval, verdict."""
    from tellapart.engine import intervals

    names = list(runs[0]["metrics"])
    if any(list(run["metrics"]) != names for run in runs):
        raise TellapartError(f"the protocol {spec.protocol} gives other metrics for some seeds of {data}")
    lower, same = tuple(getattr(protocol, "LOWER_IS_BETTER", ())), bool(getattr(protocol, "SAME_QUERIES", False))
    rows = []
    for metric in names:
        baseline, variant = ([np.asarray(run["metrics"][metric][i]) for run in runs] for i in (0, 1))
        difference, low, high, how = paired_interval(baseline, variant, same_queries=same)
        higher = not metric.startswith(lower)
        rows.append({
            "data": data,
            "metric": metric,
            "higher_is_better": higher,
            "main": not spec.main or metric in spec.main,
            "baseline": [_round(float(b.mean())) for b in baseline],
            "variant": [_round(float(v.mean())) for v in variant],
            "difference": _round(difference),
            "low": _round(low),
            "high": _round(high),
            "interval": how,
            "verdict": intervals.verdict(low, high, higher_is_better=higher),
        })  # fmt: skip
    return rows


def paired_interval(
    baseline: list[np.ndarray], variant: list[np.ndarray], *, same_queries: bool = False
) -> tuple[float, float, float, str]:
    """(difference, low, high, how) at 95%.

    Seeds are the units, each with the mean over its queries: other queries a seed bring their noise with them. Where
    every seed has the same queries, seeds and queries are both drawn again.
    """
    from tellapart.engine import intervals

    if same_queries and all(b.ndim == 1 and b.shape == baseline[0].shape for b in baseline):
        found = intervals.paired(np.stack(baseline), np.stack(variant))
        return *found, f"two-level bootstrap: {len(baseline)} seeds, {len(baseline[0])} queries that all seeds share"
    found = intervals.paired([float(b.mean()) for b in baseline], [float(v.mean()) for v in variant])
    return *found, f"bootstrap over {len(baseline)} seeds"


def summary(rows: Sequence[dict[str, Any]]) -> str:
    """The verdict over the main rows: helps, hurts, no difference shown, or mixed with the counts."""
    said = [row["verdict"] for row in rows if row["main"]]
    helps, hurts = said.count("helps"), said.count("hurts")
    if helps and hurts:
        return f"mixed: helps in {helps} and hurts in {hurts} of {len(said)} comparisons"
    if not helps and not hurts:
        return "no difference shown"
    word, count = ("helps", helps) if helps else ("hurts", hurts)
    return (
        word if count == len(said) else f"{word} in {count} of {len(said)} comparisons, no difference shown in the rest"
    )


def machine() -> dict[str, Any]:
    """Cores this process may use, processor, memory and system."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        cores = os.cpu_count() or 1
    processor = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), processor)
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (OSError, ValueError):
        memory = None
    return {"cores": cores, "processor": processor, "memory_gib": memory, "system": platform.system()}


def versions() -> dict[str, str]:
    """Versions of Python, of this package and of the libraries that parts and protocols stand on, as installed."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def head() -> str | None:
    """The commit of the checkout; None outside of one."""
    try:
        return _git("rev-parse", "HEAD")
    except (OSError, subprocess.SubprocessError):
        return None


def provenance(start: str | None) -> dict[str, Any]:
    """`commit` that the work started from, and `dirty`: whether a source of the package in use differs from it."""
    if start is None:
        return {"commit": None, "dirty": None}
    root = Path(__file__).parents[1]
    loaded = [getattr(module, "__file__", None) for name, module in sys.modules.items() if name.startswith("tellapart")]
    used = sorted({f for f in loaded if f and Path(f).is_relative_to(root)})
    changed = _git("diff", "--name-only", start, "--", *used) + _git("ls-files", "--others", "--", *used)
    return {"commit": start, "dirty": bool(changed)}


def _git(*words: str) -> str:
    root = str(Path(__file__).parents[1])
    ran = subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, timeout=30, check=True)
    return ran.stdout.strip()


def _one_commit(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The commit that the last of the runs was made on; where not all were, `commits` names them in order."""
    commits = list(dict.fromkeys(run["commit"] for run in runs))
    found = {"commit": commits[-1], "dirty": None if None in commits else any(run["dirty"] for run in runs)}
    return found if len(commits) == 1 else found | {"commits": commits}


def _key(spec: Spec) -> str:
    """Hash of all that a result depends on: the spec less its words, and the code of part, baseline and protocol."""
    digest = hashlib.sha256()
    values = spec.model_dump(exclude={"claim", "note", "fewer_because", "main", "setting"})
    digest.update(json.dumps(values, sort_keys=True, default=str).encode())
    protocol = Path(__file__).parent / "protocol" / f"{spec.protocol}.py"
    sources = [protocol, card_of(None, parse_spec(spec.part)[0]).file]
    if protocol.is_file():
        says = protocol.read_text(encoding="utf-8")
        sources += [shared for shared in sorted(protocol.parent.glob("_[a-z]*.py")) if shared.stem in says]
    try:
        sources.append(card_of(None, parse_spec(spec.baseline)[0]).file)
    except PartError:
        digest.update(b"a baseline of the protocol's own")
    for source in sources:
        digest.update(_code(source.read_text(encoding="utf-8")) if source.is_file() else b"")
    return digest.hexdigest()[:12]


@functools.lru_cache(maxsize=1024)
def _code(source: str) -> bytes:
    """What source text does: its syntax tree less docstrings and cards, so that better words leave a result valid."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            node.decorator_list = [d for d in node.decorator_list if not ast.unparse(d).startswith("part(")]
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:]
    return ast.dump(tree).encode()


def _round(value: float) -> float:
    return float(f"{value:.6g}")


def _write(file: Path, content: dict[str, Any]) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode())
    except OSError as error:
        raise DataError(f"cannot write {file}: {error.strerror or error}; what was finished is kept") from None
