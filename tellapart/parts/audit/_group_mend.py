"""The command that trains with the worst groups first, where a run on the collection would learn its labels."""

from __future__ import annotations

import re

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError


def group_mend(collection: Collection, by: str, option: str, value: str) -> str:
    """With `group-dro(option='value')`; "" where a run learns no labels, or others than `by`, or a name is no word."""
    try:
        target = collection.sides().target
    except DataError:
        return ""
    named = re.fullmatch(r"[\w|-]+", value)
    return f"tellapart run {{data}} --set \"strategy=group-dro({option}='{value}')\"" if named and target == by else ""
