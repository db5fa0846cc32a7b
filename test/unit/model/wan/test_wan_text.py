"""UMT5 from a model directory, as the Wan models use it: padded to a length, zero where there is no token."""

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from wan_directory import WORDS, write_text_encoder

from action_images_ros.errors import ModelError
from action_images_ros.model.config import TextConfig
from action_images_ros.model.text import make_text_encoder

CONFIG = TextConfig("umt5_xxl", 7, 16)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("text")
    write_text_encoder(path)
    return path


@pytest.fixture(scope="module")
def encoder(directory):
    return make_text_encoder(CONFIG, directory)


def published(encoder, sentence):
    """As diffusers' Wan pipelines: tokens padded to the full length, attention masked, then the padding set to zero."""
    ids = [WORDS.index(word) for word in sentence.split()] + [WORDS.index("</s>")]
    mask = torch.arange(CONFIG.max_tokens)[None] < len(ids)
    padded = torch.zeros(1, CONFIG.max_tokens, dtype=torch.long)
    padded[0, : len(ids)] = torch.tensor(ids)
    states = encoder.encoder(padded, mask.long()).last_hidden_state[0]
    return (states * mask[0, :, None]).numpy(), mask[0].numpy()


@pytest.mark.parametrize("sentence", ["reach the red ball", "now", "reach the blue ball now reach"])
def test_features_are_those_of_the_published_pipeline(encoder, sentence):
    features, mask = encoder(sentence)
    want, shown = published(encoder, sentence)
    np.testing.assert_allclose(features, want, atol=1e-5)
    np.testing.assert_array_equal(mask, shown)
    assert features.dtype == np.float32 and not features[~mask].any()


def test_no_instruction_is_the_closing_token_alone(encoder):
    features, mask = encoder.empty()
    np.testing.assert_allclose(features, published(encoder, "")[0], atol=1e-6)
    assert mask.sum() == 1
    with pytest.raises(ModelError, match="instruction is empty"):
        encoder("  ")


def test_white_space_means_nothing_and_length_is_limited(encoder):
    np.testing.assert_array_equal(encoder("  reach\n the red  ball")[0], encoder("reach the red ball")[0])
    with pytest.raises(ModelError, match="has 8 tokens; this model reads at most 7"):
        encoder("reach the red ball reach the ball")


def test_only_a_whole_encoder_of_the_right_width_is_taken(directory, tmp_path):
    with pytest.raises(ModelError, match="width 16, config.json says text.width 32"):
        make_text_encoder(TextConfig("umt5_xxl", 7, 32), directory)
    shutil.copytree(directory, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "text_encoder" / "model.safetensors"
    weights = load_file(path)
    del weights["encoder.block.1.layer.0.SelfAttention.q.weight"]
    save_file(weights, path, {"format": "pt"})
    with pytest.raises(ModelError, match=r"block.1.layer.0.SelfAttention.q.weight"):
        make_text_encoder(CONFIG, tmp_path)
    (tmp_path / "tokenizer" / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="can not be read"):
        make_text_encoder(CONFIG, tmp_path)
