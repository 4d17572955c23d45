"""A judge that is a language model in a folder of the library transformers."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tellapart.core.errors import DataError, PartError
from tellapart.core.needs import require
from tellapart.core.questions import Question

WORDS = 128


class LocalModel:
    """Answers by how likely each answer is behind the question, and in words by the likeliest next word.

    The probability of an answer is that of all its tokens, shared out among the answers that were given. Weights are
    read from safetensors only, and code that a model brings along is not run. A model with pictures (a folder whose
    config has a `vision_config`) reads both; one without refuses questions about pictures.

    Args:
        folder: as `save_pretrained` writes it, with its tokeniser (and processor).

    Raises:
        PartError: no such folder, or a model that cannot be loaded or used so.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        if not folder or not (Path(folder) / "config.json").is_file():
            raise PartError(f"local:{folder} names no model: save one with save_pretrained, and name its folder")

    def __call__(self, questions: Sequence[Question]) -> list[dict[str, float] | str]:
        return [self._chosen(question) if question.answers else self._said(question) for question in questions]

    @cached_property
    def _loaded(self) -> tuple[Any, Any, bool]:
        library = require("transformers", "the judge local")
        require("torch", "the judge local")
        given: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            config = library.AutoConfig.from_pretrained(self.folder, **given)
            if getattr(config, "is_encoder_decoder", False):
                raise PartError(f"{self.folder} reads and writes by two networks; a judge has one that goes on writing")
            sees = hasattr(config, "vision_config")
            # Each name imports what stands behind it when it is asked for.
            model = library.AutoModelForImageTextToText if sees else library.AutoModelForCausalLM
            reader = library.AutoProcessor if sees else library.AutoTokenizer
            made = model.from_pretrained(self.folder, use_safetensors=True, **given).eval()
            return made, reader.from_pretrained(self.folder, **given), sees
        except (OSError, ValueError, KeyError, ImportError) as error:
            if isinstance(error, PartError):
                raise
            words = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise PartError(f"the judge {self.folder} cannot be loaded: {words}") from None

    def _prompt(self, question: Question) -> str:
        """What the model reads before it answers, in the form that it was trained on where its folder says so."""
        reader = self._loaded[1]
        lines = [question.text, *question.texts]
        if question.answers:
            lines.append(f"Answer with one of these alone: {', '.join(question.answers)}.")
        text = "\n".join(lines)
        if getattr(reader, "chat_template", None) is None:
            return f"{text}\nAnswer:"
        content: Any = [*({"type": "image"} for _ in question.pictures), {"type": "text", "text": text}]
        said = [{"role": "user", "content": content if self._loaded[2] else text}]
        return str(reader.apply_chat_template(said, add_generation_prompt=True, tokenize=False))

    def _read(self, question: Question, text: str) -> Any:
        reader, sees = self._loaded[1:]
        if question.pictures and not sees:
            raise DataError(f"the judge {self.folder} reads words alone, and was asked about pictures")
        pictures = {"images": [picture.convert("RGB") for picture in question.pictures]} if question.pictures else {}
        return reader(text=text, return_tensors="pt", **pictures)

    def _chosen(self, question: Question) -> dict[str, float]:
        import torch

        model, prompt = self._loaded[0], self._prompt(question)
        before = self._read(question, prompt)["input_ids"][0].tolist()
        gap = "" if prompt[-1:].isspace() else " "
        logs = []
        for answer in question.answers:
            read = self._read(question, prompt + gap + answer)
            ids = read["input_ids"][0]
            # A tokeniser may join the last sign of the question and the first of the answer.
            start = next((i for i, (a, b) in enumerate(zip(before, ids.tolist(), strict=False)) if a != b), len(before))
            if not 0 < start < len(ids):
                raise PartError(f"the tokeniser of {self.folder} makes nothing of the answer {answer!r}")
            with torch.inference_mode():
                scores = model(**read).logits[0].float().log_softmax(dim=-1)
            if not torch.isfinite(scores).all():
                raise PartError(f"the judge {self.folder} gives probabilities that are not finite")
            logs.append(float(scores[start - 1 : -1].gather(1, ids[start:, None]).sum()))
        p = np.exp(np.array(logs) - max(logs))
        return dict(zip(question.answers, (p / p.sum()).tolist(), strict=True))

    def _said(self, question: Question) -> str:
        import torch

        model, reader, _ = self._loaded
        read = self._read(question, self._prompt(question))
        with torch.inference_mode():
            ids = model.generate(**read, max_new_tokens=WORDS, do_sample=False)
        return str(reader.decode(ids[0, read["input_ids"].shape[1] :], skip_special_tokens=True))
