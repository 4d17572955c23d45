"""What a file name says about its picture, in words; nothing, when a camera or a program chose it."""

from __future__ import annotations

import re
import unicodedata

CAMERA = re.compile(
    r"^(img|image|dsc|dscn|dscf|dcim|pict?|pic|photo|picture|screenshot|screen|scan|p|sam|gopr|mvimg|pxl|wa|file|untitled|frame|"
    r"thumb|copy|tmp|unnamed|download)$",
    re.IGNORECASE,
)
HEX = re.compile(r"^[0-9a-f]{8,}$", re.IGNORECASE)


def caption_of(name: str) -> str:
    """`red_apple-01.jpg` -> `red apple`; `IMG_0001.jpg`, `3f2a9c81d0.png` -> "".

    Composed characters are kept composed, and the words of any script are words.
    """
    stem = unicodedata.normalize("NFC", name.rsplit(".", 1)[0])
    words = [w for w in re.split(r"[\s_+.\-–—()\[\]{},;~]+", stem) if w]
    words = [w for w in words if not HEX.match(w) or not any(c.isdigit() for c in w)]
    while len(words) > 1 and words[-1].isdigit():
        words.pop()
    telling = [w for w in words if _tells(w)]
    return " ".join(words) if telling else ""


def _tells(word: str) -> bool:
    letters = [c for c in word if c.isalpha()]
    if not letters or CAMERA.match(word):
        return False
    if any(ord(c) > 0x2E7F for c in letters):
        return True
    return len(letters) >= 2 and sum(c.isdigit() for c in word) <= len(letters)
