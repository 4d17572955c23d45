"""Reports on terminal, as JSON and as a page: nothing lost, nothing run, nothing that is no number."""

from __future__ import annotations

import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from tellapart import render
from tellapart.core.collection import Collection
from tellapart.core.report import Example, Examples, Figure, Finding, Picture, Report, Table, Text
from tellapart.render import draw
from tellapart.render.values import cell, number

EVIL = "\"><script>alert(1)</script><img src=x onerror=alert(1)>'&"


def picture(colour: str = "red") -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(out, "PNG")
    return out.getvalue()


def report(words: str = "plain") -> Report:
    difference = Figure(words, 0.02, 0.01, 0.03, count=5)
    made = Report(words)
    made.add(Figure(words, 0.5, 0.4, 0.6, count=10, note=words), Figure("seconds", 12.0, unit=words))
    made.add(Text(words, kind="verdict"), Text(words, kind="code"), Text(words, kind=words))
    made.add(
        Table(
            words,
            [words, f"difference {words}", "verdict"],
            [[words, difference, "helps"], [None, 1, words]],
            note=words,
        )
    )
    made.add(Picture(words, words, svg=draw.ridges([(words, {words: [1, 2]})], -1.0, 1.0, label=words)))
    made.add(Examples(words, [Example([words, "b"], words, [0.5, float("nan")])]))
    made.facts = {words: words, "n": 3}
    return made


class Tags(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))


def test_a_page_runs_and_loads_nothing_whatever_the_data_say():
    collection = Collection.of({"id": [EVIL, "b"], "text": [EVIL, "b"], "image": [picture(), b"no picture"]})
    page = render.html(report(EVIL), collection)
    tags = Tags(page).seen
    assert not {tag for tag, _ in tags} & {"script", "iframe", "object", "embed", "link", "form", "base", "a"}
    for tag, attributes in tags:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        if "src" in attributes:
            assert re.match(r"data:image/(webp|svg\+xml);base64,[\w+/=]+$", attributes["src"])
    assert "default-src 'none'" in page
    assert EVIL not in page and "<script" not in page.lower()


def test_a_drawing_escapes_its_words():
    figure = Figure("x", 0.1, 0.0, 0.2)
    for svg in (draw.bar(figure, 0.0, 1.0), draw.ridges([(EVIL, {EVIL: [1, 2]})], -1.0, 1.0, label=EVIL)):
        assert not {tag for tag, _ in Tags(svg).seen} - {
            "svg",
            "style",
            "line",
            "text",
            "circle",
            "polygon",
            "polyline",
            "rect",
        }


def test_a_page_shows_every_word_and_figure():
    page = render.html(report("wörd"), None)
    assert page.count("wörd") >= 12
    assert "0.500" in page and "[0.400, 0.600]" in page and "+0.020 [+0.010, +0.030]" in page


def test_pictures_of_items_are_small_copies_inside_the_page(tmp_path):
    inside, outside = tmp_path / "pictures", tmp_path / "secret.png"
    inside.mkdir()
    (inside / "a.png").write_bytes(picture())
    outside.write_bytes(picture("blue"))
    collection = Collection.of({"id": ["a", "b"], "text": ["A", "B"], "image": ["a.png", "../secret.png"]}, root=inside)
    made = Report("r").add(Examples("e", [Example(["a", "b", "unknown"], "why")]))
    page = render.html(made, collection)
    assert page.count("<img") == 1, "a picture outside the collection's folder is not shown"
    assert "unknown" in page and "A" in page


def test_the_number_of_pictures_in_a_page_is_bounded(monkeypatch):
    from tellapart.render import page

    monkeypatch.setattr(page, "MOST_THUMBNAILS", 3)
    collection = Collection.of({"id": list("abcdef"), "text": list("abcdef"), "image": [picture()] * 6})
    made = Report("r").add(Examples("e", [Example(list("abcdef"), "")]))
    assert render.html(made, collection).count("<img") == 3


def test_json_is_strict_and_keeps_all():
    made = report("x")
    made.add(Figure("nothing", float("nan"), -np.inf, np.float32(1.5)))
    made.add(Table("t", ["a"], [[np.int64(3)], [np.array([1.0, np.nan])]]))
    held = json.loads(render.json(made), parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert [b["block"] for b in held["blocks"]][:4] == ["figure", "figure", "text", "text"]
    assert (
        held["blocks"][-2]["value"] is None and held["blocks"][-2]["low"] is None and held["blocks"][-2]["high"] == 1.5
    )
    assert held["blocks"][-1]["rows"] == [[3], [[1.0, None]]]
    assert held["facts"] == {"x": "x", "n": 3}


@pytest.mark.parametrize("width", [28, 40, 80, 200])
def test_a_terminal_of_any_width_shows_everything(width):
    out = io.StringIO()
    render.terminal(report("wörd"), file=out, width=width)
    shown = out.getvalue()
    assert all(len(line) <= width for line in shown.splitlines())
    flat = re.sub(r"\s+", "", shown)
    for wanted in ("wörd", "0.500", "[0.400,0.600]", "+0.020", "helps", "over10" if width >= 60 else "wörd"):
        assert wanted in flat, (width, wanted)


def test_a_terminal_is_not_driven_by_data():
    out = io.StringIO()
    render.terminal(report("\x1b[31mred\x07 [bold]x[/bold] :smile:"), file=out, width=300)
    shown = out.getvalue()
    assert "\x1b" not in shown and "\x07" not in shown
    assert "[bold]x[/bold] :smile:" in shown


def test_an_empty_report_and_an_empty_table_are_shown():
    out = io.StringIO()
    empty = Report("nothing").add(Table("t", ["a", "b"], []), Examples("e", []))
    render.terminal(empty, file=out)
    assert "(none)" in out.getvalue() and "(none)" in render.html(empty)
    assert json.loads(render.json(Report("r")))["blocks"] == []


def test_a_picture_that_cannot_be_read_leaves_its_caption(tmp_path):
    (tmp_path / "x.png").write_bytes(b"no picture")
    page = render.html(Report("r").add(Picture("p", "what it shows", path=str(tmp_path / "x.png"))))
    assert "what it shows" in page and "<img" not in page


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345, "0.123"), (-0.5, "−0.500"), (12.346, "12.35"), (123.45, "123.5"), (1234.5, "1,234"), (7, "7"),
        (12345, "12,345"), (0, "0"), (1.2e-5, "1.2e-05"), (float("inf"), "–"), (None, "–"), (True, "yes"),
        (0.0, "0.000"),
    ],
)  # fmt: skip
def test_numbers_have_the_digits_that_are_of_use(value, text):
    assert number(value) == text


def test_differences_carry_their_sign():
    assert cell(Figure("d", 0.02, -0.01, 0.05), signed=True) == "+0.020 [−0.010, +0.050]"


def test_a_bar_puts_its_mark_where_the_number_is():
    at = [next(float(a["cx"]) for tag, a in Tags(draw.bar(Figure("a", v), -1.0, 1.0)).seen if tag == "circle")
          for v in (-1.0, 0.0, 1.0)]  # fmt: skip
    assert at == [5.0, 75.0, 145.0]


def test_histograms_rise_where_the_counts_are():
    svg = draw.ridges([("start", {"positive": [0, 4], "negative": [3, 1]}), ("end", {"positive": [1, 1]})], 0.0, 2.0)
    shapes = [a["points"] for tag, a in Tags(svg).seen if tag == "polygon"]
    heights = [[float(p.split(",")[1]) for p in points.split()] for points in shapes]
    assert len(shapes) == 3
    base, top = heights[0][0], min(heights[0])
    assert heights[0] == [base, base, base, top, top, base] and top < base
    quarter = base - (base - top) * 0.25
    assert heights[1] == pytest.approx(
        [base, base - (base - top) * 0.75, base - (base - top) * 0.75, quarter, quarter, base]
    )


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.03, 0.017), (990, 1010), (1e-9, 2e-9), (-5, -4.9)])
def test_ticks_are_round_and_inside(low, high):
    found = draw.ticks(low, high)
    assert 3 <= len(found) <= 11
    assert all(low - 1e-9 * abs(low) <= t <= high + 1e-9 * abs(high) for t in found)
    steps = np.diff(found)
    assert np.allclose(steps, steps[0]) and f"{steps[0]:.0e}"[0] in "125"


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 1.0], [float("nan")], [0.0, 1e-300], [-1e9, 1e9]])
def test_drawings_take_any_numbers(values):
    figures = [Figure("a", v) for v in values]
    for svg in (draw.bar(f, *draw.span(figures)) for f in figures):
        assert "nan" not in svg and "inf" not in svg


@pytest.mark.parametrize("rows", [[], [("a", {})], [("a", {"b": []})], [("a", {"b": [0, 0], "c": [3, 1]})]])
def test_histograms_take_any_counts(rows):
    svg = draw.ridges(rows, -1.0, 1.0)
    assert "nan" not in svg and svg.count("<polygon") == sum(len(series) for _, series in rows)


def test_functions_stay_functions_once_their_modules_are_imported():
    render.html(Report("r"))
    render.terminal(Report("r"), file=io.StringIO())
    assert render.plain({"a": np.float32(1.0)}) == {"a": 1.0}
    assert all(callable(getattr(render, name)) for name in ("terminal", "html", "json", "plain"))


def test_long_words_in_many_columns_are_folded_and_none_is_lost():
    words = ["system-of-twenty-letters", "part-of-twenty-one-more, another-part-of-twenty", "yes", "no", "verdict " * 6]
    shown = io.StringIO()
    made = Report("r").add(Table("", ["system", "parts", "oracle", "evidence", "verdict"], [words]))
    render.terminal(made, file=shown, width=80)
    said = shown.getvalue()
    assert max(map(len, said.splitlines())) <= 80
    for letter in "abcdefghijklmnopqrstuvwxyz":
        head = "".join(["system", "parts", "oracle", "evidence", "verdict", "r"])
        assert said.count(letter) == (head + "".join(words)).count(letter)


def test_a_finding_is_shown_with_its_items_and_its_command():
    figure = Figure("slice tone=dark", 0.2, 0.1, 0.3, 40, note="of forty")
    example = Example(["a<b", "b", "c", "d"], "wrong", names=["a<b", "bee", "sea", "dee"])
    made = Report("r").add(Finding(figure, "right less often", 0.01, examples=[example], mend="tellapart run 'x y'"))
    shown, page = io.StringIO(), render.html(made)
    render.terminal(made, file=shown, width=80)
    assert "slice tone=dark  0.200" in shown.getvalue() and "wrong: a<b | bee | sea and 1 more" in shown.getvalue()
    assert "tellapart run &#x27;x y&#x27;" in page and "a&lt;b" in page and "<b " not in page
    assert json.loads(render.json(made))["blocks"][0]["figure"]["value"] == 0.2
