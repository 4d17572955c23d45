"""Ray as the place where pieces are done (`core.pieces`): embedding, mining, looking for duplicates, measuring.

Every worker is one actor of a Ray Data pipeline with as many processors as threads. Pieces are handed out window by
window, so that the driver never holds all of them, and tables come back in the order of the pieces, so that what is
written when somebody stops is what one process would have written. A worker that dies is started again and its piece
done again. What a job needs for all pieces lies once in the shared memory of each machine.
"""

from __future__ import annotations

import inspect
import io
import logging
import os
import pickle
import socket
import sys
import warnings
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from types import ModuleType
from typing import Any

import pyarrow as pa

from tellapart.core import errors, pieces
from tellapart.core.errors import TellapartError
from tellapart.core.needs import installed, require
from tellapart.core.pieces import Job, Workers

ADDRESS_VARIABLE = "RAY_ADDRESS"
PIECES_A_WINDOW = 1024
BYTES_A_WINDOW = 1 << 30
TRIES = 4
# One piece in work and one that waits at each worker: more of them would wait at one while another has none.
IN_FLIGHT = 2
SECONDS_TO_ANSWER = 5.0
# Before Ray is imported: it calls nobody, looks for no accelerators and says nothing of its own on the terminal.
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
}
# A cluster of this machine's own keeps to loopback, as Ray does by itself where firewalls ask.
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
THREADS_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")


@contextmanager
def on_ray(address: str = "", *, workers: int = 0) -> Iterator[Ray]:
    """Let Ray do what is done in pieces in the block.

    Args:
        address: host:port of a running cluster's head, or `auto` for the one of this machine; empty: what
            `RAY_ADDRESS` says, else a cluster of this machine's own, on loopback, which ends with the block.
        workers: how many; 0: one a core. Threads for each: cores / workers.

    Raises:
        MissingExtraError: Ray is not installed.
        TellapartError: nothing answers at the address, or a worker fails again and again.
    """
    with Ray(address, workers=workers) as made, pieces.using(made):
        yield made


class Ray(Workers):
    """Workers on Ray, which is started or joined when there is work for it, and left at the end of a `with` block.

    Args:
        address, workers: see `on_ray`.

    Attributes:
        threads: how many threads a worker takes; known when there was work.
    """

    def __init__(self, address: str = "", *, workers: int = 0) -> None:
        if workers < 0:
            raise TellapartError(f"{workers} workers: give a number from 1, or 0 for one a core")
        if not installed("ray"):
            require("ray", "--on ray")
        self.address = address or os.environ.get(ADDRESS_VARIABLE, "")
        if self.address:
            _check_address(self.address)
        self.workers, self.threads = workers, 0
        self.options: dict[str, Any] = {}
        self._stack = ExitStack()
        self._ray: ModuleType | None = None

    def __enter__(self) -> Ray:
        return self

    def __exit__(self, *_: object) -> None:
        self._ray = None
        self._stack.close()

    @property
    def ray(self) -> ModuleType:
        """The library, with a cluster behind it."""
        if self._ray is None:
            self._ray = self._opened()
        return self._ray

    def _opened(self) -> ModuleType:
        settings = QUIET if self.address else QUIET | LOOPBACK
        self._stack.enter_context(_environment({n: os.environ.get(n, value) for n, value in settings.items()}))
        with _few_warnings():
            require("ray.data", "--on ray")
            ray = require("ray", "--on ray")
            self._stack.enter_context(_hushed(ray))
            own = not self.address and not ray.is_initialized()
            if not ray.is_initialized():
                self._stack.callback(ray.shutdown)
                with _without_first_words():
                    _start(ray, self.workers) if own else _connect(ray, self.address)
        cores = int(ray.cluster_resources().get("CPU", 1))
        self.workers = self.workers or max(1, cores)
        self.threads = max(1, cores // self.workers)
        self.options = {} if own else {"runtime_env": {"env_vars": _share(self.threads)}}
        if "ray_remote_args_fn" in inspect.signature(ray.data.Dataset.map_batches).parameters:
            # A later Ray has it no more, and then tries for ever.
            self.options["ray_remote_args_fn"] = _tried_again
        return ray

    def tables(self, job: Job, pieces: Iterable[Any], count: int) -> Iterator[pa.Table]:
        """The table of each piece, in their order."""
        if not count:
            return
        ray = self.ray
        try:
            held = self._held(job)
            for window in _windows(pieces):
                with _few_warnings(), closing(self._window(held, window, min(self.workers, count))) as found:
                    yield from found
        except ray.exceptions.RayActorError:
            raise TellapartError(
                "a worker died again and again, most often for want of memory: give fewer --workers. What was finished "
                "is kept: run the same command again"
            ) from None
        except ray.exceptions.RayError as error:
            said = [line for line in str(error).strip().splitlines() if line.strip()] or [type(error).__name__]
            raise TellapartError(
                f"work on Ray failed: {said[-1].strip()}. What was finished is kept: run the same command again"
            ) from None

    def _held(self, job: Job) -> Any:
        try:
            return self.ray.put(job)
        except (TypeError, pickle.PicklingError) as error:
            words = str(error).strip().splitlines()[0]
            raise TellapartError(
                f"this cannot be sent to workers ({words}): use a part by its name, or leave --on ray out"
            ) from None

    def _window(self, held: Any, window: list[bytes], workers: int) -> Generator[pa.Table, None, None]:
        data = self.ray.data
        made = data.from_items([{"piece": piece} for piece in window], override_num_blocks=len(window))
        made = made.map_batches(
            _Worker,
            fn_constructor_args=(held,),
            batch_size=None,
            batch_format="pyarrow",
            compute=data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=IN_FLIGHT),
            num_cpus=self.threads,
            **self.options,
        )
        for block in made.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            for table, said in zip(block["table"], block["error"], strict=True):
                if said.as_py():
                    name, _, words = said.as_py().partition("\n")
                    raise getattr(errors, name, TellapartError)(words)
                yield pa.ipc.open_stream(table.as_buffer()).read_all()


def _tried_again() -> dict[str, Any]:
    return {"max_restarts": TRIES, "max_task_retries": TRIES}


class _Worker:
    """One actor: the job is opened once, and a mistake of the user's is told in words instead of raised."""

    def __init__(self, held: Any) -> None:
        self.job = require("ray", "a worker").get(held)

    def __call__(self, batch: pa.Table) -> pa.Table:
        tables, said = [], []
        for piece in batch["piece"]:
            table, words = b"", ""
            try:
                table = _packed(self.job(pickle.loads(piece.as_buffer())))
            except TellapartError as error:
                words = f"{type(error).__name__}\n{error}"
            tables.append(table)
            said.append(words)
        return pa.table({"table": pa.array(tables, pa.large_binary()), "error": pa.array(said, pa.string())})


def _packed(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


def _windows(given: Iterable[Any]) -> Iterator[list[bytes]]:
    window: list[bytes] = []
    size = 0
    for piece in given:
        window.append(pickle.dumps(piece, protocol=5))
        size += len(window[-1])
        if len(window) >= PIECES_A_WINDOW or size >= BYTES_A_WINDOW:
            yield window
            window, size = [], 0
    if window:
        yield window


def _start(ray: ModuleType, workers: int) -> None:
    """A cluster of this machine's own, on loopback, with as many processors as its workers have threads."""
    workers = workers or _cores()
    threads = max(1, _cores() // workers)
    with _environment(_share(threads)):
        ray.init(
            address="local",
            num_cpus=workers * threads,
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.ERROR,
            configure_logging=False,
        )


def _check_address(address: str) -> None:
    """Refuse what cannot be joined before any work is done."""
    if address.startswith("ray://"):
        raise TellapartError(
            "Ray Data does not go through ray://; give host:port of the head, from one of its machines"
        )
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise TellapartError(f"--ray-address is host:port of the cluster's head, or auto, not {address!r}")
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()
    except OSError as error:
        said = error.strerror or error
        raise TellapartError(f"no Ray cluster answers at {address} ({said}). Start one: ray start --head") from None


def _connect(ray: ModuleType, address: str) -> None:
    """Join a cluster that runs, or say in words why not."""
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise TellapartError(f"no Ray cluster at {address}: {said} Start one: ray start --head") from None


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _share(threads: int) -> dict[str, str]:
    """What keeps the libraries of a worker to its share of the cores, waiting threads asleep."""
    parallel = "true" if threads > 1 else "false"
    return {name: str(threads) for name in THREADS_VARIABLES} | {
        "OMP_WAIT_POLICY": "PASSIVE", "TOKENIZERS_PARALLELISM": parallel,
    }  # fmt: skip


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _without_first_words() -> Iterator[None]:
    """Ray's own code says on standard error how much it will say, before it can be told to say nothing."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def _few_warnings() -> Iterator[None]:
    """What Ray warns of in its own code, only its authors can change."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"ray(\.|$)")
        warnings.filterwarnings("ignore", message=".*ray_remote_args")
        yield


@contextmanager
def _hushed(ray: ModuleType) -> Iterator[None]:
    """Ray keeps to its log files, draws no bars, and gives results in order."""
    loggers = [logging.getLogger(name) for name in ("ray", "ray.data")]
    levels = [one.level for one in loggers]
    context = ray.data.DataContext
    before = context.get_current()
    mine = before.copy()
    mine.enable_progress_bars = False
    mine.print_on_execution_start = False
    mine.execution_options.preserve_order = True
    context._set_current(mine)
    for one in loggers:
        one.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        context._set_current(before)
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
