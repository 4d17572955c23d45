"""What every strategy promises: a step gives losses and nothing else, and its memory is parameters and buffers.

`small_run` builds a run over planted features with linear towers, for these checks and for anybody's own. Each check
takes the runs it is to be made on; strategies of the traits `stages`, `regions`, `texts`, `captions`, `sides`,
`composed`, `fusion`, `products`, `labels`, `views` and `negatives` are checked on runs that have some.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tellapart.contract._fused import check_fusing_learns, check_fusing_without_torch, fused, taught
from tellapart.contract._sounds import with_sound
from tellapart.core.parts import Card, make
from tellapart.core.relation import Keys
from tellapart.engine.inputs import Features, Inputs, TrainData, Views
from tellapart.engine.memory import Chain
from tellapart.engine.session import Run
from tellapart.recipe import Recipe

Build = Callable[..., Any]
Check = Callable[[Build], None]
Runs = Callable[..., Run]
STEPS = 8


class Tower(nn.Module):
    """A linear map to unit vectors."""

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.map = nn.Linear(width, dim)

    def standardised(self, x: Tensor) -> Tensor:
        return x

    @torch.no_grad()
    def place(self, weight: Tensor, bias: Tensor) -> None:
        self.map.weight.zero_()[: len(weight)] = weight
        self.map.bias.zero_()[: len(bias)] = bias

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(self.map(x), dim=1)


def small_run(*, n: int = 40, seed: int = 0, same_space: bool = False, head: str = "", **recipe: Any) -> Run:
    """A run of 8 steps over n pairs that share a hidden cause, with duplicate groups of two, scores and links.

    Args:
        head: the part that is the towers; "": a linear map to five numbers.
        recipe: other fields of the recipe, such as `objective`.
    """
    rng = np.random.default_rng(seed)
    cause = rng.normal(size=(n, 4))
    x, y = (cause @ rng.normal(size=(4, w)) + 0.1 * rng.normal(size=(n, w)) for w in (7, 6))
    item = torch.arange(n)
    keys = Keys(item, item // 2, item // 4 if same_space else item)
    query = Features(x.astype(np.float32))
    document = query if same_space else Features(y.astype(np.float32))
    row = np.arange(n)
    ends = [(row, (row // 4 * 4 + 4) % n), (row, (row * 6 + 1) % n), ((row // 5 * 5 + 5) % n, row)]
    links = [np.stack([*pair, np.full(n, kind)], 1) for kind, pair in enumerate(ends)]
    extra = {"score": cause[:, 0].round(1), "edges": np.concatenate(links)}
    data = TrainData(query, document, keys, same_space, extra=extra)
    torch.manual_seed(seed)
    build = make("encode", head).module if head else functools.partial(Tower, dim=5)
    tower = build(7)
    towers = nn.ModuleDict({"query": tower, "document": tower if same_space else build(6)})
    made = Recipe(**recipe, **({"head": head} if head else {}))
    run = Run(made, data, towers, Chain.of(made.objective), seed, torch.device("cpu"))
    run.steps = STEPS
    return run


staged_run: Runs = functools.partial(small_run, head="staged-head(dim=9)")


def labelled_run(**given: Any) -> Run:
    """`small_run` of one side, with four classes that are quarters of the score."""
    run = small_run(same_space=True, **given)
    place = torch.from_numpy(run.data.extra["score"]).argsort(stable=True).argsort()
    run.data = replace(run.data, keys=replace(run.data.keys, target=place * 4 // len(place)))
    return run


def viewed_run(**given: Any) -> Run:
    """A `labelled_run` whose items have four altered copies each, moved where the scores of all items do not tell."""
    run = labelled_run(**given)
    x = run.data.query.batch(np.arange(len(run.data)), seed=None).numpy()
    way = run.data.extra["score"] @ x / np.linalg.norm(run.data.extra["score"] @ x)
    moved = np.random.default_rng(6).normal(size=(4, *x.shape))
    moved -= (moved @ way)[..., None] * way
    inputs = Views(x, (x + 2 * moved).swapaxes(0, 1))
    run.data = replace(run.data, query=inputs, document=inputs)
    return run


def region_run(**given: Any) -> Run:
    """A `small_run` whose documents have regions: the coordinates j and j + 3 of the document, for j of 0, 1 and, in
    four of five, 2. Attribute j, which may be said in two ways, is that coordinate j is positive; some have none. What
    is said of an item at all are the phrases of its attributes; of one without any, any phrase."""
    run = small_run(**given)
    x, y = (side.batch(np.arange(len(run.data)), seed=None).numpy() for side in (run.data.query, run.data.document))
    n, has = len(x), y[:, :3] > 0
    there = np.ones((n, 3), dtype=bool)
    there[::5, 2] = False
    kept = np.stack([np.isin(np.arange(y.shape[1]), (j, j + 3)) for j in range(3)])
    said = np.where(has, 2 * np.arange(3) + np.arange(n)[:, None] % 2, -1)
    vectors = np.stack([x[said[:, phrase // 2] == phrase].mean(0) for phrase in range(6)])
    held = np.where(has.any(1, keepdims=True) | (np.arange(3) > 0), said, np.arange(n)[:, None] % 6)
    extra = {
        "said_of": np.take_along_axis(held, (held < 0).argsort(1, kind="stable"), 1),
        "region_vectors": (y[:, None] * kept)[there],
        "region_of": np.where(there, there.cumsum().reshape(n, 3) - 1, -1),
        "phrase_of": said,
        "attribute_vectors": vectors[::2],
    }
    region, phrase = Features(extra["region_vectors"]), Features(vectors)
    run.data = replace(run.data, region=region, phrase=phrase, extra={**run.data.extra, **extra})
    return run


def sided_run(**given: Any) -> Run:
    """A `small_run` with two further columns: `series`, the coordinates 0 to 4 of the document with noise, and
    `other_text`, the signs of three coordinates of the query, which two of three items lack; `series` of one in five is
    that of the item before."""
    run = small_run(**given)
    x, y = (side.batch(np.arange(len(run.data)), seed=None).numpy() for side in (run.data.query, run.data.document))
    rng, row = np.random.default_rng(9), np.arange(len(x))
    before = np.where(row % 5 == 4, row - 1, row)
    series = (y[:, :5] + 0.1 * rng.normal(size=(len(y), 5)))[before].astype(np.float32)
    words = np.sign(x[:, :3]).astype(np.float32)
    said = np.where(row % 3 == 0, ((words > 0) * [1, 2, 4]).sum(1), -1)
    names = {"series": series, "other_text": np.where(said[:, None] >= 0, words, 0)}
    torch.manual_seed(7)
    for name, held in names.items():
        run.towers[name] = Tower(held.shape[1], 5)
    same = np.stack([*([row] * (1 if run.data.same_space else 2)), before, said], 1)
    others: dict[str, Inputs] = {name: Features(held) for name, held in names.items()}
    run.data = replace(run.data, others=others, extra={**run.data.extra, "same": same})
    return run


def composed_run(**given: Any) -> Run:
    """A `small_run` of changed pictures: the document is the reference moved by what the query says, one of five
    coordinates up or down, so that neither tells it alone. Four rows share a reference; one in seven lacks it."""
    run = small_run(**given)
    rng, row, n = np.random.default_rng(12), np.arange(len(run.data)), len(run.data)
    base = np.random.default_rng(13).normal(size=((n + 3) // 4, 6)).astype(np.float32)
    code = rng.integers(10, size=n)
    moves = np.concatenate([np.eye(5, 6), -np.eye(5, 6)]).astype(np.float32)
    said = np.random.default_rng(14).normal(size=(10, 7)).astype(np.float32)
    own, there = row // 4, row % 7 != 3
    reference = np.where(there[:, None], base[own], 0)
    changed = reference + 2 * moves[code]
    texts = said[code] + 0.1 * rng.normal(size=(n, 7)).astype(np.float32)
    numbers: dict[tuple[int, int], int] = {}
    target = [
        numbers.setdefault((int(o) if t else -1, int(c)), len(numbers))
        for o, t, c in zip(own, there, code, strict=True)
    ]
    asked = np.asarray(target)
    pictures = np.stack([asked, np.where(there, len(numbers) + own, -1)], 1)
    same = np.stack([row, asked, pictures[:, 1]], 1)
    extra = {"pictures": pictures, "asked": asked, "answers": np.arange(len(numbers))[:, None], "same": same,
             "picture_group": np.full(len(numbers) + len(base), -1)}  # fmt: skip
    item = torch.arange(n)
    others: dict[str, Inputs] = {"other_image": Features(reference)}
    keys = Keys(item, torch.from_numpy(asked), torch.from_numpy(asked))
    run.data = TrainData(Features(texts), Features(changed), keys, others=others, extra=extra)
    run.towers["other_image"] = run.towers["document"]
    return run


def fused_run(**given: Any) -> Run:
    """A `composed_run` whose items are tokens below one tower, for strategies of the trait `fusion`."""
    made: Run = fused(composed_run(**given))
    return made


def caption_run(**given: Any) -> Run:
    """A `small_run` of two sides whose captions are rewritten: two changes an item, to the items 4 and 8 further on, by
    words that say how far; one in five has one alone, one in ten none. The first words are those of no change."""
    run = small_run(**given)
    n, row = len(run.data), np.arange(len(run.data))
    x = run.data.query.batch(row, seed=None).numpy()
    words = np.random.default_rng(15).normal(size=(3, x.shape[1])).astype(np.float32)
    change, changed = np.stack([row * 0 + 1, row * 0 + 2], 1), np.stack([(row + 4) % n, (row + 8) % n], 1)
    none = np.stack([row % 10 == 7, row % 5 == 2], 1)
    extra = {"caption": row // 2, "change": np.where(none, -1, change), "changed": np.where(none, -1, changed)}
    run.data = replace(run.data, phrase=Features(words), extra={**run.data.extra, **extra})
    return run


def product_run(**given: Any) -> Run:
    """A `small_run` of two sides whose items are of one target by fours; one in five is alone in it, or has none."""
    run = small_run(**given)
    item = run.data.keys.item
    target = torch.where(item % 5 == 4, torch.where(item % 2 == 0, 100 + item, -1), item // 5 * 5 // 4)
    run.data = replace(run.data, keys=replace(run.data.keys, target=target))
    return run


def negative_run(*, side: str = "document", **given: Any) -> Run:
    """A `small_run` of two sides whose items have up to two texts that are no answer, of the kind of a side: the item's
    own with one coordinate, or another, of the other sign. One in four items has one alone, one in ten none; that of
    one in seven is what another item holds, or the item itself."""
    run = small_run(**given)
    x, row = getattr(run.data, side).batch(np.arange(len(run.data)), seed=None).numpy(), np.arange(len(run.data))
    wrong = np.repeat(x[:, None], 2, 1)
    for place in (0, 1):
        wrong[:, place, place] *= -1
    held = row[row % 7 == 3]
    wrong[held, 0] = x[(held + held % 2 * 4) % len(x)]
    there = np.stack([row % 10 != 6, (row % 10 != 6) & (row % 4 != 1)], 1)
    table = torch.from_numpy(np.where(there, there.cumsum().reshape(there.shape) - 1, -1))
    run.data = replace(run.data, negative=Features(wrong[there]), negatives=table, negative_side=side)
    return run


def contrary_run(**given: Any) -> Run:
    """A `small_run` of two sides whose queries have four copies each that say something else: coordinates exchanged,
    in one of two copies; in the other the query as it is."""
    run = small_run(**given)
    x = run.data.query.batch(np.arange(len(run.data)), seed=None).numpy()
    moved = [x[:, [1, 0, *range(2, x.shape[1])]], x, x[:, [0, 1, 3, 2, *range(4, x.shape[1])]], x]
    run.data = replace(run.data, query=Views(x, np.stack(moved, 1)))
    return run


def text_run(**given: Any) -> Run:
    """A `small_run` of two sides whose documents are three to five tokens of 40 terms: the token of a document's number
    and some drawn ones; its query holds that term and one drawn. States are the vectors of the terms with noise."""
    run = small_run(**given)
    n, rng = len(run.data), np.random.default_rng(11)
    vectors = rng.normal(size=(40, 6)).astype(np.float32)
    held = [np.append(row % 40, rng.integers(-1, 40, 2 + row % 3)) for row in range(n)]
    starts = np.concatenate([[0], np.cumsum([len(tokens) for tokens in held])])
    terms = np.concatenate(held)
    states = vectors[terms] + 0.1 * rng.normal(size=(len(terms), 6))
    extra = {
        "term_starts": starts, "terms": terms, "term_states": states.astype(np.float16), "term_vectors": vectors,
        "query_terms": np.stack([np.arange(n) % 40, np.where(np.arange(n) % 2, (np.arange(n) * 7 + 1) % 40, -1)], 1),
        "idf": rng.uniform(0.5, 3, 40).astype(np.float32),
    }  # fmt: skip
    guide = [nn.functional.normalize(torch.from_numpy(rng.normal(size=(n, 4)).astype(np.float32))) for _ in range(2)]
    run.data = replace(run.data, guide=(guide[0], guide[1]), extra={**run.data.extra, **extra})
    return run


def unpaired_run(**given: Any) -> Run:
    """A `small_run` of the first 20 of 60 pairs, in which 20 more queries and 20 more documents lack the other side."""
    run = small_run(n=60, **given)
    row = np.arange(len(run.data))
    x, y = (side.batch(row, seed=None).numpy() for side in (run.data.query, run.data.document))
    alone: dict[str, Inputs] = {"query": Features(x[20:40]), "document": Features(y[40:])}
    run.data = TrainData(Features(x[:20]), Features(y[:20]), run.data.keys[:20], alone=alone)
    return run


def sounded_run(**given: Any) -> Run:
    """A `region_run` whose items have up to three pieces of sound."""
    made: Run = with_sound(region_run(head="linear-head(dim=8)", **given))
    return made


def batches(run: Run) -> list[np.ndarray]:
    """The same eight batches of ten rows for every strategy."""
    rng = np.random.default_rng(5)
    return [rng.permutation(len(run.data))[:10] for _ in range(STEPS)]


def train(build: Build, run: Run, *, stop: int | None = None, snapshot: dict[str, Any] | None = None) -> list[Tensor]:
    """Losses of each step; a snapshot taken at `stop` earlier is put back first and training goes on from there."""
    strategy = build()
    strategy.begin(run)
    whole = nn.ModuleDict({"towers": run.towers, "strategy": strategy})
    optimizer = torch.optim.SGD(run.towers.parameters(), lr=0.1, momentum=0.9)
    if snapshot:
        whole.load_state_dict(snapshot["whole"])
        optimizer.load_state_dict(snapshot["optimizer"])
        run.step = snapshot["step"]
    losses = []
    for rows in batches(run)[run.step : stop]:
        found = strategy.step(run, rows)
        loss = torch.stack(list(found.values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        strategy.after(run)
        run.step += 1
        losses.append(loss.detach())
    if snapshot is not None and not snapshot:
        state = {name: x.clone() for name, x in whole.state_dict().items()}
        snapshot |= {"whole": state, "optimizer": optimizer.state_dict(), "step": run.step}
    return losses


def check_a_step_gives_losses(build: Build, runs: Runs = small_run) -> None:
    """A dict of finite scalars, at least one of which carries a gradient to the query tower."""
    run = runs()
    strategy = build()
    strategy.begin(run)
    losses = strategy.step(run, batches(run)[0])
    assert losses and all(x.ndim == 0 and torch.isfinite(x) for x in losses.values()), "losses must be finite scalars"
    assert all(p.grad is None for p in run.towers.parameters()), "a step must not call backward"
    torch.stack(list(losses.values())).sum().backward()
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in run.towers["query"].parameters()), (
        "no gradient reaches the query tower"
    )


def check_towers_move_by_the_optimiser_alone(build: Build, runs: Runs = small_run) -> None:
    """Neither `begin`, `step` nor `after` changes a weight of the towers."""
    run = runs()
    before = {name: x.clone() for name, x in run.towers.state_dict().items()}
    strategy = build()
    strategy.begin(run)
    for rows in batches(run):
        strategy.step(run, rows)
        strategy.after(run)
        run.step += 1
    for name, x in run.towers.state_dict().items():
        # Where a head of several stages stands is the strategy's to say.
        assert name.endswith(".stage") or torch.equal(x, before[name]), f"the strategy changed {name} itself"


def check_same_seed_same_losses(build: Build, runs: Runs = small_run) -> None:
    """Two runs of one seed have the same losses to the bit, whatever the global generator did."""
    one, other = runs(), runs()
    first = train(build, one)
    torch.rand(3)
    assert all(torch.equal(a, b) for a, b in zip(first, train(build, other), strict=True)), "runs differ"


def check_state_restores_to_the_bit(build: Build, runs: Runs = small_run) -> None:
    """Stopped at any step and put back from parameters and buffers alone, a run goes on as if it never stopped."""
    whole = train(build, runs())
    for stop in (1, STEPS // 2, STEPS - 1):
        snapshot: dict[str, Any] = {}
        head = train(build, runs(), stop=stop, snapshot=snapshot)
        tail = train(build, runs(seed=0), snapshot=snapshot)
        assert all(torch.equal(a, b) for a, b in zip(whole, head + tail, strict=True)), (
            f"a run stopped after {stop} steps went on otherwise: some state is in neither a parameter nor a buffer"
        )


def check_training_learns(build: Build, runs: Runs = small_run) -> None:
    """After the steps, matching pairs score higher against the rest than before."""
    run = runs()
    before = _margin(run)
    train(build, run)
    after = _margin(run)
    assert after > before, f"training did not separate matching pairs ({before:.3f} -> {after:.3f})"


def check_closed_form_learns(build: Build) -> None:
    """`begin` alone separates matching pairs, and gives the same towers every time."""
    runs = [small_run(), small_run()]
    before = _margin(runs[0])
    for run in runs:
        build().begin(run)
    assert _margin(runs[0]) > before, "the solution does not separate matching pairs"
    for a, b in zip(runs[0].towers.parameters(), runs[1].towers.parameters(), strict=True):
        assert torch.equal(a, b), "two solutions of the same data differ"


def check_unpaired_learns(build: Build) -> None:
    """With items that lack one side, matching pairs are separated as well, and both kinds of them count."""
    run = unpaired_run()
    before = _margin(run)
    build().begin(run)
    assert _margin(run) > before, "the solution does not separate matching pairs where others lack a side"
    learnt = [x.clone() for x in run.towers.parameters()]
    for side in ("query", "document"):
        less = unpaired_run()
        less.data = replace(less.data, alone={name: x for name, x in less.data.alone.items() if name != side})
        build().begin(less)
        changed = any(not torch.equal(a, b) for a, b in zip(learnt, less.towers.parameters(), strict=True))
        assert changed, f"items that have the {side} side alone change nothing"


def check_composing_learns(build: Build, runs: Runs = composed_run) -> None:
    """After many steps, reference and words together find their pictures before most others."""
    run = runs()
    strategy = build()
    strategy.begin(run)
    shares = [_found(run, strategy)]
    run.steps = 60
    taught(run, strategy, rate=1.5e-3)
    shares.append(_found(run, strategy))
    assert shares[1] > max(0.5, shares[0]), (
        f"composed queries found {shares[0]:.2f} of their pictures, then {shares[1]:.2f}"
    )


def check_composing_without_torch(build: Build, runs: Runs = composed_run) -> None:
    """What is kept for serving composes as the trained module does, and a query without a reference is its words."""
    run = runs()
    strategy = build()
    strategy.begin(run)
    with torch.no_grad():
        for x in strategy.composer.parameters():
            x.add_(0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(x.numel())))
        r, t = run.encode_all("document"), run.encode_all("query")
        there = torch.arange(len(r)) % 3 != 1
        expected = strategy.composer(r, t, there).numpy()
    kept = strategy.composer.saved()
    got = kept(np.where(there.numpy()[:, None], r.numpy(), np.nan), t.numpy())
    assert np.abs(got - expected).max() < 1e-5, "what is kept composes otherwise than what was trained"
    assert np.abs(got - t.numpy())[~there.numpy()].max() < 1e-6, (
        "words without a reference must be the query themselves"
    )


def _found(run: Run, strategy: Any) -> float:
    """The share of composed queries whose nearest picture, of those that training gives, is a right one."""
    with torch.no_grad():
        z, t = run.encode_all("document"), run.encode_all("query")
        r = run.encode_all("other_image")
        there = torch.from_numpy(run.data.extra["pictures"][:, 1] >= 0)
        best = (strategy.composer.eval()(r, t, there) @ z.T).argmax(1)
        strategy.composer.train()
    return float((run.data.extra["asked"][best.numpy()] == run.data.extra["asked"]).mean())


def _margin(run: Run) -> float:
    """How much higher what matches scores than all; an item of one side does not match itself."""
    sim, target = run.encode_all("query") @ run.encode_all("document").T, run.data.keys.target
    matching = target[:, None] == target
    if run.data.same_space:
        matching.fill_diagonal_(False)
    return float(sim[matching].mean() - sim.mean())


def checks(card: Card) -> list[Check]:
    """The checks that a strategy must pass; one of the trait `closed-form` has no steps to check."""
    if "closed-form" in card.traits:
        return [check_closed_form_learns, *([check_unpaired_learns] if "unpaired" in card.traits else [])]
    found: list[Callable[..., None]] = [
        check_a_step_gives_losses,
        check_towers_move_by_the_optimiser_alone,
        check_same_seed_same_losses,
        check_state_restores_to_the_bit,
        check_training_learns,
    ]
    if "composed" in card.traits:
        found[-1:] = [check_composing_learns, check_composing_without_torch]
    if "captions" in card.traits:
        found.append(check_composing_without_torch)
    if "fusion" in card.traits:
        found[-1:] = [check_fusing_learns, check_fusing_without_torch]
    wanted = (
        ("stages", staged_run), ("regions", region_run), ("composed", composed_run), ("sides", sided_run),
        ("products", product_run), ("labels", labelled_run), ("views", viewed_run), ("negatives", negative_run),
        ("texts", text_run), ("captions", caption_run), ("fusion", fused_run), ("sounds", sounded_run),
        ("contrary", contrary_run),
    )  # fmt: skip
    runs = [made for trait, made in wanted if trait in card.traits]
    return (
        [functools.update_wrapper(functools.partial(check, runs=runs[0]), check) for check in found] if runs else found
    )
