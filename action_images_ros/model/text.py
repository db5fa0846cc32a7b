"""Instruction -> token features, from a text encoder that a pip package carries (no download at run time)."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from ..errors import ModelError, pip_install
from .config import TextConfig


class TextEncoder(Protocol):
    """Instruction -> (L, width) float32 token features, zero where there is no token, and (L,) bool mask, True where
    there is one. `empty` gives the same for no instruction, which guidance is measured from."""

    def __call__(self, instruction: str) -> tuple[np.ndarray, np.ndarray]: ...
    def empty(self) -> tuple[np.ndarray, np.ndarray]: ...


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
        text = one_sentence(instruction).lower()
        ids = self._tokenizer.encode(text, add_special_tokens=False).ids
        require_length(len(ids), self._config, instruction)
        return padded(self._table[ids], self._config)

    def empty(self) -> tuple[np.ndarray, np.ndarray]:
        return padded(self._table[:0], self._config)


def one_sentence(instruction: str) -> str:
    """White space made plain. Raises ModelError where nothing is left."""
    text = " ".join(instruction.split())
    if not text:
        raise ModelError("the instruction is empty; publish a sentence such as 'reach the red ball'")
    return text


def require_length(tokens: int, config: TextConfig, instruction: str) -> None:
    """Raise ModelError where an instruction has more tokens than the model reads."""
    if tokens > config.max_tokens:
        raise ModelError(f"the instruction {instruction!r} has {tokens} tokens; this model reads at most "
                         f"{config.max_tokens}: shorten it")


def padded(features: np.ndarray, config: TextConfig) -> tuple[np.ndarray, np.ndarray]:
    """(n, width) -> (max_tokens, width) float32 filled up with zeros, and the mask."""
    out = np.zeros((config.max_tokens, config.width), np.float32)
    out[: len(features)] = features
    return out, np.arange(config.max_tokens) < len(features)


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


def make_text_encoder(config: TextConfig, directory: Path | None = None) -> TextEncoder:
    """directory: the model directory, whose `text_encoder/` and `tokenizer/` UMT5 is read from; wordllama needs none.

    Raises ModelError where the encoder is missing or not the one that the configuration describes.
    """
    if config.encoder == "wordllama_256":
        return WordLlamaText(config)
    if directory is None:
        raise ModelError("text encoder 'umt5_xxl' is read from the model directory; give the directory")
    try:
        from .wan.text import load_umt5
    except ModuleNotFoundError as e:
        raise ModelError(f"text encoder 'umt5_xxl' needs {e.name}: {pip_install('train')}") from e
    return load_umt5(Path(directory), config)
