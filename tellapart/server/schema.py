"""What goes over the wire: requests and answers with types, bounds and examples."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from tellapart.server.limits import EXAMPLES, FILTERS, ID_CHARACTERS, QUERY_CHARACTERS, RESULTS

Id = Annotated[str, Field(min_length=1, max_length=ID_CHARACTERS)]
Said = Literal["same", "different", ""]
Scalar = bool | int | float | str


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Range(BaseModel):
    """Numbers from a bound to a bound, both included; either may be left out."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, populate_by_name=True)

    low: Annotated[float | None, Field(alias="from")] = None
    high: Annotated[float | None, Field(alias="to")] = None


class SearchRequest(_Strict):
    """What to search for; everything given is taken together."""

    model_config = ConfigDict(
        extra="forbid",
        allow_inf_nan=False,
        json_schema_extra={
            "examples": [
                {"words": "a yellow fruit", "unlike": ["lemon"], "where": {"group": ["food", "plant"]}, "k": 24}
            ]
        },
    )

    words: Annotated[str, Field(max_length=QUERY_CHARACTERS, description="what to look for, in words")] = ""
    like: Annotated[list[Id], Field(max_length=EXAMPLES, description="ids of items to be like")] = []
    unlike: Annotated[list[Id], Field(max_length=EXAMPLES, description="ids of items not to be like")] = []
    where: Annotated[
        dict[str, Scalar | list[Scalar] | Range],
        Field(max_length=FILTERS, description="by column: a value, a list of values, or a range"),
    ] = {}
    k: Annotated[int, Field(ge=1, le=RESULTS, description="how many results")] = 24
    hybrid: Annotated[bool, Field(description="look for the words as words too, and fuse both lists")] = False
    sparse: Annotated[bool, Field(description="look by learned weights of words: alone, or with hybrid")] = False

    def conditions(self) -> dict[str, Any]:
        """`where` as the service takes it."""
        return {
            name: {"from": given.low, "to": given.high} if isinstance(given, Range) else given
            for name, given in self.where.items()
        }


class ItemAnswer(BaseModel):
    """One item of the collection."""

    id: str
    modality: Literal["image", "text", "series"]
    caption: str
    text: str = Field(description="what stands in it, for a text item")
    picture: str | None = Field(description="the address of its picture; add &size=96, 192, 384 or 768")
    columns: dict[str, Any] = Field(description="all that is known of it")


class ResultAnswer(BaseModel):
    """One result."""

    id: str
    caption: str
    text: str
    picture: str | None
    score: float | None = Field(
        description="cosine similarity to the query, or the score of `ranked`; null when only filters were given"
    )
    probability: float | None = Field(description="that it matches; null where the model is not calibrated for it")
    passes: bool = Field(description="whether the score reaches the threshold of the calibrated model")


class SearchAnswer(BaseModel):
    """The results of a search, best first."""

    results: list[ResultAnswer]
    closest: list[ResultAnswer] = Field(description="what came nearest when there is nothing here")
    nothing_here: bool = Field(description="whether the calibrated model says that nothing in the collection matches")
    searched: int = Field(description="how many items were searched, after the filters")
    notes: list[str] = Field(description="what one should know, in words")
    ranked: str = Field(
        description="what gave the scores: a chain of rank parts, or fusion of two lists; empty where they are cosines"
    )


class ColumnAnswer(BaseModel):
    """A column to filter by."""

    name: str
    kind: Literal["choice", "number", "other"]
    values: list[tuple[Any, int]] = Field(description="values and how many items have each; for a choice")
    low: float | None
    high: float | None


class ColumnsAnswer(BaseModel):
    """What can be filtered and searched with."""

    columns: list[ColumnAnswer]
    reads: list[Literal["text", "image", "series"]] = Field(description="what can be searched with")
    shows: Literal["image", "text", "series"] = Field(description="what the results are")
    items: int
    marking: bool = Field(description="whether pairs can be marked as the same or different")
    borderline: bool = Field(description="whether there are pairs that the miner was unsure of")
    calibrated: bool
    ranked: str = Field(description="the chain of rank parts of the run; empty where it has none")
    hybrid: bool = Field(description="whether words can be looked for as words too")
    changes: bool = Field(description="whether words say what is to change in a picture or in items, and nothing alone")
    about: dict[str, str] = Field(description="name, licence and attribution of the collection")


class ConfusionAnswer(BaseModel):
    """One query and two documents that the model cannot tell apart."""

    query: ItemAnswer
    right: ItemAnswer
    wrong: ItemAnswer
    right_score: float
    wrong_score: float
    both_ways: bool = Field(description="whether asking for the wrong one finds this one first as well")
    said: Said = Field(description="what was marked of what was asked for and the wrong one; empty: nothing")


class BorderlineAnswer(BaseModel):
    """Pairs that the miner was least sure of, as `tellapart mine --explain` wrote them."""

    pairs: list[ConfusionAnswer]
    total: int = Field(description="how many there are in all")


class MarkRequest(_Strict):
    """Two items that are really the same, or really different; empty takes the mark back."""

    a: Id
    b: Id
    said: Said


class MarksAnswer(BaseModel):
    """That the mark was kept."""

    marks: int = Field(description="how many pairs are marked now")


class ConfusionsAnswer(BaseModel):
    """Pairs that the model cannot tell apart, the widest gap first."""

    ready: bool = Field(description="false while they are still being computed; ask again")
    done: float = Field(description="the share that is computed")
    pairs: list[ConfusionAnswer]
    total: int = Field(description="how many pairs there are in all")
    confused: int = Field(description="how many queries have a wrong document at least as near as the right one")
    asked: int = Field(description="how many queries were asked")
    of: int = Field(description="how many items the collection has")


class Health(BaseModel):
    """That the server runs, and on what."""

    status: Literal["ok"]
    items: int
    version: str


class Ready(BaseModel):
    """Whether the server should be asked."""

    ready: bool
    reason: str = Field(description="why not, in words; empty when it should")


class Problem(BaseModel):
    """What was wrong with a request, in words."""

    error: str
