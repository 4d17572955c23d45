"""Findings of a curated folder over HTTP: shown, accepted, rejected, forgotten; and what is refused."""

from __future__ import annotations

import io
import os
import shutil

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tellapart.core.collection import Collection
from tellapart.core.errors import DataError
from tellapart.core.findings import Findings
from tellapart.data import read
from tellapart.data.decisions import Decision, read_decisions
from tellapart.finding import decide
from tellapart.server.app import create_review_app
from tests.server.serving import serving
from tests.server.test_page import browser, found_browser  # noqa: F401

ASKED = "https://example.org"


@pytest.fixture
def folder(run_folder, tmp_path):
    """A curated folder of drawn pictures: five to drop, one that is another one, captions to look at."""
    made = tmp_path / "curated"
    shutil.copytree(run_folder / "collection", made)
    ids = [str(i) for i in Collection.open(made).ids]
    scores = [i / len(ids) for i in range(len(ids))]
    drop = Findings.of("misfit-captions", ids, scores, shown=55 / 60, action="drop", reasons=["another fits it"] * 60)
    same = Findings.of("copies", ids[:1], [1.0], shown=0.5, action="same-as", reasons=["the same"], to=[ids[1]])
    none = Findings.of("odd-captions", ids, scores, shown=2.0, action="look", reasons=[""] * 60)
    Findings.joined([drop, same, none]).save(made)
    return made


@pytest.fixture
def client(folder):
    with TestClient(create_review_app(folder)) as client:
        yield client


def test_the_surest_come_first_with_caption_picture_and_the_other_item(client) -> None:
    told = client.get("/api/findings").json()
    assert [(k["name"], k["looked"], k["proposed"]) for k in told["kinds"]] == [
        ("copies", 1, 1), ("misfit-captions", 60, 5), ("odd-captions", 60, 0)]  # fmt: skip
    found = client.get("/api/findings/misfit-captions", params={"k": 2}).json()
    assert found["total"] == 5 and [f["item"]["id"] for f in found["findings"]] == ["black-cross", "black-ring"]
    assert found["findings"][0]["item"]["texts"]["text"] == "a black cross"
    picture = client.get(found["findings"][0]["item"]["picture"] + "&size=192")
    assert picture.status_code == 200 and max(Image.open(io.BytesIO(picture.content)).size) <= 192
    pair = client.get("/api/findings/copies").json()["findings"][0]
    assert (pair["item"]["id"], pair["other"]["id"], pair["action"]) == ("red-circle", "red-square", "same-as")
    rest = client.get("/api/findings/misfit-captions", params={"start": 2}).json()["findings"]
    assert len(rest) == 3


def test_what_is_said_lies_in_the_file_of_the_command_line(client, folder) -> None:
    kind = "misfit-captions"
    answer = client.post("/api/decisions", json={"kind": kind, "item": "black-ring", "said": "reject"})
    assert answer.status_code == 200 and read_decisions(folder) == [Decision("black-ring", kind, "reject")]
    decide(folder, accept=["copies"])
    assert client.get("/api/findings").json()["kinds"][0]["accepted"] == 1
    decide(folder, reject=["copies"])
    client.post("/api/decisions", json={"kind": kind, "said": "accept"})
    kinds = client.get("/api/findings").json()["kinds"]
    assert (kinds[1]["accepted"], kinds[1]["rejected"]) == (4, 1)
    shown = client.get(f"/api/findings/{kind}", params={"show": "reject"}).json()
    assert [f["item"]["id"] for f in shown["findings"]] == ["black-ring"]
    assert client.get(f"/api/findings/{kind}", params={"show": "open"}).json()["total"] == 0
    assert len(read(folder)) == 60 - 4
    client.post("/api/decisions", json={"kind": kind, "said": ""})
    assert read_decisions(folder) == [Decision("red-circle", "copies", "reject")]


def test_refusals_are_in_words_and_change_nothing(client, folder) -> None:
    said = {"kind": "copies", "item": "red-circle", "said": "accept"}
    refused = client.post("/api/decisions", json=said, headers={"origin": ASKED})
    assert refused.status_code == 403 and "other sites" in refused.json()["error"]
    assert client.post("/api/decisions", json=said, headers={"host": "example.org"}).status_code == 400
    assert client.post("/api/decisions", json={**said, "item": "red-ring"}).status_code == 404
    assert "misfit-captions" in client.post("/api/decisions", json={**said, "kind": "misfit"}).json()["error"]
    assert client.post("/api/decisions", json={**said, "said": "maybe"}).status_code == 422
    assert client.get("/api/findings/nothing").status_code == 400
    assert client.get("/api/pictures/no-such?size=96").status_code == 404
    assert read_decisions(folder) == []
    page = client.get("/")
    assert "review.js" in page.text and "default-src 'none'" in page.headers["content-security-policy"]


def test_findings_made_anew_are_read_anew(client, folder) -> None:
    assert client.get("/api/findings/copies").json()["total"] == 1
    Findings.of("copies", ["red-star"], [1.0], shown=2.0, action="drop", reasons=[""]).save(folder)
    assert client.get("/api/findings/copies").json()["total"] == 0
    os.unlink(folder / "findings.arrow")
    assert "tellapart curate" in client.get("/api/findings").json()["error"]


def test_a_folder_without_findings_is_refused(run_folder) -> None:
    with pytest.raises(DataError, match="holds no findings"):
        create_review_app(run_folder / "collection")


@pytest.mark.browser
def test_the_page_by_keyboard(browser, folder) -> None:  # noqa: F811
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    with serving(create_review_app(folder)) as address:
        browser.get(f"{address}/?kind=misfit-captions")
        wait = WebDriverWait(browser, 20)
        wait.until(lambda b: len(b.find_elements(By.CSS_SELECTOR, ".finding")) == 5)
        assert "a black cross" in browser.find_element(By.CSS_SELECTOR, ".finding").text
        browser.switch_to.active_element.send_keys("jar")
        wait.until(lambda b: "2 of 5" in b.find_element(By.ID, "kinds").text)
        wait.until(lambda b: len(read_decisions(folder)) == 2)
    assert {(d.item, d.said) for d in read_decisions(folder)} == {("black-cross", "accept"), ("black-ring", "reject")}
