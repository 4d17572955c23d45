"""A judge that is a server of the OpenAI protocol, asked with nothing but the standard library."""

from __future__ import annotations

import base64
import http.client
import io
import ipaddress
import json
import math
import os
import ssl
import string
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from tellapart.core.errors import PartError
from tellapart.core.questions import YES_NO, Question, folded

KEY = "TELLAPART_JUDGE_KEY"
AGAIN = (429, 503)
TRIES, LONGEST_PAUSE, AT_ONCE, WORDS = 3, 30.0, 4, 256
LARGEST, MOST_BYTES, TOP = 448, 2**20, 20


class Server:
    """Asks `POST ADDRESS/chat/completions`; the probability of an answer is that of the first token it would write.

    Answers other than yes and no are asked for by letter, each of which is one token. A server that gives no
    probabilities of tokens (`logprobs`) is taken at its word: 1 for the answer that it wrote.

    Pictures are sent as PNG of at most 448 pixels a side. A key is read from the environment variable
    TELLAPART_JUDGE_KEY, goes to that address alone, over https (or to this machine), and stands in no message.

    Args:
        spec: http://HOST/v1 or https://HOST/v1, then # and the name of a model; without a name: the first that the
            server lists.
        timeout: seconds that one answer may take.

    Raises:
        PartError: an address that cannot be one, a key that would be sent unprotected; a server that does not answer,
            or with something else.
    """

    def __init__(self, spec: str, *, timeout: float = 60.0) -> None:
        given = urlsplit(spec)
        try:
            port = given.port
        except ValueError:
            port = -1
        if not given.hostname or port == -1 or given.username or given.password or given.query:
            raise PartError(f"write a judge as http://HOST:PORT/v1#MODEL, with the key, if any, in {KEY}")
        self._secure, self._host, self._port = given.scheme == "https", given.hostname, port
        self._path, self._model, self._timeout = given.path.rstrip("/"), given.fragment, timeout
        self.address = f"{given.scheme}://{given.netloc}{self._path}"
        self._headers = {"content-type": "application/json", "accept": "application/json"}
        if key := os.environ.get(KEY, ""):
            if not (key.isascii() and key.isprintable()) or " " in key:
                raise PartError(f"{KEY} has letters, digits and signs alone; is it copied whole?")
            if not (self._secure or _is_here(self._host)):
                raise PartError(f"{self.address} is not https: unset {KEY}, or the key would be sent for all to read")
            self._headers["authorization"] = f"Bearer {key}"

    def __call__(self, questions: Sequence[Question]) -> list[dict[str, float] | str]:
        if not self._model:
            self._model = self._first_model()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(self._answer, questions))

    def _first_model(self) -> str:
        try:
            return str(self._ask("GET", "/models", None)["data"][0]["id"])
        except (KeyError, IndexError, TypeError):
            raise PartError(f"{self.address} lists no model: name one, {self.address}#MODEL") from None

    def _answer(self, question: Question) -> dict[str, float] | str:
        lines, names = [question.text, *question.texts], list(question.answers)
        if names and {folded(name) for name in names} != set(YES_NO):
            names = list(string.ascii_uppercase[: len(names)])
            lines += [f"{name}: {answer}" for name, answer in zip(names, question.answers, strict=True)]
        if names:
            lines.append(f"Answer with one of these alone: {', '.join(names)}.")
        text: dict[str, Any] = {"type": "text", "text": "\n".join(lines)}
        content: Any = [*map(_picture, question.pictures), text] if question.pictures else text["text"]
        body: dict[str, Any] = {
            "model": self._model, "messages": [{"role": "user", "content": content}], "temperature": 0,
            "max_tokens": 4 if names else WORDS,
        }  # fmt: skip
        if names:
            body |= {"logprobs": True, "top_logprobs": TOP}
        told = self._ask("POST", "/chat/completions", body)
        try:
            choice = told["choices"][0]
            said = str(choice["message"]["content"] or "")
            if not names:
                return said
            answer_of = {folded(name): a for name, a in zip(names, question.answers, strict=True)}
            tokens = ((choice.get("logprobs") or {}).get("content") or [{}])[0].get("top_logprobs") or []
            if tokens:
                return _shared(tokens, answer_of)
            words = folded(said).split()
            return answer_of.get(words[0], "") if words else ""
        except (KeyError, IndexError, TypeError, AttributeError, ValueError):
            raise PartError(f"{self.address} answers something else than the OpenAI protocol says") from None

    def _ask(self, method: str, path: str, body: Any) -> Any:
        data = None if body is None else json.dumps(body).encode()
        for left in reversed(range(TRIES)):
            kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
            wire = kind(self._host, self._port, timeout=self._timeout)
            try:
                wire.request(method, self._path + path, data, self._headers)
                answer = wire.getresponse()
                read = answer.read(MOST_BYTES + 1)
                status, pause = answer.status, answer.headers.get("retry-after", "")
            except (OSError, http.client.HTTPException, ssl.SSLError) as error:
                raise PartError(f"{self.address} does not answer: {type(error).__name__}") from None
            finally:
                wire.close()
            if status in AGAIN and left:
                time.sleep(min(float(pause) if pause.isdigit() else 1.0, LONGEST_PAUSE))
                continue
            break
        if status != http.client.OK:
            raise PartError(f"{self.address} answers with the status {status}{_meaning(status)}")
        if len(read) > MOST_BYTES:
            raise PartError(f"{self.address} answers with more than {MOST_BYTES:,} bytes")
        try:
            return json.loads(read)
        except ValueError:
            raise PartError(f"{self.address} answers with something that is no JSON") from None


def _shared(tokens: Sequence[Mapping[str, Any]], answer_of: Mapping[str, str]) -> dict[str, float]:
    """What the tokens that could come first give to each answer; the rest is none of them."""
    p = dict.fromkeys(answer_of.values(), 0.0)
    for token in tokens:
        if (name := folded(str(token["token"]))) in answer_of:
            p[answer_of[name]] += math.exp(min(0.0, float(token["logprob"])))
    most = max(1.0, sum(p.values()))
    return {answer: chance / most for answer, chance in p.items()}


def _picture(picture: Image.Image) -> dict[str, Any]:
    small = picture.convert("RGB")
    small.thumbnail((LARGEST, LARGEST))
    out = io.BytesIO()
    small.save(out, "PNG")
    held = base64.b64encode(out.getvalue()).decode()
    return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{held}"}}


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _meaning(status: int) -> str:
    if status in (401, 403):
        return f": is the key in {KEY} right?"
    if status in AGAIN:
        return ": it is busy; try later"
    return ": is this the address of the protocol, and does it know the model?" if status == 404 else ""
