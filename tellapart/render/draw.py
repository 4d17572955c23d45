"""Small drawings as SVG text: intervals, histograms and lines, in light and dark, with nothing beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from tellapart.core.report import Figure
from tellapart.render.values import interval, number

WIDTH = 640
COLOURS = ("#2563c9", "#d4660a", "#1a8a5a", "#8a4fc7", "#b8325e", "#6b7280")
DARK = ("#7db0ff", "#ffab5e", "#5fd3a0", "#c6a0f5", "#ff8fb1", "#a9b1bd")
HELPS, HURTS, NEITHER = 2, 4, 5


def forest(rows: Sequence[tuple[str, Figure]], *, label: str = "", higher_is_better: bool = True) -> str:
    """Differences with their intervals, one a line, about a line at zero.

    Args:
        rows: (name, figure); a figure without an interval is drawn as a point.
        label: what the axis measures.
        higher_is_better: what lies clear of zero on the better side is drawn green, on the other red.
    """
    drawable = [(name, f) for name, f in rows if math.isfinite(f.value)]
    names = min(250, 24 + 7 * max((len(n) for n, _ in drawable), default=0))
    step, top = 26, 10
    bottom = top + step * len(drawable)
    x = _Axis(*span([f for _, f in drawable], zero=True), names, WIDTH - 190)
    body = []
    for tick in ticks(x.low, x.high):
        body += [
            _rule("grid", x.at(tick), top, x.at(tick), bottom),
            _text(_tick(tick), x.at(tick), bottom + 17, "middle"),
        ]
    body.append(_rule("axis", x.at(0), top, x.at(0), bottom))
    for i, (name, f) in enumerate(drawable):
        y = top + step * i + step / 2
        said = f"{number(f.value, signed=True)} {interval(f, signed=True)}".strip()
        body += [_text(_short(name, names - 24), 0, y + 4, dim=False), _text(said, WIDTH, y + 4, "end")]
        body.append(_whisker(x, f, y, side(f, higher_is_better)))
    return _svg(body, bottom, x, label)


def histogram(series: Mapping[str, Sequence[float]], *, bins: int = 40, label: str = "") -> str:
    """Shares of each series by value, laid over each other; values that are not finite are left out.

    Args:
        series: name -> values; at most six are told apart.
        label: what the axis measures.
    """
    kept = {name: [float(v) for v in values if math.isfinite(v)] for name, values in series.items()}
    kept = {name: values for name, values in kept.items() if values}
    every = [v for values in kept.values() for v in values] or [0.0, 1.0]
    low, high = _apart(min(every), max(every))
    shares = {}
    for name, values in kept.items():
        counts = [0] * bins
        for v in values:
            counts[min(bins - 1, int((v - low) / (high - low) * bins))] += 1
        shares[name] = [c / len(values) for c in counts]
    x = _Axis(low, high, 44, WIDTH - 8)
    y = _Axis(0.0, max((max(s) for s in shares.values()), default=1.0), 224, 34)
    body = _grid(x, y, percent=True)
    width = (high - low) / bins
    for i, (name, heights) in enumerate(shares.items()):
        outline = [(low, 0.0)]
        for b, share in enumerate(heights):
            outline += [(low + b * width, share), (low + (b + 1) * width, share)]
        body.append(f'<polygon class="s{i % 6} open" points="{_points(x, y, [*outline, (high, 0.0)])}"/>')
        body += _legend(i, f"{name} ({len(kept[name]):,})")
    return _svg(body, 224, x, label)


def line(series: Mapping[str, Sequence[tuple[float, float]]], *, x_label: str = "", y_label: str = "") -> str:
    """Curves through (x, y) points, in the order given; points that are not finite are left out.

    Args:
        series: name -> points; at most six are told apart.
    """
    kept = {n: [(a, b) for a, b in points if math.isfinite(a) and math.isfinite(b)] for n, points in series.items()}
    kept = {name: points for name, points in kept.items() if points}
    every = [p for points in kept.values() for p in points] or [(0.0, 0.0), (1.0, 1.0)]
    low, high = _apart(min(b for _, b in every), max(b for _, b in every))
    x = _Axis(*_apart(min(a for a, _ in every), max(a for a, _ in every)), 52, WIDTH - 12)
    y = _Axis(low, high + (high - low) * 0.04, 244, 34)
    body = _grid(x, y, percent=False)
    for i, (name, points) in enumerate(kept.items()):
        if len(points) == 1:
            (a, b), *_ = points
            body.append(f'<circle class="s{i % 6}" cx="{x.at(a):.1f}" cy="{y.at(b):.1f}" r="3.5"/>')
        else:
            body.append(f'<polyline class="s{i % 6} path" points="{_points(x, y, points)}"/>')
        body += _legend(i, name + (f" · {y_label}" if y_label and len(kept) == 1 else ""))
    return _svg(body, 244, x, x_label)


def bar(figure: Figure, low: float, high: float, *, width: int = 150, colour: int = 0) -> str:
    """One figure with its interval on a scale that its neighbours share; drawn inside a page, whose style it takes."""
    x = _Axis(low, high, 5, width - 5)
    body = [_rule("grid", 5, 7, width - 5, 7)]
    if low < 0 < high:
        body.append(_rule("axis", x.at(0), 0, x.at(0), 14))
    body.append(_whisker(x, figure, 7, colour))
    size = f'viewBox="0 0 {width} 14" width="{width}" height="14"'
    return f'<svg class="bar" {size} aria-hidden="true">{"".join(body)}</svg>'


def span(figures: Sequence[Figure], *, zero: bool = False) -> tuple[float, float]:
    """The least and greatest value that figures and their intervals reach, a little widened."""
    ends = [v for f in figures for v in (f.value, f.low, f.high) if v is not None and math.isfinite(v)]
    ends += [0.0] if zero or not ends else []
    low, high = _apart(min(ends), max(ends))
    edge = (high - low) * 0.05
    return low - edge, high + edge


def side(figure: Figure, higher_is_better: bool = True) -> int:
    """The colour of a difference: clear of zero on the better side, on the worse side, or neither."""
    if figure.low is None or figure.high is None or not (figure.low > 0 or figure.high < 0):
        return NEITHER
    return HELPS if (figure.low > 0) == higher_is_better else HURTS


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round numbers between two ends, about as many as wanted."""
    rough = (high - low) / wanted
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(s * power for s in (1, 2, 5, 10) if s * power >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def style() -> str:
    """The style that every drawing carries, and a page that holds bare ones."""
    colours = "".join(f".s{i}{{stroke:{c};fill:{c}}}" for i, c in enumerate(COLOURS))
    dark = "".join(f".s{i}{{stroke:{c};fill:{c}}}" for i, c in enumerate(DARK))
    return (
        "svg text{font:13px system-ui,sans-serif;fill:#1c2430}svg text.dim{fill:#5b6675}.grid{stroke:#d5dae1}"
        f".axis{{stroke:#8d97a5}}{colours}.open{{fill-opacity:.28;stroke-width:1.5}}"
        "svg .path{fill:none;stroke-width:2}"
        "@media(prefers-color-scheme:dark){svg text{fill:#e7ebf0}svg text.dim{fill:#9ba6b4}.grid{stroke:#343c48}"
        f".axis{{stroke:#6d7785}}{dark}}}"
    )


@dataclass(frozen=True)
class _Axis:
    """Values from `low` to `high` laid out between two places."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        return self.start + (inside - self.low) / (self.high - self.low) * (self.end - self.start)


def _grid(x: _Axis, y: _Axis, *, percent: bool) -> list[str]:
    body = []
    for tick in ticks(y.low, y.high):
        text = f"{tick:.1%}".replace(".0%", "%") if percent else _tick(tick)
        body += [_rule("grid", x.start, y.at(tick), x.end, y.at(tick)), _text(text, x.start - 8, y.at(tick) + 4, "end")]
    body += [_text(_tick(tick), x.at(tick), y.start + 18, "middle") for tick in ticks(x.low, x.high)]
    return [*body, _rule("axis", x.start, y.start, x.end, y.start)]


def _whisker(x: _Axis, f: Figure, y: float, colour: int) -> str:
    drawn = ""
    if f.low is not None and f.high is not None and math.isfinite(f.low) and math.isfinite(f.high):
        drawn = _rule(f's{colour}" stroke-width="2', x.at(f.low), y, x.at(f.high), y)
    if not math.isfinite(f.value):
        return drawn
    return f'{drawn}<circle class="s{colour}" cx="{x.at(f.value):.1f}" cy="{y:.1f}" r="4"/>'


def _points(x: _Axis, y: _Axis, points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x.at(a):.1f},{y.at(b):.1f}" for a, b in points)


def _rule(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _text(text: str, x: float, y: float, anchor: str = "start", *, dim: bool = True) -> str:
    kind = ' class="dim"' if dim else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _legend(i: int, name: str) -> list[str]:
    x, y = 8 + (i % 3) * 210, 12 + 16 * (i // 3)
    mark = f'<rect class="s{i % 6} open" x="{x}" y="{y - 9}" width="11" height="11"/>'
    return [mark, _text(_short(name, 185), x + 18, y + 1, dim=False)]


def _short(name: str, room: int) -> str:
    most = max(4, room // 7)
    return name if len(name) <= most else name[: most - 1] + "…"


def _tick(value: float) -> str:
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def _apart(low: float, high: float) -> tuple[float, float]:
    if high - low > 1e-12:
        return low, high
    room = abs(low) * 0.5 or 0.5
    return low - room, high + room


def _svg(body: list[str], bottom: float, x: _Axis, label: str) -> str:
    if label:
        body = [*body, _text(label, (x.start + x.end) / 2, bottom + 38, "middle")]
    height = bottom + (46 if label else 26)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-4 0 {WIDTH + 8} {height:.0f}" width="{WIDTH + 8}" '
        f'height="{height:.0f}" role="img"><style>{style()}</style>{"".join(body)}</svg>'
    )
