"""What is known of a collection as a whole: name, licence, attribution, and notes about how it was read."""

from __future__ import annotations

import json
from typing import Any

from tellapart.core.collection import Collection

ABOUT = b"tellapart.about"


def about(collection: Collection) -> dict[str, Any]:
    """What a collection carries about itself; `notes` is a list of sentences. Kept by `save` and by every selection."""
    raw = (collection.table.schema.metadata or {}).get(ABOUT)
    return dict(json.loads(raw)) if raw else {}


def with_about(collection: Collection, **facts: Any) -> Collection:
    """The collection with further facts about itself; `notes` are added to those that are there."""
    known = about(collection)
    notes = [*known.get("notes", []), *facts.pop("notes", [])]
    known |= facts
    if notes:
        known["notes"] = list(dict.fromkeys(notes))
    metadata = dict(collection.table.schema.metadata or {})
    metadata[ABOUT] = json.dumps(known, sort_keys=True, ensure_ascii=False).encode()
    return Collection(collection.table.replace_schema_metadata(metadata), problems=collection.problems)
