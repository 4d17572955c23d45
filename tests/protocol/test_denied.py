"""Made-up models hear denials as they were made to."""

from __future__ import annotations

from tellapart.protocol import denied


def test_what_is_called_is_what_was_made_deaf():
    found = denied.run({"part": "negation"}, "generated", 3)
    assert found["called clear, knows nothing"] == (1, 0)
    assert found["called clear, deaf"][1] == 1 and found["called clear, taught"][1] == 0
    assert found["error about denials told"][1] < 0.05 < found["error about denials told"][0]
