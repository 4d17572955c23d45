"""The parts of a run, by name with options: one TOML file; its hash names the run."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tellapart.core.errors import PartError, TellapartError, near
from tellapart.core.parts import card_of, chain_cards, check_options, parse_spec, split_chain
from tellapart.core.version import VERSION

PART_FIELDS = {
    "image": "encode", "text": "encode", "series": "encode", "head": "encode", "objective": "objective",
    "relate": "relate", "sample": "sample", "augment": "augment", "strategy": "strategy", "index": "index",
    "rank": "rank",
}  # fmt: skip
LEARNABLE = ("temperature", "margin", "bias")


class Recipe(BaseModel):
    """What a run does. Fields that name parts take `name`, `name(option=value)` or a chain `a|b`; "" is none.

    Attributes:
        image, text, series: encoders of the three modalities.
        head: the trained map from their features to the shared space.
        tune: what is trained. `none`: nothing, the vectors of the one encoder are compared as they are; `head`: the
            head on frozen features; `lora`: low-rank additions to the encoder's linear maps too; `full`: the whole
            encoder too. Where both sides hold one modality they share the encoder.
        learn: options of the objective that are learnt beside the towers, from the value that they have there:
            `temperature`, or `temperature, bias`.
        rank: a chain of parts that order what is found anew (at most one) or cut it off, wherever the run is searched.
        positives: what makes two items positive: the pair itself, or its duplicate group as well.
        both_ways: whether documents also look for their queries (the symmetric loss).
        learning_rate, weight_decay: of AdamW; the rate falls along a cosine to 0 after `warmup` of all steps. It holds
            for all that is trained: 1e-4 to 1e-3 suit `tune=lora`, 2e-5 to 1e-4 suit `tune=full`.
        average: share of the steps at the end whose weights are averaged (0: none).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    image: str = "lite0"
    text: str = "minilm"
    series: str = "rocket"
    head: str = "linear-head"
    tune: Literal["none", "head", "lora", "full"] = "head"
    objective: str = "infonce"
    learn: str = ""
    relate: str = ""
    sample: str = "shuffle"
    augment: str = ""
    strategy: str = "two-tower"
    index: str = "exact"
    rank: str = ""
    positives: Literal["item", "group"] = "item"
    both_ways: bool = True
    epochs: Annotated[int, Field(ge=1, le=10_000)] = 20
    batch_size: Annotated[int, Field(ge=2, le=1_048_576)] = 256
    learning_rate: Annotated[float, Field(gt=0, le=10)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0, le=10)] = 0.05
    warmup: Annotated[float, Field(ge=0, le=1)] = 0.1
    average: Annotated[float, Field(ge=0, le=1)] = 0.0
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0

    @staticmethod
    def of(values: dict[str, Any]) -> Recipe:
        """A recipe from plain values; names, options and bounds are checked now, before anything is run."""
        unknown = [name for name in values if name not in Recipe.model_fields]
        if unknown:
            raise PartError(f"a recipe has no {unknown[0]!r}; {near(unknown[0], Recipe.model_fields)}")
        try:
            recipe = Recipe(**values)
        except ValidationError as error:
            first = error.errors()[0]
            raise PartError(f"recipe: {first['loc'][0]}={first.get('input')!r}: {first['msg'].lower()}") from None
        recipe.check()
        return recipe

    def check(self) -> None:
        """Every part exists, has the right shape and takes its options; no part is imported without options."""
        for field, shape in PART_FIELDS.items():
            for piece in split_chain(getattr(self, field)):
                name, options = parse_spec(piece)
                check_options(card_of(shape, name), options)
        self._check_learnt()
        moving = [card.name for card in chain_cards("rank", self.rank) if "monotone" not in card.traits]
        if len(moving) > 1:
            raise PartError(
                f"rank: {' and '.join(moving)} each make an order, and only one can stand: name one of them"
            )
        closed = any("closed-form" in card.traits for card in chain_cards("strategy", self.strategy))
        if closed and self.tune in ("lora", "full"):
            raise PartError(f"{self.strategy} has no training steps: use strategy=two-tower with tune={self.tune}")
        for field in ("objective", "learn", "relate", "sample", "augment") if closed else ():
            if (spec := getattr(self, field)) != Recipe.model_fields[field].default:
                raise PartError(
                    f"{self.strategy} has no training steps, so {field}={spec} would change nothing: leave it out"
                )

    def _check_learnt(self) -> None:
        """What is learnt beside the towers is an option of the objective, and a number."""
        held = {option.name for option in card_of("objective", parse_spec(self.objective)[0]).options}
        for name in self.learnt:
            if name not in LEARNABLE or name not in held:
                can = [option for option in LEARNABLE if option in held]
                raise PartError(
                    f"learn={name}: {self.objective} can learn {' or '.join(can) or 'nothing'} beside the towers"
                )
        if self.learnt and self.tune == "none":
            raise PartError(f"learn={self.learn}: with tune=none nothing is trained; set tune=head")

    @property
    def learnt(self) -> tuple[str, ...]:
        """The options of the objective that are learnt, by name."""
        return tuple(name.strip() for name in self.learn.split(",") if name.strip())

    def but(self, **changes: Any) -> Recipe:
        """The same recipe with some fields changed."""
        return Recipe.of({**self.model_dump(), **changes})

    @property
    def hash(self) -> str:
        """Ten hex digits over all fields."""
        return hashlib.sha256(json.dumps(self.model_dump(), sort_keys=True).encode()).hexdigest()[:10]

    @property
    def code(self) -> str:
        """Ten hex digits over the version and the sources of the parts: with other code the results are others."""
        digest = hashlib.sha256(VERSION.encode())
        for field, shape in PART_FIELDS.items():
            for card in chain_cards(shape, getattr(self, field)):
                digest.update(card.file.read_bytes())
        return digest.hexdigest()[:10]

    def to_toml(self) -> str:
        """The recipe as a TOML file that `from_toml` reads back equal."""
        lines = [f"{name} = {json.dumps(value)}" for name, value in self.model_dump().items()]
        return "[recipe]\n" + "\n".join(lines) + "\n"

    @staticmethod
    def from_toml(path: str | Path) -> Recipe:
        """Read a recipe file; what is wrong with it is said in one line."""
        try:
            data = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise TellapartError(f"there is no recipe file {path}") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise TellapartError(f"{path} is not a readable TOML file: {error}") from None
        if set(data) != {"recipe"} or not isinstance(data["recipe"], dict):
            raise PartError(f"{path} must hold one table [recipe] and nothing else")
        return Recipe.of(data["recipe"])

    def changed_by(self, assignment: str) -> Recipe:
        """The recipe with one `field=value`, as the command line writes it; values are read by the field's type."""
        field, sign, value = assignment.partition("=")
        if not sign:
            raise PartError(f"write --try and --set as field=value, not {assignment!r}")
        return self.but(**{field.strip(): value.strip()})


def usual_encoder(column: str) -> str:
    """The frozen encoder of a column, by its name, where no recipe says another."""
    from tellapart.core.collection import modality_of

    modality = modality_of(column) or "text"
    usual: str = Recipe.model_fields[modality].default
    return usual


IMAGE = "joined(parts='lite0|colour-histogram|hog')"
PLAIN = Recipe(image=IMAGE, head="linear-head(dropout=0.5)", epochs=30)
CLOSED_FORM = Recipe(image=IMAGE, strategy="cca")
FROZEN = Recipe(image=IMAGE, tune="none")
"""What `tellapart run` chooses from, on the validation part, when it is given no recipe; `PLAIN` is the baseline."""
