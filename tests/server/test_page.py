"""The page in a real browser: what is typed, clicked, pressed and dropped, and what is seen then."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import time

import pytest

from tellapart.data.marks import FILE, read_marks
from tests.server.serving import PATIENCE, serving

pytestmark = pytest.mark.browser

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip


def found_browser():
    """The paths of browser and driver; where there is none, tests are skipped at home and fail in CI."""
    chromium, driver = (next((p for p in (a, shutil.which(b)) if p and os.path.exists(p)), None) for a, b in (
        (CHROMIUM, "chromium"), (DRIVER, "chromedriver")))  # fmt: skip
    if chromium and driver:
        return chromium, driver
    message = "the tests of the page need the Debian packages chromium and chromium-driver"
    if os.environ.get("CI") == "true":
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def test_a_missing_browser_fails_in_ci_and_only_there(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setitem(globals(), "CHROMIUM", "/no/such/chromium")
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="chromium-driver"):
        found_browser()
    monkeypatch.delenv("CI")
    with pytest.raises(pytest.skip.Exception):
        found_browser()


@pytest.fixture(scope="module")
def address(run_folder, tools):
    with serving(tools.open_run(run_folder)) as address:
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    chromium, driver = found_browser()
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service as Driver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('browser')}", "--window-size=1280,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=Driver(driver))
    yield browser
    browser.quit()


class Page:
    """What the tests do and see on the page."""

    def __init__(self, browser, address):
        from selenium.webdriver.common.keys import Keys

        self.browser, self.address, self.Keys = browser, address, Keys

    def open(self, path="/"):
        self.browser.get(self.address + path)
        self.until(lambda: self.one("#status").text or self.one("#message").text or self.one("#confusion-status").text)

    def one(self, selector):
        return self.browser.find_element("css selector", selector)

    def all(self, selector):
        return self.browser.find_elements("css selector", selector)

    def js(self, code, *given):
        return self.browser.execute_script(code, *given)

    def until(self, condition, what=""):
        from selenium.common.exceptions import StaleElementReferenceException, WebDriverException

        begun, last = time.monotonic(), None
        while time.monotonic() - begun < PATIENCE:
            with contextlib.suppress(StaleElementReferenceException):
                try:
                    if last := condition():
                        return last
                except WebDriverException as error:
                    last = error
            time.sleep(0.03)
        raise AssertionError(f"waited in vain {what}: {last!r}; status {self.status!r}, at {self.browser.current_url}")

    @property
    def status(self):
        return self.js("return document.getElementById('status').textContent")

    def ids(self):
        return self.js("return [...document.querySelectorAll('#results .card')].map(c => c.dataset.id)")

    def chips(self):
        return self.js("return [...document.querySelectorAll('#chips .chip span')].map(c => c.textContent)")

    def focused(self):
        return self.js("return document.activeElement.closest('.card')?.dataset.id || document.activeElement.id")

    def type(self, text):
        self.one("#words").send_keys(text)

    def press(self, *keys):
        from selenium.webdriver import ActionChains

        ActionChains(self.browser).send_keys(*keys).perform()

    def search(self, text):
        self.open()
        self.type(text + self.Keys.ENTER)
        self.until(lambda: "possible" in self.status or "Nothing" in self.status, f"for results of {text!r}")

    def card(self, id_):
        return self.one(f'.card[data-id="{id_}"] .open')

    def wide(self, width, height=900, mobile=False):
        given = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", given)


@pytest.fixture
def page(browser, address):
    page = Page(browser, address)
    page.wide(1280)
    browser.get_log("browser")
    yield page
    complaints = [line["message"] for line in browser.get_log("browser") if line["level"] in ("SEVERE", "WARNING")]
    page.browser.get("about:blank")
    assert [c for c in complaints if not any(e in c for e in getattr(page, "expected", ()))] == []


class TestSearching:
    def test_the_page_opens_on_the_collection_with_the_field_in_focus(self, page):
        page.open()
        assert page.focused() == "words"
        assert len(page.ids()) == 48 and "48 of 60 items" in page.status
        page.until(lambda: page.js("return document.querySelector('#results img').naturalWidth") > 0, "for a picture")

    def test_typing_finds_and_writes_the_address(self, page):
        page.open()
        page.type("a red thing")
        page.until(lambda: "6 possible" in page.status)
        assert {i.split("-")[0] for i in page.ids()[:6]} == {"red"}
        assert page.all(".divider") and "q=a+red+thing" in page.browser.current_url
        score = page.one(".card .score").text
        assert score == ">99%"

    def test_an_address_is_a_search(self, page):
        page.open("/?q=blue&like=blue-star&unlike=red-star&where=form%3Dring&item=blue-ring")
        page.until(lambda: page.chips() == ["like a blue star", "not like a red star"])
        assert page.one("#words").get_attribute("value") == "blue"
        page.until(lambda: {i.split("-")[1] for i in page.ids()} == {"ring"})
        page.until(lambda: page.one("#detail-title").text == "a blue ring")

    def test_back_and_forward(self, page):
        page.search("red")
        page.js("document.querySelector('.card .quick .like').click()")
        page.until(lambda: len(page.chips()) == 1)
        page.browser.back()
        page.until(lambda: page.chips() == [])
        page.browser.forward()
        page.until(lambda: len(page.chips()) == 1)

    def test_nothing_here_in_words_and_the_closest_on_demand(self, page):
        page.search("zebra")
        assert page.one("#message h2").text == "Nothing here" and page.ids() == []
        assert "zebra" in page.one("#message").text
        page.one("#message button").click()
        page.until(lambda: len(page.ids()) == 48)
        assert "none is likely" in page.status

    def test_exact_words_are_a_switch_that_the_address_holds(self, page):
        page.open("/?q=star")
        before = page.ids()
        page.one("#hybrid").click()
        page.until(lambda: page.ids()[:10] != before[:10] and all("star" in i for i in page.ids()[:10]), "stars")
        assert "hybrid=" in page.js("return location.search")
        assert "two searches together" in page.one("#notes").text
        assert not page.all(".card .score"), "places in two lists are shown as if they were scores"
        page.open("/?q=star&hybrid=")
        assert page.one("#hybrid").is_selected()

    def test_more_are_shown_on_demand(self, page):
        page.open()
        page.one("#more").click()
        page.until(lambda: len(page.ids()) == 60)
        assert not page.one("#more").is_displayed()

    def test_a_mistake_is_said(self, page):
        page.expected = ("nope",)
        page.open("/?q=red&like=nope")
        page.until(lambda: "no item 'nope'" in page.one("#message").text)

    def test_a_caption_that_is_markup_stays_text(self, page):
        page.open("/?q=orange&item=orange-square&like=orange-square")
        page.until(lambda: "<img src=x onerror=" in page.one("#detail-title").text)
        page.until(lambda: page.chips() and "<img src=x" in page.chips()[0])
        page.open("/?q=%3Cimg%20src%3Dx%20onerror%3D%22window.hacked%3D1%22%3E")
        page.until(lambda: "<img" in page.one("#message").text)
        page.open("/?view=confusions")
        page.until(lambda: len(page.all(".pair")) > 5)
        assert page.js("return window.hacked === undefined")
        assert page.js("return [...document.images].every(i => i.getAttribute('onerror') === null)")


class TestItems:
    def test_a_click_opens_the_item_and_escape_gives_the_focus_back(self, page):
        page.search("red")
        page.card("red-star").click()
        page.until(lambda: page.one("#detail-title").text == "a red star")
        assert "likely to match" in page.one(".standing").text
        facts = page.js("return [...document.querySelectorAll('.facts dt')].map(d => d.textContent)")
        assert {"id", "form", "colour", "year"} <= set(facts)
        page.until(lambda: len(page.all(".near button")) == 6, "for what is near")
        page.press(page.Keys.ESCAPE)
        page.until(lambda: not page.one("#detail").is_displayed())
        assert page.focused() == "red-star" and "item=" not in page.browser.current_url

    def test_more_and_less_like_this_combine_with_the_words_and_can_be_taken_away(self, page):
        page.search("red")
        page.card("red-star").click()
        page.until(lambda: page.one(".mark.like").is_displayed())
        page.one(".mark.like").click()
        page.until(lambda: page.chips() == ["like a red star"] and "red-star" not in page.ids())
        assert page.one(".mark.like").get_attribute("aria-pressed") == "true"
        page.one(".near button").click()
        page.until(lambda: page.one("#detail-title").text != "a red star")
        page.open("/?q=red+blue")
        page.until(lambda: "blue-star" in page.ids())
        page.js("document.querySelector('[data-id=\"blue-star\"] .unlike').click()")
        page.until(lambda: page.chips() == ["not like a blue star"])
        page.until(lambda: {i.split("-")[0] for i in page.ids()[:6]} == {"red"})
        page.one(".chip button").click()
        page.until(lambda: page.chips() == [] and "unlike" not in page.browser.current_url)

    def test_the_panel_steps_through_the_results(self, page):
        page.search("red")
        page.card("red-circle").click()
        page.until(lambda: page.one("#detail-title").text == "a red circle")
        page.one('#detail [aria-label="Next item"]').click()
        page.until(lambda: page.one("#detail-title").text == "a red cross")

    def test_a_value_becomes_a_filter(self, page):
        page.open("/?item=green-star")
        page.until(lambda: page.all(".facts .link"))
        next(b for b in page.all(".facts .link") if b.text == "star").click()
        page.until(lambda: {i.split("-")[1] for i in page.ids()} == {"star"})


class TestFilters:
    def test_values_and_ranges(self, page):
        page.open()
        summary = '.filter[data-column="form"] summary'
        page.one(summary).click()
        for name in ("star", "ring"):
            page.until(lambda name=name: page.one(f'[data-key="form {name}"]').is_displayed())
            page.one(f'[data-key="form {name}"]').click()
            page.until(lambda name=name: f"form%3D{name}" in page.browser.current_url)
        page.until(lambda: {i.split("-")[1] for i in page.ids()} == {"star", "ring"})
        page.press(page.Keys.ESCAPE)
        page.until(lambda: not page.all(".filter[open]"))
        page.one('.filter[data-column="year"] summary').click()
        box = page.one('[data-key="year to"]')
        box.send_keys("1975" + page.Keys.ENTER)
        page.until(lambda: "year%3D..1975" in page.browser.current_url)
        page.until(
            lambda: (
                set(page.ids()) == {"red-star", "red-ring", "orange-star", "orange-ring", "yellow-star", "yellow-ring"}
            )
        )
        assert "form: star, ring" in page.one(summary).text and "up to 1975" in page.one("#filters").text
        page.one("#filters .quiet").click()
        page.until(lambda: len(page.ids()) == 48)

    def test_no_item_passes(self, page):
        page.open("/?where=form%3Dstar&where=round%3Dtrue")
        page.until(lambda: "No item passes" in page.one("#message").text)
        page.one("#message button").click()
        page.until(lambda: len(page.ids()) == 48)


class TestPictures:
    def test_an_uploaded_picture_is_searched_by(self, page, tools, tmp_path):
        file = tmp_path / "mine.png"
        tools.draw("cross", tools.COLOURS["purple"], 1600).save(file)
        page.open()
        page.one("#file").send_keys(str(file))
        page.until(lambda: page.chips() == ["picture: mine.png"])
        page.until(lambda: {i.split("-")[0] for i in page.ids()[:6]} == {"purple"})
        page.type("red")
        page.until(lambda: {"red", "purple"} == {i.split("-")[0] for i in page.ids()[:12]})
        page.one('.filter[data-column="form"] summary').click()
        page.until(lambda: page.one('[data-key="form star"]').is_displayed())
        page.one('[data-key="form star"]').click()
        page.until(lambda: set(page.ids()[:2]) == {"red-star", "purple-star"})
        page.one(".chip button").click()
        page.until(lambda: page.chips() == [])

    @pytest.mark.parametrize("how", ["paste", "drop"])
    def test_a_picture_can_be_pasted_and_dropped(self, page, how):
        page.open()
        page.js(
            """
            const how = arguments[0];
            const canvas = document.createElement('canvas');
            canvas.width = canvas.height = 80;
            const pen = canvas.getContext('2d');
            pen.fillStyle = 'rgb(72,160,84)';
            pen.fillRect(0, 0, 80, 80);
            canvas.toBlob((blob) => {
              const data = new DataTransfer();
              data.items.add(new File([blob], 'green.png', { type: 'image/png' }));
              const given = { bubbles: true, cancelable: true };
              const paste = () => new ClipboardEvent('paste', { ...given, clipboardData: data });
              const drag = (kind) => new DragEvent(kind, { ...given, dataTransfer: data });
              const events = how === 'paste' ? [paste()] : ['dragenter', 'dragover', 'drop'].map(drag);
              for (const event of events) document.dispatchEvent(event);
            });
            """,
            how,
        )
        page.until(lambda: page.chips() == ["picture: green.png"])
        page.until(lambda: {i.split("-")[0] for i in page.ids()[:6]} == {"green"})
        assert not page.one("#drop").is_displayed()

    def test_a_file_that_is_no_picture_is_refused_in_words(self, page, tmp_path):
        page.expected = ("400",)
        file = tmp_path / "mine.png"
        file.write_text("not a picture")
        page.open()
        page.one("#file").send_keys(str(file))
        page.until(lambda: "cannot be used" in page.one("#message").text)


class TestKeyboard:
    def test_a_whole_search_without_a_mouse(self, page):
        keys = page.Keys
        page.search("red blue")
        page.press(keys.ARROW_DOWN)
        page.until(lambda: page.focused() == page.ids()[0])
        page.press(keys.ARROW_RIGHT, keys.ARROW_RIGHT)
        page.until(lambda: page.focused() == page.ids()[2])
        across = page.js(
            "const c = [...document.querySelectorAll('.card')]; return c.findIndex(x => x.offsetTop !== c[0].offsetTop)"
        )
        page.press(keys.ARROW_DOWN)
        page.until(lambda: page.focused() == page.ids()[2 + across] or page.focused() == page.ids()[-1])
        page.press(keys.ARROW_UP)
        page.until(lambda: page.focused() == page.ids()[2])
        chosen = page.ids()[2]
        page.press(keys.ENTER)
        page.until(lambda: page.one("#detail").is_displayed() and f"item={chosen}" in page.browser.current_url)
        page.press("l")
        page.until(lambda: page.chips() == [f"like a {chosen.replace('-', ' ')}"])
        page.press("u")
        page.until(lambda: page.chips() == [f"not like a {chosen.replace('-', ' ')}"])
        page.press("u")
        page.until(lambda: page.chips() == [])
        page.press(keys.ESCAPE)
        page.until(lambda: not page.one("#detail").is_displayed())
        page.press("/")
        page.until(lambda: page.focused() == "words")

    def test_letters_in_the_field_are_letters(self, page):
        page.open()
        page.type("l?u/")
        assert page.one("#words").get_attribute("value") == "l?u/" and page.chips() == []
        assert not page.one("#help").is_displayed()

    def test_help_opens_and_closes(self, page):
        page.open()
        page.js("document.activeElement.blur()")
        page.press("?")
        page.until(lambda: page.one("#help").is_displayed())
        page.press(page.Keys.ESCAPE)
        page.until(lambda: not page.one("#help").is_displayed())

    def test_marking_keeps_the_focus_among_the_results(self, page):
        page.search("red")
        page.press(page.Keys.ARROW_DOWN)
        page.until(lambda: page.focused() == "red-circle")
        page.press("l")
        page.until(lambda: page.chips() and "red-circle" not in page.ids())
        assert page.focused() == "results"
        page.press(page.Keys.ARROW_RIGHT)
        page.until(lambda: page.focused() == page.ids()[0])

    def test_only_one_card_is_in_the_order_of_tab(self, page):
        page.open()
        tabbable = page.js("return [...document.querySelectorAll('.card button')].filter(b => b.tabIndex === 0).length")
        assert tabbable == 3


class TestConfusions:
    def test_pairs_stand_side_by_side(self, page):
        page.open()
        page.one("#to-confusions").click()
        page.until(lambda: len(page.all(".pair")) == 20)
        assert "60 of 60 items" in page.one("#confusion-status").text and "view=confusions" in page.browser.current_url
        first = page.all(".pair")[0]
        left, right = first.find_elements("css selector", "figure")
        assert left.location["y"] == right.location["y"] and left.location["x"] < right.location["x"]
        page.one("#more-confusions").click()
        page.until(lambda: len(page.all(".pair")) == 50)
        page.all(".pair figure .tile")[0].click()
        page.until(lambda: page.one("#detail-title").text == page.all(".pair q")[0].text.strip('“”"'))
        page.press(page.Keys.ESCAPE)
        page.until(lambda: not page.one("#detail").is_displayed())
        page.one("#to-search").click()
        page.until(lambda: len(page.ids()) == 48)

    def test_a_pair_is_marked_and_the_mark_taken_back(self, page, run_folder):
        page.open("/?view=confusions")
        page.until(lambda: len(page.all(".pair")) == 20)
        same, different = page.all(".pair")[0].find_elements("css selector", ".mark")
        assert same.text == "Really the same" and same.get_attribute("aria-label").startswith("Really the same: ")
        same.click()
        page.until(lambda: same.get_attribute("aria-pressed") == "true")
        assert "1 pair marked" in page.one("#marks-told").text and len(read_marks(run_folder / FILE)) == 1
        different.click()
        page.until(lambda: different.get_attribute("aria-pressed") == "true")
        assert same.get_attribute("aria-pressed") == "false"
        page.open("/?view=confusions")
        page.until(lambda: len(page.all('.mark[aria-pressed="true"]')) == 1)
        page.all('.mark[aria-pressed="true"]')[0].click()
        page.until(lambda: not page.one("#marks-told").is_displayed())
        assert read_marks(run_folder / FILE) == []

    def test_borderline_pairs_have_a_view_of_their_own(self, page, run_folder):
        page.open("/")
        assert not page.one("#to-borderline").is_displayed()
        pair = {"query": "red-star", "right": "red-star", "wrong": "red-ring", "right_score": 0.9, "wrong_score": 0.85}
        (run_folder / "borderline.json").write_text(json.dumps({"pairs": [pair]}))
        try:
            page.open("/")
            page.until(lambda: page.one("#to-borderline").is_displayed())
            page.one("#to-borderline").click()
            page.until(lambda: len(page.all(".pair")) == 1)
            assert page.one("#pairs-title").text == "What the miner was least sure of"
            assert page.one("#confusion-status").text.startswith("One pair that scored")
            page.one("#to-confusions").click()
            page.until(lambda: len(page.all(".pair")) == 20)
            page.wide(360, 740, mobile=True)
            page.open("/?view=borderline")
            page.until(lambda: len(page.all(".pair")) == 1)
            assert page.js("return document.documentElement.scrollWidth") <= 360
        finally:
            (run_folder / "borderline.json").unlink()


class TestForms:
    @pytest.mark.parametrize(
        "path",
        ["/", "/?q=red&like=red-star&where=form%3Dring", "/?q=red&item=red-star", "/?view=confusions", "/?q=zebra"],
    )
    def test_a_phone_shows_everything_in_its_width(self, page, path):
        page.wide(360, 740, mobile=True)
        page.open(path)
        page.until(lambda: page.ids() or page.all(".pair") or page.one("#message").is_displayed())
        if "item=" in path:
            page.until(lambda: page.one("#detail").is_displayed())
            assert page.one("#detail").size["width"] == 360
        assert page.js("return document.documentElement.scrollWidth") <= 360
        small = page.js(
            """return [...document.querySelectorAll('button, a, summary, input')]
               .filter(e => e.checkVisibility() && !e.closest('.near, .skip, .facts, footer') && e.offsetWidth)
               .filter(e => Math.min(e.getBoundingClientRect().width, e.getBoundingClientRect().height) < 24)
               .map(e => e.outerHTML.slice(0, 90))"""
        )
        assert small == []

    def test_everything_that_can_be_pressed_has_a_name(self, page):
        for path in ("/?q=red&like=red-star&item=red-ring&where=form%3Dring", "/?view=confusions"):
            page.open(path)
            page.until(lambda: page.ids() or page.all(".pair"))
            nameless = page.js(
                """return [...document.querySelectorAll('button, a, input, summary, dialog')]
                   .filter(e => !(e.getAttribute('aria-label') || e.textContent.trim() || e.closest('label')
                                  || e.getAttribute('aria-labelledby')))
                   .map(e => e.outerHTML.slice(0, 120))"""
            )
            assert nameless == []
            assert page.js("return [...document.images].every(i => i.hasAttribute('alt'))")
        assert page.one("#status").get_attribute("aria-live") == "polite"

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_text_stands_out_from_its_ground(self, page, scheme):
        page.browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        page.open("/?q=red&like=red-star&unlike=blue-star")
        page.until(lambda: len(page.chips()) == 2 and page.ids())
        pairs = page.js(
            """
            const seen = (name) => getComputedStyle(document.querySelector(name));
            const ground = (e) => {
              for (; e; e = e.parentElement) {
                const c = getComputedStyle(e).backgroundColor;
                if (!/, 0\\)$|transparent/.test(c)) return c;
              }
            };
            return ['#status', '.caption', '.score', '.chip.like', '.chip.unlike', 'summary', '#to-search', 'footer']
              .map((s) => [s, seen(s).color, ground(document.querySelector(s))]);
            """
        )
        for name, ink, ground in pairs:
            assert contrast(ink, ground) >= 4.5, (name, ink, ground)
        page.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def contrast(a, b):
    """The contrast ratio of WCAG 2 of two colours as a browser writes them."""
    import re

    def luminance(colour):
        channels = [int(float(c)) / 255 for c in re.findall(r"[\d.]+", colour)[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, light = sorted((luminance(a), luminance(b)))
    return (light + 0.05) / (dark + 0.05)


class TestTexts:
    def test_a_collection_of_texts_is_shown_as_cards(self, browser, tools, tmp_path):
        from tellapart.core.collection import Collection

        folder = tools.make_run(tmp_path / "run")
        words = list(tools.COLOURS)
        said = [f"{w.capitalize()} is what they painted the door, and nobody asked why. " * 4 for w in words]
        columns = Collection.of({"id": words, "anchor": [f"a {w} door" for w in words], "positive": said})
        columns.save(folder / "collection")
        model = tools.ColourModel(columns.sides())
        service = tools.Service(folder, model=model, index=tools.PlainIndex(words, model.encode_document(said)))
        with serving(service) as address:
            page = Page(browser, address)
            page.wide(1280)
            page.search("blue")
            assert page.ids()[0] == "blue" and "Blue is what they painted" in page.one(".card .words").text
            assert not page.one("#choose").is_displayed()
            page.card("blue").click()
            page.until(lambda: "Blue is what" in page.one("#detail blockquote").text)
            page.browser.get("about:blank")


class TestServer:
    def test_ids_of_any_kind_over_real_http(self, run_folder, tools, tmp_path):
        import json
        from urllib.parse import quote
        from urllib.request import urlopen

        from tellapart.core.collection import Collection

        folder = tools.make_run(tmp_path / "run")
        ids = ["a/b c", "ä?&#%2F", "日本", "a%20b", "..x/y", "q=1;+"]
        data = tools.png(tools.draw("star", (200, 10, 10)))
        columns = Collection.of({"id": ids, "image": [data] * len(ids), "text": ids})
        columns.save(folder / "collection")
        model = tools.ColourModel(columns.sides())
        index = tools.PlainIndex(ids, model.encode_document([data] * len(ids)))
        with serving(tools.Service(folder, model=model, index=index)) as address:
            for id_ in ids:
                with urlopen(f"{address}/api/items/{quote(id_, safe='')}") as answer:
                    item = json.load(answer)
                assert item["id"] == id_
                with urlopen(address + item["picture"] + "&size=96") as answer:
                    assert answer.read(4) == b"RIFF"

    def test_an_endless_upload_is_cut_off(self, address):
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            head = "POST /api/search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
            head += "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
            begin = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
            connection.sendall(head.encode() + f"{len(begin):x}\r\n".encode() + begin + b"\r\n")
            chunk, sent, answer = b"x" * 2**20, 0, b""
            with contextlib.suppress(ConnectionError):
                while sent < 200 * 2**20:
                    connection.sendall(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
                    sent += len(chunk)
                    connection.settimeout(0.05)
                    with contextlib.suppress(TimeoutError):
                        answer = connection.recv(65536)
                        break
                    connection.settimeout(PATIENCE)
            assert b" 413 " in answer.split(b"\r\n")[0]
            assert sent < 40 * 2**20


class TestKey:
    def test_it_is_asked_for_once_and_sent_with_everything(self, browser, run_folder, tools, tmp_path):
        from tellapart.server.keys import new_key

        key = new_key(tmp_path / "keys.toml", "me", "write")
        with serving(tools.open_run(run_folder), keys=tmp_path / "keys.toml") as address:
            page = Page(browser, address)
            browser.get(address + "/?q=red")
            page.until(
                lambda: page.one("#key").is_displayed() and page.js("return document.activeElement.id") == "key-field"
            )
            assert not page.one("#key-refused").is_displayed() and page.ids() == []
            page.press("ta_wrong", page.Keys.ENTER)
            page.until(lambda: page.one("#key-refused").is_displayed(), "the refusal")
            page.press(key, page.Keys.ENTER)
            page.until(lambda: page.ids()[:1] == ["red-circle"], "results")
            page.until(lambda: page.js("return document.querySelector('#results img')?.naturalWidth > 0"), "a picture")
            assert not page.one("#key").is_displayed()
            browser.refresh()
            page.until(lambda: page.ids()[:1] == ["red-circle"], "results again, without asking")
            assert not page.one("#key").is_displayed() and key not in page.browser.current_url
            page.js("sessionStorage.clear()")
            browser.refresh()
            page.until(lambda: page.one("#key").is_displayed())
            page.press(page.Keys.ESCAPE)
            page.until(lambda: "asks for a key" in page.one("#message").text, "the reason")
            browser.get("about:blank")
            browser.get_log("browser")
