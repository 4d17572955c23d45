"""Draw SVG files as PNG files: a program of its own, because the renderer holds the interpreter while it draws.

Run as `python -m tellapart.data.rasterize FOLDER_OF_SVG FOLDER_OF_PNG SIZE`; names come by standard input,
one a line, and each is answered by one line when its file is there: the name, or the
name, a tab and the reason why not. A file that cannot be written ends the program with the reason.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tellapart.core.needs import require

END = b"IEND\xaeB`\x82"


def whole(file: Path) -> bool:
    """Whether a PNG file was written to its end."""
    try:
        with file.open("rb") as opened:
            opened.seek(-len(END), os.SEEK_END)
            return opened.read() == END
    except OSError:
        return False


def draw(svg: Path, png: Path, size: int) -> None:
    """One drawing over white, `size` pixels a side; the file appears when it is whole."""
    resvg = require("resvg_py", "drawing SVG")
    data = resvg.svg_to_bytes(svg_path=str(svg), width=size, height=size, skip_system_fonts=True, background="#ffffff")
    part = png.with_name(f".{png.name}.{os.getpid()}")
    try:
        part.write_bytes(bytes(data))
        os.replace(part, png)
    finally:
        part.unlink(missing_ok=True)


def main() -> None:
    """Draw what standard input names."""
    source, target, size = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    for line in sys.stdin:
        name = line.rstrip("\n")
        try:
            draw(source / f"{name}.svg", target / f"{name}.png", size)
            answer = name
        except OSError as error:
            sys.exit(error.strerror or str(error))
        except Exception as error:
            answer = f"{name}\tcannot be drawn: {str(error).splitlines()[0] if str(error) else type(error).__name__}"
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
