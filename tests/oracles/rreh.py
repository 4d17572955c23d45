"""The objective as one function of all blocks: each is minimised by a Newton step on it, signs are tried one by one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.linalg import orthogonal_procrustes

from tellapart.contract.strategy import small_run, unpaired_run

OTHER = {"anchors": 6, "relation": 3.0, "quantise": 0.5, "project": 2.0, "ridge": 0.2, "rounds": 3}
CASES: list[dict] = [{}, OTHER, {**OTHER, "rounds": 1}, {"rounds": 2, "relation": 20.0}]
DOUBLE = torch.float64


class Problem:
    """Two sides, the first n rows of each are pairs; blocks are named as in the part's docstring."""

    def __init__(self, run, options: dict, bits: int) -> None:
        self.n, self.bits = len(run.data), bits
        self.relation, self.quantise, self.project = (options.get(k, 1.0) for k in ("relation", "quantise", "project"))
        ridge, self.rounds = options.get("ridge", 1.0), options.get("rounds", 20)
        self.x, self.raw = [], []
        for side in ("query", "document"):
            rows = list(getattr(run.data, side).x.numpy().astype(float))
            rows += list(run.data.alone[side].x.numpy().astype(float)) if side in run.data.alone else []
            mean = sum(rows) / len(rows)
            scale = (bits / (sum(((row - mean) ** 2).sum() for row in rows) / len(rows))) ** 0.5
            self.x.append(torch.tensor(np.stack([(row - mean) * scale for row in rows])))
            self.raw.append((mean, scale))
        rng = np.random.default_rng(run.seed)  # drawn in the order of the part: anchors, filling columns, rotation
        self.a = sorted(rng.choice(self.n, min(options.get("anchors", 300), self.n), replace=False).tolist())
        self.z, self.r_w = [], []
        for x in self.x:
            anchors = x[self.a]
            trace = sum((row @ row).item() for row in anchors)
            coefficients = []
            for row in x[self.n :]:
                # argmin |row - c A|^2 + ridge trace / |A| |c|^2, as one least squares problem
                below = (ridge * trace / len(self.a)) ** 0.5 * torch.eye(len(self.a), dtype=DOUBLE)
                wanted = torch.cat([row, torch.zeros(len(self.a), dtype=DOUBLE)])
                coefficients.append(torch.linalg.lstsq(torch.cat([anchors.T, below]), wanted[:, None])[0][:, 0])
            self.z.append(torch.stack(coefficients) if coefficients else torch.zeros(0, len(self.a), dtype=DOUBLE))
            self.r_w.append(ridge * sum((row @ row).item() for row in x) / x.shape[1])
        left = np.linalg.svd(np.concatenate([x[: self.n].numpy() for x in self.x], 1), full_matrices=False)[0]
        left = left[:, :bits]
        for column in left.T:
            column *= 1 if column[np.abs(column).argmax()] >= 0 else -1
        start = torch.tensor(np.sqrt(self.n) * left)
        q, upper = np.linalg.qr(rng.normal(size=(bits, bits)))
        self.blocks = {
            "vp": start, "v0": self.z[0] @ start[self.a], "v1": self.z[1] @ start[self.a],
            "u0": torch.zeros(self.x[0].shape[1], bits, dtype=DOUBLE),
            "u1": torch.zeros(self.x[1].shape[1], bits, dtype=DOUBLE),
            "w0": torch.zeros(self.x[0].shape[1], bits, dtype=DOUBLE),
            "w1": torch.zeros(self.x[1].shape[1], bits, dtype=DOUBLE),
            "r": torch.tensor(q * np.sign(np.diag(upper))),
        }  # fmt: skip
        self.b = torch.where(self.v() @ self.blocks["r"] >= 0, 1.0, -1.0).to(DOUBLE)

    def v(self) -> torch.Tensor:
        return torch.cat([self.blocks[name] for name in ("vp", "v0", "v1")])

    def loss(self, **changed: torch.Tensor) -> torch.Tensor:
        at = {**self.blocks, "b": self.b, **changed}
        n, m = self.n, len(at["v0"])
        codes = [torch.cat([at["b"][:n], at["b"][n : n + m]]), torch.cat([at["b"][:n], at["b"][n + m :]])]
        v = torch.cat([at["vp"], at["v0"], at["v1"]])
        total = self.quantise * ((at["b"] - v @ at["r"]) ** 2).sum()
        for side in (0, 1):
            x, u, w = self.x[side], at[f"u{side}"], at[f"w{side}"]
            total = total + ((x[:n] - at["vp"] @ u.T) ** 2).sum() + (u**2).sum()
            total = total + self.relation * ((at[f"v{side}"] - self.z[side] @ at["vp"][self.a]) ** 2).sum()
            total = total + self.project * (((codes[side] - x @ w) ** 2).sum() + self.r_w[side] * (w**2).sum())
        return total

    def newton(self, name: str) -> None:
        """The exact minimum of a quadratic function: one step from where it is."""
        here = self.blocks[name]
        if not here.numel():
            return
        flat = here.flatten()
        of = lambda y: self.loss(**{name: y.view(here.shape)})  # noqa: E731
        gradient = torch.autograd.functional.jacobian(of, flat)
        curvature = torch.autograd.functional.hessian(of, flat, vectorize=True)
        self.blocks[name] = (flat - torch.linalg.solve(curvature, gradient)).view(here.shape)

    def tried_signs(self) -> None:
        least = self.loss().item()
        for row in range(len(self.b)):
            for column in range(self.bits):
                self.b[row, column] *= -1
                now = self.loss().item()
                if now < least:
                    least = now
                else:
                    self.b[row, column] *= -1

    def solve(self) -> list[torch.Tensor]:
        losses = []
        for _ in range(self.rounds):
            for name in ("u0", "u1", "v0", "v1", "vp", "r", "w0", "w1", "b"):
                if name == "b":
                    self.tried_signs()
                elif name == "r":
                    self.blocks["r"] = torch.tensor(orthogonal_procrustes(self.v().numpy(), self.b.numpy())[0])
                else:
                    self.newton(name)
                losses.append(self.loss().item())
        assert all(later <= earlier + 1e-8 for earlier, later in pairwise(losses))
        assert losses[-1] < losses[0]
        self.newton("w0")
        self.newton("w1")
        return [self.blocks["w0"], self.blocks["w1"]]


def check(build, options: dict) -> None:
    # of pairs alone where the rounds are few, as their signs are many
    for made in (unpaired_run, small_run) if "rounds" in options else (unpaired_run,):
        run = made(seed=2)
        build(**options).begin(run)
        problem = Problem(run, options, 5)
        for side, w, (mean, scale) in zip(("query", "document"), problem.solve(), problem.raw, strict=True):
            weight = scale * w.numpy().T
            np.testing.assert_allclose(run.towers[side].map.weight.detach().numpy(), weight, atol=1e-5)
            np.testing.assert_allclose(run.towers[side].map.bias.detach().numpy(), -weight @ mean, atol=1e-5)


def check_library_minimum(build) -> None:
    """scipy finds nothing lower from where a Newton step ends."""
    from scipy.optimize import minimize

    problem = Problem(unpaired_run(seed=2), OTHER, 5)
    problem.solve()
    for name in ("u0", "vp", "v1", "w1"):
        problem.newton(name)
        here, shape = problem.loss().item(), problem.blocks[name].shape

        def value(y, name=name, shape=shape):
            y = torch.tensor(y, requires_grad=True)
            loss = problem.loss(**{name: y.view(shape)})
            loss.backward()
            return loss.item(), y.grad.numpy()

        start = problem.blocks[name].flatten().numpy() + 0.1
        found = minimize(value, start, jac=True, method="L-BFGS-B", options={"maxiter": 2000, "ftol": 1e-15})
        assert found.fun == pytest.approx(here, rel=1e-6)
