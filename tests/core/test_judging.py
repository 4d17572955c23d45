"""Judges by spec: rules of known truth, functions, a tiny local model, a server on this machine."""

import json
import math
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
from PIL import Image

from tellapart.core import judging, judging_server
from tellapart.core.collection import Collection
from tellapart.core.errors import DataError, PartError
from tellapart.core.judging import Judge, offer, open_judge
from tellapart.core.questions import YES_NO, Question, folded

ANIMALS = Collection.of({"id": ["a", "b", "c"], "kind": ["Cat", "dog", None], "tags": [["red", "old"], ["new"], []]})


def test_the_answer_of_columns_stands_in_the_cell():
    judge = open_judge("columns", ANIMALS)
    ask = [
        Question("which?", ("dog", "cat"), item="a", column="kind"),
        Question("a cat?", YES_NO, item="b", column="kind", value="cat"),
        Question("red?", YES_NO, item="a", column="tags", value="Red!"),
        Question("which?", ("dog", "cat"), item="c", column="kind"),
        Question("which?", ("horse", "cow"), item="a", column="kind"),
    ]
    found = judge.chances(q for q in ask)
    assert [p.tolist() for p in found] == [[0, 1], [0, 1], [1, 0], [0, 0], [0, 0]]
    assert judge.say([Question("tags?", item="a", column="tags")]) == ["red, old"]
    assert judge.asked == 6


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (Question("which?", ("a", "b"), item="a"), "names no column"),
        (Question("which?", ("a", "b"), item="a", column="age"), "no column 'age'"),
        (Question("which?", ("a", "b"), item="z", column="kind"), "no item"),
        (Question("which?", ("a",), item="a", column="kind"), "2 to 20"),
        (Question("which?", ("a", "A."), item="a", column="kind"), "different answers"),
        (Question("  ", ("a", "b")), "letters"),
        (Question("x" * 30_000, ("a", "b")), "letters"),
        (Question("?a", ("a", "b"), pictures=[None] * 9), "at most 8"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_words(question, words):
    with pytest.raises(DataError, match=words):
        open_judge("columns", ANIMALS).chances([question])


def test_a_function_may_give_an_answer_or_chances_or_nothing():
    said = iter(["Yes.", {"yes": 0.25, "no": 0.5}, None, "perhaps"])
    offer("mine", lambda question: next(said))
    try:
        found = open_judge("mine").chances([Question("?a", YES_NO)] * 4)
    finally:
        judging._offered.pop("mine")
    assert [p.tolist() for p in found] == [[1, 0], [0.25, 0.5], [0, 0], [0, 0]]


@pytest.mark.parametrize("said", [{"yes": 0.9, "no": 0.9}, {"yes": -0.1}, {"yes": math.nan}, {"maybe": 1.0}, 3])
def test_what_is_no_answer_is_refused(said):
    with pytest.raises(PartError, match="own"):
        Judge("own", lambda questions: [said] * len(questions)).chances([Question("?a", YES_NO)])


def test_fewer_answers_than_questions_and_no_words_are_refused():
    with pytest.raises(PartError, match="asked 2 questions and answered 1"):
        Judge("own", lambda questions: ["yes"]).chances([Question("?a", YES_NO)] * 2)
    with pytest.raises(PartError, match="words were asked for"):
        Judge("own", lambda questions: [{"yes": 1.0}]).say([Question("?a")])


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("nobody", "no judge 'nobody'"),
        ("local:", "names no model"),
        ("local:/nowhere/at/all", "names no model"),
        ("http://", "write a judge as"),
        ("http://user:secret@host/v1", "write a judge as"),
        ("http://host:port/v1", "write a judge as"),
        ("columns", "given none"),
    ],
)
def test_specs_that_name_no_judge(spec, words):
    with pytest.raises(PartError, match=words) as told:
        open_judge(spec)
    assert "secret" not in str(told.value)


def test_names_that_cannot_be_offered():
    for name in ("columns", "Mine", "http", "a:b"):
        with pytest.raises(PartError, match="cannot name a judge"):
            offer(name, len)
    with pytest.raises(PartError, match="no function"):
        offer("mine", 3)


def test_a_tiny_local_model_gives_the_chances_of_its_tokens(tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    words = ["?", "is", "it", "yes", "no", "very", "Answer", ":", "."]
    tokens = Tokenizer(WordLevel({w: i for i, w in enumerate(words)}, unk_token="?"))
    tokens.pre_tokenizer = Whitespace()
    transformers.PreTrainedTokenizerFast(tokenizer_object=tokens, unk_token="?").save_pretrained(tmp_path)
    torch.manual_seed(0)
    config = transformers.GPT2Config(
        vocab_size=9, n_positions=256, n_embd=8, n_layer=1, n_head=2, bos_token_id=8, eos_token_id=8
    )
    model = transformers.GPT2LMHeadModel(config).eval()
    with torch.no_grad():
        model.transformer.wte.weight.mul_(40)
    model.save_pretrained(tmp_path)
    judge = open_judge(f"local:{tmp_path}")
    (found,) = judge.chances([Question("is it", ("yes", "very no"))])
    ids = tokens.encode("is it\nAnswer with one of these alone: yes, very no.\nAnswer:").ids
    with torch.inference_mode():
        first = model(torch.tensor([ids])).logits[0, -1].softmax(-1)
        second = model(torch.tensor([[*ids, words.index("very")]])).logits[0, -1].softmax(-1)
    chance = [float(first[words.index("yes")]), float(first[words.index("very")] * second[words.index("no")])]
    np.testing.assert_allclose(found, np.array(chance) / sum(chance), rtol=1e-4)
    assert set(judge.say([Question("is it")])[0].split()) <= set(words)
    with pytest.raises(DataError, match="words alone"):
        judge.chances([Question("is it", YES_NO, pictures=[Image.new("RGB", (4, 4))])])
    (tmp_path / "config.json").write_text('{"model_type": "of nothing"}')
    with pytest.raises(PartError, match="cannot be loaded"):
        open_judge(f"local:{tmp_path}").chances([Question("is it", YES_NO)])


class Told(BaseHTTPRequestHandler):
    """Answers what the test says, and keeps what it was asked."""

    def _give(self):
        size = int(self.headers.get("content-length") or 0)
        body = json.loads(self.rfile.read(size)) if size else None
        self.server.asked.append((self.path, dict(self.headers), body))
        status, held, headers = self.server.answer(self.path, body)
        data = held if isinstance(held, bytes) else json.dumps(held).encode()
        self.send_response(status)
        for name, value in {"content-length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = _give

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    with HTTPServer(("127.0.0.1", 0), Told) as made:
        made.asked = []
        running = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        running.start()
        made.address = f"http://127.0.0.1:{made.server_port}/v1"
        yield made
        made.shutdown()
        running.join()


def _tokens(**logs):
    top = [{"token": t, "logprob": math.log(p)} for t, p in logs.items()]
    return 200, {"choices": [{"message": {"content": "x"}, "logprobs": {"content": [{"top_logprobs": top}]}}]}, {}


def test_a_server_gives_the_chances_of_the_first_token(server, monkeypatch):
    monkeypatch.setenv(judging_server.KEY, "sk-secret")
    server.answer = lambda path, body: _tokens(Yes=0.5, yes=0.25, no=0.125, maybe=0.125)
    question = Question("red?", YES_NO, [Image.new("RGB", (900, 300))], texts=("a ball",))
    (found,) = open_judge(f"{server.address}#tiny").chances([question])
    assert found.tolist() == pytest.approx([0.75, 0.125])
    ((path, headers, body),) = server.asked
    assert path == "/v1/chat/completions"
    assert headers["authorization"] == "Bearer sk-secret"
    assert body["model"] == "tiny"
    picture, words = body["messages"][0]["content"]
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")
    assert "a ball" in words["text"]


def test_other_answers_are_asked_for_by_letter_and_a_model_is_looked_up(server, monkeypatch):
    monkeypatch.delenv(judging_server.KEY, raising=False)
    said = {"choices": [{"message": {"content": "B."}}]}
    server.answer = lambda path, body: (200, {"data": [{"id": "first"}]} if body is None else said, {})
    judge = open_judge(server.address)
    (found,) = judge.chances([Question("which?", ("a cat", "two dogs"))])
    assert found.tolist() == [0, 1]
    assert server.asked[1][2]["model"] == "first"
    assert "B: two dogs" in server.asked[1][2]["messages"][0]["content"]
    assert judge.say([Question("what is it?")]) == ["B."]
    assert "authorization" not in server.asked[1][1]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((401, {}, {}), "is the key"),
        ((404, {}, {}), "status 404"),
        ((302, {}, {"location": "http://elsewhere/"}), "status 302"),
        ((200, b"<html>", {}), "no JSON"),
        ((200, {"choices": []}, {}), "something else"),
        ((200, b"1" * (judging_server.MOST_BYTES + 2), {}), "more than"),
    ],
)
def test_what_a_server_may_answer_instead(server, monkeypatch, answer, words):
    monkeypatch.setenv(judging_server.KEY, "sk-secret")
    server.answer = lambda path, body: answer
    with pytest.raises(PartError, match=words) as told:
        open_judge(f"{server.address}#tiny").chances([Question("?a", YES_NO)])
    assert "secret" not in str(told.value)


def test_a_busy_server_is_asked_again(server):
    answers = [(429, {}, {"retry-after": "0"}), _tokens(no=1.0)]
    server.answer = lambda path, body: answers.pop(0)
    assert open_judge(f"{server.address}#tiny").chances([Question("?a", YES_NO)])[0].tolist() == [0, 1]


def test_nobody_there_and_a_key_for_all_to_read(monkeypatch):
    monkeypatch.delenv(judging_server.KEY, raising=False)
    with pytest.raises(PartError, match="does not answer"):
        open_judge("http://127.0.0.1:9/v1#tiny").chances([Question("?a", YES_NO)])
    monkeypatch.setenv(judging_server.KEY, "sk-secret")
    with pytest.raises(PartError, match="not https") as told:
        open_judge("http://judge.example/v1")
    assert "secret" not in str(told.value)


def test_texts_are_compared_without_signs():
    assert folded("  The Red-Ball! ") == "the red ball"
