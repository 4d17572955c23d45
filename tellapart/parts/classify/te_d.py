"""TE-D: a classifier that predicts from what is left of its features without what is simplest in them."""

from __future__ import annotations

from typing import Annotated, Any

import numpy as np
from pydantic import Field

from tellapart.core.errors import DataError
from tellapart.core.features import labels, matrix, softmax
from tellapart.core.needs import require
from tellapart.core.parts import part

_EPSILON, _BATCH = 0.5, 128


@part(
    paper="Patil, Maharana, Bansal: Debiasing Multimodal Models via Causal Information Minimization, Findings of EMNLP "
    "2023",
    place="adapt",
    system="causal-infomin",
    needs=("torch",),
    aliases=("causal-infomin",),
)
class TeD:
    """What a narrow, compressed branch already knows is taken for bias, and the answer is made of the rest.

    Formula, x [d] standardised features, z = V relu(U x + u) [code] unit rows of a batch in Z [n, code]:
        confounder branch   CE(C z + c, y) + w R(Z),   R(Z) = 1/2 logdet(I + code / (n e) Z'Z),   e = 0.5
        main branch         p = x - M z,   f = relu(A p + a),   CE(B f + b, y) + contrast,
        contrast = - log( exp cos(x, p) / (exp cos(x, p) + exp cos(x, M z)) )
    z is held fixed in the main branch. w is 1, or less where R would be more than `rate` times the cross-entropy: the
    rate of z is kept low, so only what is simplest survives there. Prediction is the main branch's.

    From the paper: both branches, the rate term, its clipping and the contrast (temperature 1). Left out: ATE-D, which
    averages over a dictionary of confounders, and training of the features below, which are frozen here.

    Use it where a cue that is easy to learn (a tag, a caption's habit) agrees with labels in training and will not
    later. What is simplest need not be the bias: look at its evidence. `sufficiency` says how much of the answers z
    alone gives.

    Relations: `group-dro` needs the groups that this one guesses; `logistic-regression` is the plain classifier.

    Args:
        code: numbers of z. hidden: of both branches. rate: see above; 0 leaves z uncompressed.
        epochs, learning_rate, weight_decay: of AdamW. seed: of weights and batches.

    Raises `DataError` for fewer than two classes, values that are not finite, and before `fit`.
    """

    def __init__(
        self,
        *,
        code: Annotated[int, Field(ge=1, le=512)] = 8,
        hidden: Annotated[int, Field(ge=1, le=4096)] = 128,
        rate: Annotated[float, Field(ge=0, le=100)] = 0.5,
        epochs: Annotated[int, Field(ge=1, le=10_000)] = 40,
        learning_rate: Annotated[float, Field(gt=0, le=1)] = 3e-3,
        weight_decay: Annotated[float, Field(ge=0, le=10)] = 1e-3,
        seed: Annotated[int, Field(ge=0)] = 0,
    ) -> None:
        self.code, self.hidden, self.rate, self.epochs = code, hidden, rate, epochs
        self.learning_rate, self.weight_decay, self.seed = learning_rate, weight_decay, seed

    def fit(self, x: Any, y: Any) -> TeD:
        """Train both branches at once."""
        torch = require("torch", "te-d")
        x = matrix(x)
        classes, codes = labels(y, len(x), least=2)
        self.mean_, self.spread_ = x.mean(axis=0), float(np.sqrt(x.var(axis=0).mean()))
        if self.spread_ == 0:
            raise DataError("all items are equal: there is nothing to tell the classes apart by")
        sizes = {
            "U": (self.hidden, x.shape[1]), "V": (self.code, self.hidden), "C": (len(classes), self.code),
            "M": (x.shape[1], self.code), "A": (self.hidden, x.shape[1]), "B": (len(classes), self.hidden),
        }  # fmt: skip
        draw = torch.Generator().manual_seed(self.seed)
        w = {name: torch.randn(s, generator=draw) * (2 / s[1]) ** 0.5 for name, s in sizes.items()}
        w |= {name.lower(): torch.zeros(sizes[name][0]) for name in ("U", "C", "A", "B")}
        for tensor in w.values():
            tensor.requires_grad_(True)
        optimiser = torch.optim.AdamW(w.values(), lr=self.learning_rate, weight_decay=self.weight_decay)
        inputs = torch.from_numpy(((x - self.mean_) / self.spread_).astype(np.float32))
        truth = torch.from_numpy(codes.astype(np.int64))
        for _ in range(self.epochs):
            for rows in torch.randperm(len(x), generator=draw).split(_BATCH):
                loss = self._loss(torch, w, inputs[rows], truth[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
        self.classes_ = classes
        self.weights_ = {name: tensor.detach().numpy().astype(np.float64) for name, tensor in w.items()}
        return self

    def _loss(self, torch: Any, w: dict[str, Any], x: Any, y: Any) -> Any:
        relu, nn = torch.relu, torch.nn.functional
        z = relu(x @ w["U"].T + w["u"]) @ w["V"].T
        simple = nn.cross_entropy(z @ w["C"].T + w["c"], y)
        unit = nn.normalize(z, dim=1)
        gram = unit.T @ unit * (self.code / (len(x) * _EPSILON))
        bits = torch.logdet(torch.eye(self.code) + gram) / 2
        most = self.rate * simple.detach() / bits.detach().clamp(min=1e-6)
        away = z.detach() @ w["M"].T
        p = x - away
        main = nn.cross_entropy(relu(p @ w["A"].T + w["a"]) @ w["B"].T + w["b"], y)
        apart = nn.cosine_similarity(x, away) - nn.cosine_similarity(x, p)
        return simple + most.clamp(max=1.0) * bits + main + nn.softplus(apart).mean()

    def _hidden(self, x: Any) -> tuple[np.ndarray, np.ndarray]:
        if not hasattr(self, "weights_"):
            raise DataError("te-d has not been fitted yet: call fit(x, y) first")
        w = self.weights_
        u = (matrix(x, dim=len(self.mean_)) - self.mean_) / self.spread_
        z = np.maximum(u @ w["U"].T + w["u"], 0) @ w["V"].T
        return z, np.maximum((u - z @ w["M"].T) @ w["A"].T + w["a"], 0)

    def confounder(self, x: Any) -> np.ndarray:
        """[n, code] z, what is taken for bias."""
        return self._hidden(x)[0]

    def debiased(self, x: Any) -> np.ndarray:
        """[n, hidden] f, what is predicted from."""
        return self._hidden(x)[1]

    def sufficiency(self, x: Any) -> float:
        """The share of items for which z alone gives the answer that is given."""
        z, w = self.confounder(x), self.weights_
        alone = (z @ w["C"].T + w["c"]).argmax(axis=1)
        return float((self.classes_[alone] == self.predict(x)).mean())

    def predict_proba(self, x: Any) -> np.ndarray:
        """[n, classes] float32."""
        f = self.debiased(x)
        return softmax(f @ self.weights_["B"].T + self.weights_["b"])

    def predict(self, x: Any) -> np.ndarray:
        """[n] labels."""
        return np.asarray(self.classes_[self.predict_proba(x).argmax(axis=1)])
