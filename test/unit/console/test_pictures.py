"""The newest picture of each view: small, drawn over, encoded."""

import cv2
import numpy as np
import pytest

from action_images_ros.console.pictures import ACTIONS, LIVE, VIDEO, Pictures
from action_images_ros.errors import EncodingError
from action_images_ros.geometry import PinholeCamera
from action_images_ros.types import ActionChunk

CAMERA = PinholeCamera(np.array([[500.0, 0, 319.5], [0, 500.0, 239.5], [0, 0, 1]]), (640, 480), np.eye(4))


def decoded(jpeg) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(jpeg.data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


def newest(pictures: Pictures, kind: str):
    return {j.kind: j for j in pictures.after({})}[kind]


def test_a_live_picture_is_narrowed_and_carries_the_prediction_where_the_camera_sees_it():
    pictures = Pictures({"left": CAMERA}, width_px=320)
    poses = np.repeat(np.eye(4)[None], 5, axis=0)
    poses[:, :3, 3] = np.linspace([-0.2, 0, 1.0], [0.2, 0, 1.0], 5)
    chunk = ActionChunk.from_poses(poses, np.ones(5), 1, 0.4)
    grey = np.full((480, 640, 3), 60, np.uint8)
    pictures.live("left", grey, None)
    plain = decoded(newest(pictures, LIVE))
    pictures.live("left", grey, chunk)
    drawn = decoded(newest(pictures, LIVE))
    assert plain.shape == drawn.shape == (240, 320, 3) and plain.std() < 3
    changed = np.abs(drawn.astype(int) - plain).max(axis=2) > 60
    y, x = np.nonzero(changed)
    assert abs(y.mean() - 119.5) < 15 and x.min() < 115 and x.max() > 205
    assert pictures.small("left").std() == 0


def test_only_what_is_newer_is_handed_out():
    pictures = Pictures({"left": CAMERA, "right": CAMERA})
    grey = np.zeros((480, 640, 3), np.uint8)
    for view in ("left", "right", "left"):
        pictures.live(view, grey, None)
    seen = {(j.kind, j.view): j.number for j in pictures.after({})}
    assert seen == {(LIVE, "left"): 2, (LIVE, "right"): 1} and pictures.after(seen) == []
    pictures.actions("right", np.zeros((9, 24, 24, 3), np.uint8))
    pictures.video("right", np.zeros((9, 96, 96, 3), np.uint8))
    assert {j.kind for j in pictures.after(seen)} == {ACTIONS, VIDEO}


def test_a_picture_of_another_shape_is_refused():
    with pytest.raises(EncodingError, match="480x640.*another shape"):
        Pictures({"left": CAMERA}).live("left", np.zeros((640, 480, 3), np.uint8), None)
