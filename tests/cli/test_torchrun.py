"""`torchrun -m tellapart fit` as one would call it: the model of two processes is that of one, and is said once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from typer.testing import CliRunner

from tellapart.cli import app

# `torchrun --standalone` with its meeting point on loopback.
LAUNCHER = (
    "torch.distributed.run", "--nnodes", "1", "--nproc-per-node", "2", "--rdzv-backend", "c10d",
    "--rdzv-endpoint", "localhost:0", "--local-addr", "localhost",
)  # fmt: skip


@pytest.mark.processes
def test_two_processes_under_torchrun_train_the_model_of_one(tmp_path: Path):
    colours = ("red", "blue", "green", "old", "new")
    things = ("car", "house", "tree", "river", "dog", "cat", "bird", "stone")
    rows = [f"{c} {t},the {t} is {c}" for c in colours for t in things]
    (tmp_path / "pairs.csv").write_text("\n".join(["anchor,positive", *rows]) + "\n", encoding="utf-8")
    words = ["fit", str(tmp_path / "pairs.csv"), "--set", "head=linear-head(dim=16)", "--set", "epochs=2"]
    words += ["--set", "batch_size=14", "--out"]
    alone = [*words, str(tmp_path / "one")]
    ran = CliRunner().invoke(app(alone), alone)
    assert ran.exit_code == 0, ran.output
    launched = [sys.executable, "-m", *LAUNCHER, "-m", "tellapart", *words, str(tmp_path / "two")]
    settings = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    both = subprocess.run(launched, env=settings, capture_output=True, text=True, timeout=300)
    assert both.returncode == 0, both.stderr
    assert both.stdout.count("The model:") == 1
    moved = 0.0
    for side in ("query", "document"):
        one, two = (load_file(tmp_path / name / f"{side}.safetensors") for name in ("one", "two"))
        assert one.keys() == two.keys()
        for name, x in one.items():
            np.testing.assert_allclose(two[name], x, rtol=1e-4, atol=1e-6)
            moved += float(np.abs(x).sum())
    assert moved > 0
