"""Instruction -> token features, from a text encoder that a pip package carries (no download at run time)."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from ..errors import ModelError
from .config import TextConfig


class TextEncoder(Protocol):
    """Instruction -> (L, width) float32 token features and (L,) bool mask, True where there is a token."""

    def __call__(self, instruction: str) -> tuple[np.ndarray, np.ndarray]: ...


class WordLlamaText:
    """Static token embeddings (32 000 x 256, from the token table of a large language model) of the `wordllama` wheel.

    Reads the wheel's two data files; nothing of the package is imported. Features are scaled to unit mean square.
    """

    def __init__(self, config: TextConfig) -> None:
        self._config = config
        self._tokenizer, self._table = _wordllama_files()
        if self._table.shape[1] != config.width:
            raise ModelError(f"text.width is {config.width} but wordllama's table has {self._table.shape[1]} columns")

    def __call__(self, instruction: str) -> tuple[np.ndarray, np.ndarray]:
        text = " ".join(instruction.lower().split())
        if not text:
            raise ModelError("the instruction is empty; publish a sentence such as 'reach the red ball'")
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        limit = self._config.max_tokens
        if len(ids) > limit:
            raise ModelError(f"the instruction {instruction!r} has {len(ids)} tokens; this model reads at most {limit}: shorten it")
        features = np.zeros((limit, self._config.width), np.float32)
        features[: len(ids)] = self._table[ids]
        return features, np.arange(limit) < len(ids)


@lru_cache(maxsize=1)
def _wordllama_files():
    from safetensors.numpy import load_file
    from tokenizers import Tokenizer

    spec = importlib.util.find_spec("wordllama")
    if spec is None or spec.origin is None:
        raise ModelError("the text encoder needs the pip package 'wordllama': pip install wordllama")
    root = Path(spec.origin).parent
    tokenizer = Tokenizer.from_file(str(root / "tokenizers" / "l2_supercat_tokenizer_config.json"))
    table = next(iter(load_file(str(root / "weights" / "l2_supercat_256.safetensors")).values())).astype(np.float32)
    return tokenizer, table / np.sqrt(np.mean(table**2))


def make_text_encoder(config: TextConfig) -> TextEncoder:
    if config.encoder == "wordllama_256":
        return WordLlamaText(config)
    raise ModelError(f"text encoder {config.encoder!r} has no implementation that runs without its weights; legal here: wordllama_256")
