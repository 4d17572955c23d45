"""Pictures whose files say of themselves that they were generated."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.findings import Findings
from tellapart.core.parts import part

_SCORES = {"generated": 1.0, "partly generated": 0.75, "content credentials": 0.25}
_PROPOSED = 0.5
_WORDS = {
    "generated": "its file says of itself that it was generated: ",
    "partly generated": "its file says of itself that generated parts were put into it: ",
    "content credentials": "its file says something of its history: ",
}


@part(
    paper="IPTC, Digital Source Type NewsCodes, 2023; C2PA, Content Credentials: Technical Specification 2.0, 2024",
    place="curate",
    traits=("origins",),
)
def says_generated(vectors: Mapping[str, np.ndarray], collection: Collection, *, seed: int = 0) -> Findings:
    """Pictures that a generator made, or made parts of, by what their own files say.

    Formula, by the words that the column `origin` begins with:
        score = 1 for `generated`, 3/4 for `partly generated`, 1/4 for `content credentials`, 0 for nothing
        proposed from 1/2 on: drop what was generated, look at what was in part
    `curate` adds the column where any picture has something to say: a generator's settings in text or EXIF, a program
    that names itself, the digital source types trainedAlgorithmicMedia and compositeWithTrainedAlgorithmicMedia in XMP
    or in content credentials, whose mere presence says nothing: cameras write them as well.

    This is no detector: it looks at no pixel, checks no signature, and believes what it is told. Most sites that
    pictures go through take such words away; what says nothing may well be generated, and a word can be forged. So
    what is not proposed here is not shown to be real.

    Use it before training on what was collected from the web, or before figures are given of photographs.

    Relations: the other parts look at what items hold; this one at what is said of them. `origin` is a column like any
    other: several crawls that differ in it are compared by `source` and `hurtful-sources`.

    Args:
        vectors: not read. seed: not used.
        collection: with the column `origin`.

    Raises `DataError` without such a column, and for words in it that are none of these.
    """
    if "origin" not in collection.columns:
        raise DataError("no column `origin`: no file says how it was made, or it was not looked for; run curate first")
    scores, reasons, actions = [], [], []
    for item, said in zip(collection.ids, collection.values("origin"), strict=True):
        word, _, where = (said or "").partition(";")
        if word and word not in _SCORES:
            raise DataError(f"item {item!r}: {word!r} is no origin; they are {', '.join(_SCORES)}, then `; where`")
        scores.append(_SCORES.get(word, 0.0))
        reasons.append(_WORDS[word] + where.strip() if word else "")
        actions.append("drop" if word == "generated" else "look")
    ids = [str(i) for i in collection.ids]
    return Findings.of("says-generated", ids, scores, shown=_PROPOSED, action=actions, reasons=reasons)
