"""What is given and what is generated in each mode, and the order of segments on the canvas."""

import numpy as np
import pytest
import torch

from action_images_ros.errors import ModelError
from action_images_ros.model.canvas import CanvasLayout, Mode, pack, restore_clean, unpack

T = 5
FIRST, ALL = (True, False, False, False, False), (True,) * T


@pytest.mark.parametrize(("mode", "clean_video", "clean_action"), [
    (Mode.POLICY, (True,), FIRST),
    (Mode.JOINT, FIRST, FIRST),
    (Mode.WORLD, FIRST, ALL),
    (Mode.LABEL, ALL, FIRST),
    (Mode.VIDEO, FIRST, ()),
])
def test_layout_of_each_mode(mode, clean_video, clean_action):
    layout = CanvasLayout.for_mode(mode, 2, T, T)
    assert (layout.clean_video, layout.clean_action) == (clean_video, clean_action)
    assert layout.frames == 2 * (len(clean_video) + len(clean_action))


def test_policy_canvas_of_the_full_size_model_has_24_latent_frames():
    assert CanvasLayout.for_mode(Mode.POLICY, 2, 11, 11).frames == 24
    assert CanvasLayout.for_mode(Mode.JOINT, 2, 11, 11).frames == 44


@pytest.mark.parametrize("mode", [Mode.POLICY, Mode.JOINT, Mode.LABEL])
def test_committed_frames_are_clean_after_the_first(mode):
    layout = CanvasLayout.for_mode(mode, 2, T, T, committed_frames=2)
    assert layout.clean_action == (True, True, True, False, False)


@pytest.mark.parametrize("committed", [-1, T - 1, T])
def test_committed_frames_that_leave_nothing_are_refused(committed):
    with pytest.raises(ModelError, match="legal: 0 to 3"):
        CanvasLayout.for_mode(Mode.POLICY, 2, T, T, committed)


def test_unknown_mode_names_the_legal_ones():
    with pytest.raises(ModelError, match="'control'; legal: policy, joint, world, label, video"):
        Mode.parse("control")


def numbered(kind, frames):
    """Every latent frame filled with 100 view + 10 kind + frame."""
    views = np.arange(2)[:, None] * 100 + kind * 10 + np.arange(frames)
    return np.broadcast_to(views[None, :, :, None, None, None], (1, 2, frames, 3, 4, 4)).astype(np.float32)


@pytest.mark.parametrize("library", [np.asarray, torch.tensor])
def test_packing_is_view_major_and_reversible(library):
    video, action = library(numbered(0, 2)), library(numbered(1, 3))
    packed = pack(video, action)
    assert [int(x) for x in packed[0, :, 0, 0, 0]] == [0, 1, 10, 11, 12, 100, 101, 110, 111, 112]
    for back, original in zip(unpack(packed, 2, 2), (video, action)):
        assert np.array_equal(np.asarray(back), np.asarray(original))


def test_segments_of_different_latents_cannot_be_packed():
    with pytest.raises(ModelError, match="differ in shape"):
        pack(np.zeros((1, 2, 1, 48, 4, 4)), np.zeros((1, 2, 3, 3, 4, 4)))


@pytest.mark.parametrize("library", [np.asarray, torch.tensor])
def test_restore_clean_touches_the_clean_frames_only(library):
    layout = CanvasLayout.for_mode(Mode.POLICY, 2, T, T, committed_frames=1)
    sample, clean = library(np.ones((1, 2, T, 1, 1, 1))), library(np.zeros((1, 2, T, 1, 1, 1)))
    out = restore_clean(sample, clean, layout.action_mask(sample))
    assert np.asarray(out)[0, :, :, 0, 0, 0].tolist() == [[0, 0, 1, 1, 1]] * 2
