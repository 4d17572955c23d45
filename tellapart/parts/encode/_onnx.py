"""What the packaged encoders share: ONNX graphs written from weights, a cache of them, and sessions run in parallel."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.files import cache_home, write_atomically

OPSET = 18
MICROSOFT = "com.microsoft"


class Graph:
    """Nodes and constants of an ONNX model under construction; `add` and `constant` give back the name of a value."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, array: np.ndarray) -> str:
        """A constant of the model."""
        from onnx import numpy_helper

        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, op: str, *inputs: str, domain: str = "", named: str = "", outputs: int = 1, **attributes: Any) -> str:
        """One node; gives the name of its first output. An empty input name is an optional input left out."""
        from onnx import helper

        name = named or f"v{len(self._nodes)}"
        names = [name] + [f"{name}_{i}" for i in range(1, outputs)]
        self._nodes.append(helper.make_node(op, list(inputs), names, domain=domain, **attributes))
        return name

    def serialise(self, inputs: Mapping[str, tuple[str, list[Any]]], output: str, shape: int | list[Any]) -> bytes:
        """The model as bytes.

        Args:
            inputs: ONNX element type and shape (a string is a free axis) by name.
            output: the name of a float value.
            shape: of that value; a number is a width, [n, width].
        """
        from onnx import TensorProto, helper

        ins = [helper.make_tensor_value_info(k, TensorProto.DataType.Value(t), s) for k, (t, s) in inputs.items()]
        out = helper.make_tensor_value_info(
            output, TensorProto.FLOAT, ["n", shape] if isinstance(shape, int) else shape
        )
        graph = helper.make_graph(self._nodes, "tellapart", ins, [out], self._constants)
        sets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=sets, ir_version=9).SerializeToString()


def threads_or_all(threads: int) -> int:
    """The number asked for; for 0 what `OMP_NUM_THREADS` says, else every core this process may use."""
    if threads:
        return threads
    asked = os.environ.get("OMP_NUM_THREADS", "")
    if asked.isdigit() and int(asked) > 0:
        return int(asked)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def digest(*pieces: str | bytes | Path) -> str:
    """32 hex digits over texts, bytes and the contents of files."""
    total = hashlib.sha256()
    for piece in pieces:
        if isinstance(piece, Path):
            with piece.open("rb") as file:
                one = hashlib.file_digest(file, "sha256").digest()
        else:
            one = hashlib.sha256(piece.encode() if isinstance(piece, str) else piece).digest()
        total.update(one)
    return total.hexdigest()[:32]


def session(key: str, build: Callable[[], bytes]) -> Any:
    """A session of one thread on the model of that key, which is built once and then read from the cache folder.

    One thread each, because several runs side by side use the cores better than one run spread over them. A cached
    file that cannot be read is built anew; a folder that cannot be written costs the cache and nothing else.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3

    def start(model: bytes) -> Any:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    file = cache_home() / "onnx" / f"{key}.onnx"
    with contextlib.suppress(Exception):
        return start(file.read_bytes())
    model = build()
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, model)
    return start(model)


def runs_of_one_length(lengths: np.ndarray, *, tokens: int, items: int) -> list[np.ndarray]:
    """Rows in runs of equal length, longest first: at most so many items a run, and tokens where one item fits."""
    order = np.argsort(-lengths, kind="stable")
    runs: list[np.ndarray] = []
    for same in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1) if len(order) else ():
        size = max(1, min(items, tokens // int(lengths[same[0]])))
        runs += np.split(same, range(size, len(same), size))
    return runs


def side_by_side(call: Callable[[Any], Any], work: Iterable[Any], threads: int) -> Iterator[Any]:
    """Results of the calls in order; what has not begun is dropped when one of them fails or the user interrupts."""
    work = list(work)
    if threads == 1 or len(work) < 2:
        yield from map(call, work)
        return
    pool = ThreadPoolExecutor(min(threads, len(work)))
    try:
        yield from pool.map(call, work)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
