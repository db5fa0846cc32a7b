"""The UMT5 text encoder of the Wan models, from the model directory, through transformers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, UMT5EncoderModel
from transformers.utils import logging

from ...errors import ModelError
from ..config import TextConfig
from ..text import one_sentence, padded, require_length

ENCODER_FOLDER, TOKENIZER_FOLDER = "text_encoder", "tokenizer"


class Umt5Text:
    """A TextEncoder. Features of the tokens, the closing one included, then zeros up to max_tokens, as the Wan models
    were trained. Padding is never seen by the encoder: its attention would be masked there anyway."""

    def __init__(self, encoder: UMT5EncoderModel, tokenizer, config: TextConfig) -> None:
        self.encoder, self.tokenizer, self.config = encoder.eval().requires_grad_(False), tokenizer, config

    def __call__(self, instruction: str) -> tuple[np.ndarray, np.ndarray]:
        return self._encode(one_sentence(instruction))

    def empty(self) -> tuple[np.ndarray, np.ndarray]:
        return self._encode("")

    def _encode(self, text: str) -> tuple[np.ndarray, np.ndarray]:
        ids = self.tokenizer(text, add_special_tokens=True).input_ids
        require_length(len(ids), self.config, text)
        with torch.inference_mode():
            tokens = torch.tensor([ids], device=self.encoder.device)
            features = self.encoder(input_ids=tokens, attention_mask=torch.ones_like(tokens)).last_hidden_state[0]
        return padded(features.float().cpu().numpy(), self.config)


def load_umt5(directory: Path, config: TextConfig) -> Umt5Text:
    """`directory`/text_encoder and `directory`/tokenizer, as transformers stores them, in their stored precision.

    Raises ModelError where anything is missing or does not fit.
    """
    directory = Path(directory)
    for folder in (ENCODER_FOLDER, TOKENIZER_FOLDER):
        if not (directory / folder).is_dir():
            raise ModelError(f"{directory} has no {folder}/; copy that folder of the Wan2.2-TI2V model in diffusers' "
                             "layout there")
    logging.disable_progress_bar()
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory / TOKENIZER_FOLDER, local_files_only=True)
        encoder, info = UMT5EncoderModel.from_pretrained(directory / ENCODER_FOLDER, output_loading_info=True,
                                                         local_files_only=True, dtype="auto")
    except (OSError, ValueError, RuntimeError, TypeError, KeyError, ImportError) as e:
        line = (str(e).strip().splitlines() or [type(e).__name__])[0][:200]
        raise ModelError(f"{directory}: the text encoder can not be read ({line}); copy {ENCODER_FOLDER}/ and "
                         f"{TOKENIZER_FOLDER}/ again") from e
    odd = {kind: names for kind, names in info.items() if names}
    if odd:
        raise ModelError(f"{directory / ENCODER_FOLDER}: weights and config.json disagree: "
                         + "; ".join(f"{kind} {sorted(map(str, names))[:4]}" for kind, names in odd.items()))
    if encoder.config.d_model != config.width:
        raise ModelError(f"{directory / ENCODER_FOLDER} has features of width {encoder.config.d_model}, config.json "
                         f"says text.width {config.width}; they must be of one model")
    return Umt5Text(encoder, tokenizer, config)
