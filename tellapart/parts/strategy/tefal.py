from __future__ import annotations

from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from tellapart.core.encoded import Encoded
from tellapart.core.errors import PartError
from tellapart.core.maths import unit
from tellapart.core.parts import make, part
from tellapart.core.relation import Relation
from tellapart.parts.strategy._attending import Reader
from tellapart.parts.strategy._tokens import region_tokens


@part(
    paper="Ibrahimi, Sun, Wang, Garg, Sanan, Omar: Audio-Enhanced Text-to-Video Retrieval using Text-Conditioned "
    "Feature Alignment, ICCV 2023",
    place="pairs",
    system="tefal",
    traits=("sounds", "pools"),
    needs=("torch",),
)
class Tefal(nn.Module):
    """A caption reads the frames and the sound of an item, each by attention of its own, and the sum is the item to it.

    With unit vectors t_i of captions, v_jf of item j's frames and a_js of pieces of its sound, both in the space of t::

        F_ij = reader_frames(t_i; v_j),  S_ij = reader_sound(t_i; a_j), 0 where item j has no sound
        reader(t; x):  w = softmax_s(Q n(t) . K n(x_s) / sqrt(d)),  y = n'(O sum_s w_s V n(x_s)),  n''(y + L y)
        score  = cos(t_i, F_ij + S_ij)
        loss   = the recipe's objective on the scores of all captions and items of the batch, both ways if it says so
                 + `pooled` times the same on t and the items' own vectors

    n, n', n'' are layer norms, Q, K, V, O, L linear maps that begin as the identity. The frames are `regions` of the
    picture (columns `frames` or `regions`, otherwise a grid); sound is a column `sound` whose pieces have tokens, from
    `series=log-mel`, below a head of their own like that of the recipe. An item may lack sound; where all do, nothing
    but frames is read.

    What was taken: one head of attention and its norms are those of X-Pool, on which the paper builds; dropout (0.3
    there) is left out, so that a step is a function of its seed. The paper trains CLIP and a spectrogram transformer
    along; here encoders are frozen. The last line is not in the paper: an index holds one vector an item, and without
    it nothing would make that of any use; `pooled=0` is the paper. Batches of n take 10 n^2 d numbers of memory.

    Searched in two stages: the index finds by the items' own vectors, which know nothing of sound, and
    `rank=rerank(scorer='tokens', calls=100)` scores the first 100 as here, without torch.

    Args:
        pooled: weight of the loss on the items' own vectors.

    Raises `PartError` for data without captions, pictures and sound, with a guide, and with negatives of the rows' own.

    Relations: `glscl` weighs frames without parameters; `symile` multiplies sides of one vector each.
    """

    def __init__(self, *, pooled: Annotated[float, Field(ge=0, le=100)] = 0.5) -> None:
        super().__init__()
        self.pooled = pooled

    def begin(self, run: Any) -> None:
        """Draw the tower of sound and make the readers."""
        extra = run.data.extra
        if run.data.region is None or "sound_of" not in extra:
            raise PartError("tefal reads frames and sound: give pictures with captions and a column `sound`, and use "
                            "tellapart run or compare")  # fmt: skip
        if run.data.guide is not None or run.data.negatives is not None:
            raise PartError("tefal scores captions against frames and sound, which guides and given negatives have "
                            "not: leave relate's guide and the negatives out")  # fmt: skip
        width = run.dim()
        sound = torch.from_numpy(extra["sound_vectors"])
        self.readers = nn.ModuleDict({"frames": Reader(width)})
        if not len(sound):
            return
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(run.draw("sound of tefal"))
            self.tower: nn.Module = make("encode", run.recipe.head).module(sound.shape[1])
        self.tower.standardise(sound)  # type: ignore[operator]
        with torch.no_grad():
            given = self.tower(sound[:1]).shape[1]
        if given != width:
            raise PartError(f"head={run.recipe.head} gives sound vectors of width {given} and pictures of {width}: "
                            "take linear-head or mlp-head")  # fmt: skip
        self.readers["sound"] = Reader(width)

    def step(self, run: Any, batch: np.ndarray) -> dict[str, Tensor]:
        """The losses of a batch of row numbers [n]."""
        rows = torch.from_numpy(batch)
        frames, there = region_tokens(run, rows)
        text = run.encode("query", batch)
        own = [text, frames, there.to(frames.dtype), *(self._sound(run, rows) if "sound" in self.readers else ())]
        number = rows.to(text.device)
        every, numbers = [run.gather(x) for x in own], run.gather(number)
        rel = Relation.of_keys(run.keys(batch), run.keys(numbers.cpu().numpy()))
        mean = [unit(x[1].sum(1)) for x in (own, every)]
        score = self._scores(own, every)
        losses = {"query": run.loss_of(Encoded(text, mean[1], rel).with_scores(score), number)}
        if run.recipe.both_ways:
            back = score.T if len(numbers) == len(rows) else self._scores(every, own).T
            enc = Encoded(mean[0], every[0], rel).with_scores(back)
            losses = {"query": losses["query"] / 2, "document": run.loss_of(enc, number) / 2}
        if self.pooled:
            pairs = [(text, run.encode("document", batch), False)]
            pairs += [(pairs[0][1], text, True)] if run.recipe.both_ways else []
            whole = [run.contrast(run.pairing(q, k, batch, reverse=turned)) for q, k, turned in pairs]
            losses["pooled"] = self.pooled * torch.stack(whole).mean()
        return losses

    def after(self, run: Any) -> None:
        """Nothing to keep."""

    def pooling(self) -> dict[str, np.ndarray]:
        """The tensors of both readers, as `frames.q.weight` and so on."""
        return {f"{name}.{key}": x for name, reader in self.readers.items() for key, x in reader.saved().items()}

    @torch.no_grad()
    def sounds(self, x: np.ndarray) -> np.ndarray:
        """[s, width] frozen vectors of pieces of sound -> [s, d] in the space of captions."""
        device = next(self.tower.parameters()).device
        return np.asarray(self.tower(torch.from_numpy(np.array(x, np.float32)).to(device)).float().cpu())

    def _sound(self, run: Any, rows: Tensor) -> tuple[Tensor, Tensor]:
        """([n, s, d] vectors of the pieces of items' sound, [n, s] which there are, 1 or 0)."""
        of = torch.from_numpy(run.data.extra["sound_of"])[rows]
        there = of >= 0
        x = torch.from_numpy(run.data.extra["sound_vectors"])[of.clamp_min(0)].to(run.device)
        heard = there.to(x)
        return self.tower(x.flatten(0, 1)).view(*x.shape[:2], -1) * heard[..., None], heard

    def _scores(self, asked: list[Tensor], held: list[Tensor]) -> Tensor:
        """[n, m] of the captions of one list and the items of another: (captions, frames, there, sound, there)."""
        sets = zip(self.readers.values(), held[1::2], held[2::2], strict=True)
        read = torch.stack([reader(asked[0], tokens, there > 0) for reader, tokens, there in sets]).sum(0)
        return torch.einsum("ad,abd->ab", asked[0], unit(read))
