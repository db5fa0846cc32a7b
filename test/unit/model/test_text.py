"""Instructions as features."""

import numpy as np
import pytest

from action_images_ros.errors import ModelError
from action_images_ros.model.config import TextConfig
from action_images_ros.model.text import make_text_encoder


@pytest.fixture(scope="module")
def text():
    return make_text_encoder(TextConfig(max_tokens=12))


def test_tokens_come_first_and_padding_is_masked(text):
    words, mask = text("reach the red ball")
    assert words.shape == (12, 256) and words.dtype == np.float32 and mask.shape == (12,) and mask.dtype == bool
    n = int(mask.sum())
    assert 4 <= n <= 6 and mask[:n].all()
    assert np.abs(words[:n]).sum(-1).min() > 0 and not words[n:].any()


def test_instructions_that_mean_different_balls_differ_only_in_the_colour(text):
    red, blue = text("reach the red ball")[0], text("reach the blue ball")[0]
    same = np.all(red == blue, -1)
    assert same.sum() == 11 and not np.allclose(red[~same], blue[~same])


def test_case_and_spaces_do_not_matter(text):
    assert np.array_equal(text("  Reach the\n RED ball ")[0], text("reach the red ball")[0])


def test_features_have_the_scale_that_layers_expect(text):
    words, mask = text("reach the red ball, then close the drawer")
    assert 0.3 < np.sqrt(np.mean(words[mask] ** 2)) < 3.0


@pytest.mark.parametrize("instruction", ["", "   \n"])
def test_an_empty_instruction_is_refused(text, instruction):
    with pytest.raises(ModelError, match="empty; publish a sentence"):
        text(instruction)


def test_too_long_an_instruction_is_refused_not_cut(text):
    with pytest.raises(ModelError, match="13 tokens; this model reads at most 12"):
        text(" ".join(["ball"] * 13))


def test_features_of_another_width_are_refused():
    with pytest.raises(ModelError, match="text.width is 64 but wordllama's table has 256"):
        make_text_encoder(TextConfig(width=64))


def test_an_encoder_that_has_no_files_says_so():
    with pytest.raises(ModelError, match="umt5_xxl"):
        make_text_encoder(TextConfig("umt5_xxl", 512, 4096))
