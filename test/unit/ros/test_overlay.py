"""Predictions are drawn where they are."""

import numpy as np
import pytest

from action_images_ros.errors import EncodingError
from action_images_ros.geometry import PinholeCamera
from action_images_ros.overlay import captioned, draw_chunk, enlarged, grid, stacked, strip
from action_images_ros.types import ActionChunk

CAMERA = PinholeCamera(np.array([[200.0, 0, 159.5], [0, 200, 119.5], [0, 0, 1]]), (320, 240), np.eye(4))


def chunk(positions, credible=None) -> ActionChunk:
    poses = np.stack([np.eye(4)] * len(positions))
    poses[:, :3, 3] = positions
    c = ActionChunk.from_poses(poses, np.ones(len(positions)))
    if credible is not None:
        c.credible[:] = credible
    return c


def changed(image: np.ndarray) -> np.ndarray:
    """(x, y) of every pixel that is not black."""
    y, x = np.nonzero(image.any(-1))
    return np.stack([x, y], -1)


def test_the_path_goes_through_the_projected_points():
    c = chunk([(-0.2, 0, 1), (0.2, 0, 1)])
    black = np.zeros((240, 320, 3), np.uint8)
    drawn = draw_chunk(black, c, CAMERA)
    assert not black.any()
    for uv in CAMERA.project(c.base_T_tcps[:, :3, 3]):
        assert np.abs(changed(drawn) - uv).max(1).min() < 1
    assert drawn[119:121, 150:170].any(-1).any(0).all()


def test_what_is_not_credible_is_a_grey_dot_and_no_path():
    drawn = draw_chunk(np.zeros((240, 320, 3), np.uint8), chunk([(-0.2, 0, 1), (0.2, 0, 1)], [True, False]), CAMERA)
    assert not drawn[110:130, 150:170].any()
    x, y = np.rint(CAMERA.project(np.array([0.2, 0, 1]))).astype(int)
    assert len(set(drawn[y, x].tolist())) == 1 and drawn[y, x, 0] > 0


def test_points_behind_the_camera_are_left_out():
    drawn = draw_chunk(np.zeros((240, 320, 3), np.uint8), chunk([(0, 0, -1), (0, 0, -2)]), CAMERA)
    assert not drawn.any()


def test_a_picture_of_another_size_is_refused():
    with pytest.raises(EncodingError, match="640x480"):
        draw_chunk(np.zeros((480, 640, 3), np.uint8), chunk([(0, 0, 1)]), CAMERA)


def test_pictures_side_by_side():
    tiles = np.random.default_rng(0).integers(0, 255, (9, 6, 8, 3), np.uint8)
    big = enlarged(tiles[0], 12)
    np.testing.assert_array_equal(big[::2, ::2], tiles[0])
    s = strip(tiles, 12, columns=3)
    assert s.shape == (12, 3 * (16 + 2), 3)
    np.testing.assert_array_equal(s[:, -18:-2], enlarged(tiles[-1], 12))
    square = grid(tiles[:5], 12)
    assert square.shape == (2 * 14, 3 * 18, 3) and square[14:, 36:-2].max() <= 60
    np.testing.assert_array_equal(square[14:26, 18:34], enlarged(tiles[4], 12))
    rows = stacked([big, s])
    assert rows.shape == (24, s.shape[1], 3)
    assert captioned(s, "text").shape[1] == s.shape[1] and captioned(s, "text")[:20].max() > 200
