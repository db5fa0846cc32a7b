"""Boards whose markers are mostly too small, or covered: corners are followed where the print says they must be."""

import cv2
import numpy as np
import pytest

from action_images_ros.calibration.boards import Board
from action_images_ros.calibration.detect import BoardDetector
from action_images_ros.calibration.printing import board_image

BOARD = Board.parse("charuco:6x4:45/31mm:4X4_50")
TEXTURE_PX_PER_M = 4000.0
SIZE = (640, 480)


def picture(square_px: float, turn_deg: float, cover=None) -> tuple[np.ndarray, np.ndarray]:
    """A blurred, noisy picture of the board and where (N, 2) its corners are."""
    texture = board_image(BOARD, TEXTURE_PX_PER_M, 0.01)
    per_m = round(TEXTURE_PX_PER_M * BOARD.pitch_m) / BOARD.pitch_m
    s, turn = square_px / BOARD.pitch_m, np.deg2rad(turn_deg)
    R = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ np.diag([1.0, 0.85])
    H = np.eye(3)
    H[:2, :2], H[:2, 2], H[2, :2] = s * R, (310.0, 240.0), (0.2, -0.15)
    put = H @ np.array([[1, 0, -texture.shape[1] / 2 / per_m], [0, 1, -texture.shape[0] / 2 / per_m], [0, 0, 1]])
    put = put @ np.diag([1 / per_m, 1 / per_m, 1.0]) @ np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    fine = np.array([[4, 0, 1.5], [0, 4, 1.5], [0, 0, 1]]) @ put
    large = cv2.warpPerspective(texture, fine, (4 * SIZE[0], 4 * SIZE[1]), flags=cv2.INTER_AREA, borderValue=120)
    image = cv2.resize(large, SIZE, interpolation=cv2.INTER_AREA)
    uv = cv2.perspectiveTransform(BOARD.points[None, :, :2], H)[0]
    if cover is not None:
        cv2.circle(image, tuple(int(v) for v in uv[cover]), int(1.2 * square_px), 60, -1)
    noise = np.random.default_rng(1).normal(0, 2, image.shape)
    return np.clip(cv2.GaussianBlur(image, (0, 0), 0.6) + noise, 0, 255).astype(np.uint8), uv


def markers_read(image: np.ndarray) -> int:
    _, ids, _ = cv2.aruco.ArucoDetector(BOARD._dictionary, cv2.aruco.DetectorParameters()).detectMarkers(image)
    return 0 if ids is None else len(ids)


@pytest.mark.parametrize(("square_px", "turn_deg"), [(17.0, 20.0), (18.0, 45.0), (17.0, 70.0)])
def test_a_board_is_seen_whole_where_hardly_a_marker_can_be_read(square_px, turn_deg):
    image, uv = picture(square_px, turn_deg)
    assert markers_read(image) < 6
    (found,) = BoardDetector({"b": BOARD}).detect(image)
    assert len(found) >= 14
    assert np.linalg.norm(found.uv - uv[found.ids], axis=1).max() < 0.3


def test_covered_corners_are_not_made_up():
    image, uv = picture(30.0, 30.0, cover=7)
    (found,) = BoardDetector({"b": BOARD}).detect(image)
    hidden = np.linalg.norm(uv - uv[7], axis=1) < 1.1 * 30.0 * 0.85
    assert hidden.sum() >= 3 and not set(np.flatnonzero(hidden)) & set(found.ids)
    off = np.sort(np.linalg.norm(found.uv - uv[found.ids], axis=1))
    assert len(found) >= 8 and off[-2] < 0.2 and off[-1] < 1.0


def test_large_boards_are_found_whole_and_well():
    for square_px in (25.0, 40.0, 60.0):
        image, uv = picture(square_px, 10.0)
        (found,) = BoardDetector({"b": BOARD}).detect(image)
        assert len(found) == len(BOARD.points)
        assert np.linalg.norm(found.uv - uv[found.ids], axis=1).max() < 0.16
