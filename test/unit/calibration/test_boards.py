import re
import struct
import zlib

import cv2
import numpy as np
import pytest

from action_images_ros.calibration import Board, BoardDetector
from action_images_ros.calibration.printing import board_image, save_board
from action_images_ros.errors import CalibrationError

BOARDS = [
    "charuco:6x4:45/31mm:4X4_50",
    "charuco:7x5:45/31mm:4X4_50+20",
    "charuco:5x6:30/21mm:5X5_100:legacy",
    "apriltag:4x3:50/40mm:APRILTAG_36h11",
    "apriltag:2x2:80/60mm:APRILTAG_16h5+5",
]
_PX_PER_M = 4000.0


def _seen(board, H, size=(960, 720)):
    """The board drawn by the homography H (metres -> px), finely oversampled, and where its points must be."""
    fine = 3
    margin = 0.02
    image = board_image(board, _PX_PER_M, margin)
    per_m = round(_PX_PER_M * board.pitch_m) / board.pitch_m
    edge = round(margin * per_m)
    half = np.array(board.size_m) / 2
    to_texture = np.array(
        [[per_m, 0, per_m * half[0] + edge - 0.5], [0, per_m, per_m * half[1] + edge - 0.5], [0, 0, 1]]
    )
    grow = np.array([[fine, 0, (fine - 1) / 2], [0, fine, (fine - 1) / 2], [0, 0, 1]])
    big = cv2.warpPerspective(
        image,
        grow @ H @ np.linalg.inv(to_texture),
        (size[0] * fine, size[1] * fine),
        flags=cv2.INTER_AREA,
        borderValue=190,
    )
    small = cv2.GaussianBlur(cv2.resize(big, size, interpolation=cv2.INTER_AREA), (0, 0), 0.6)
    p = np.column_stack([board.points[:, :2], np.ones(len(board.points))]) @ H.T
    return small, p[:, :2] / p[:, 2:]


@pytest.mark.parametrize("text", BOARDS)
def test_detected_points_are_the_named_points_to_a_fraction_of_a_pixel(text):
    board = Board.parse(text)
    H = np.array([[1500.0, 220, 470], [-260, 1400, 350], [0.25, 0.18, 1]])
    image, truth = _seen(board, H)
    image = np.clip(image + np.random.default_rng(0).normal(0, 2, image.shape), 0, 255).astype(np.uint8)
    (found,) = BoardDetector({"b": board}).detect(np.repeat(image[..., None], 3, 2))
    inside = np.all((truth > 8) & (truth < np.array(image.shape[::-1]) - 9), axis=1)
    assert found.board == "b"
    assert set(found.ids) <= set(np.flatnonzero(np.all((truth > 0) & (truth < image.shape[::-1]), axis=1)))
    assert len(found) >= 0.9 * inside.sum()
    off = found.uv - truth[found.ids]
    limit = 0.05 if text.startswith("charuco") else 0.25
    assert np.sqrt((off**2).mean()) < limit


def test_two_boards_in_one_picture_are_told_apart():
    boards = {"a": Board.parse("charuco:5x4:40/28mm:4X4_50"), "b": Board.parse("charuco:5x4:40/28mm:4X4_50+20")}
    left, _ = _seen(boards["a"], np.array([[1400.0, 0, 240], [0, 1400, 300], [0, 0, 1]]))
    right, _ = _seen(boards["b"], np.array([[1400.0, 0, 700], [0, 1400, 400], [0, 0, 1]]))
    both = np.where(np.arange(960) < 460, left, right)
    assert {d.board: len(d) for d in BoardDetector(boards).detect(both)} == {"a": 12, "b": 12}


def test_a_picture_without_a_board_gives_nothing():
    image = np.random.default_rng(0).integers(0, 255, (480, 640), np.uint8)
    assert BoardDetector({"b": Board.parse(BOARDS[0])}).detect(image) == ()


def test_boards_that_share_markers_are_refused():
    with pytest.raises(CalibrationError, match="both have marker 5 of 4X4_50"):
        BoardDetector(
            {"a": Board.parse("charuco:6x4:45/31mm:4X4_50"), "b": Board.parse("charuco:6x4:45/31mm:4X4_50+5")}
        )


@pytest.mark.parametrize("text", BOARDS)
def test_names_round_trip(text):
    board = Board.parse(text)
    assert Board.parse(board.text) == board
    assert board.text == text


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("charuco:6x4:45mm:4X4_50", "write it like charuco:7x5:40/30mm:4X4_50"),
        ("chess:6x4:45/31mm:4X4_50", "legal: apriltag, charuco"),
        ("charuco:6x4:45/31mm:4X4_7", "board dictionary is '4X4_7'"),
        ("charuco:6x4:31/45mm:4X4_50", "0 < marker < pitch"),
        ("charuco:12x10:20/14mm:4X4_50", "has 0 to 49"),
    ],
)
def test_bad_names_say_what_is_legal(text, complaint):
    with pytest.raises(CalibrationError, match=re.escape(complaint)):
        Board.parse(text)


def test_the_board_frame_is_centred_with_x_right_and_y_down():
    board = Board.parse(BOARDS[0])
    np.testing.assert_allclose(board.points.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(board.points[1] - board.points[0], [0.045, 0, 0], atol=1e-7)
    np.testing.assert_allclose(board.points[5] - board.points[0], [0, 0.045, 0], atol=1e-7)


def test_a_printed_png_says_its_resolution(tmp_path):
    board = Board.parse("charuco:6x4:45/31mm:4X4_50")
    width, height = save_board(board, tmp_path / "b.png", dpi=300, margin_m=0.01)
    raw = (tmp_path / "b.png").read_bytes()
    at = raw.index(b"pHYs")
    per_m, _, unit = struct.unpack(">IIB", raw[at + 4 : at + 13])
    assert zlib.crc32(raw[at : at + 13]) == struct.unpack(">I", raw[at + 13 : at + 17])[0]
    image = cv2.imread(str(tmp_path / "b.png"), cv2.IMREAD_GRAYSCALE)
    assert unit == 1
    assert image.shape[1] / per_m * 1e3 == pytest.approx(width, rel=1e-3)
    (found,) = BoardDetector({"b": board}).detect(image)
    square = np.linalg.norm(found.uv[1] - found.uv[0]) / per_m
    assert square == pytest.approx(0.045, rel=2e-4)
    assert (width, height) == (pytest.approx(290, abs=0.3), pytest.approx(200, abs=0.3))


def test_a_printed_pdf_has_the_size_of_the_board(tmp_path):
    board = Board.parse("apriltag:4x3:50/40mm:APRILTAG_36h11")
    width, height = save_board(board, tmp_path / "b.pdf")
    raw = (tmp_path / "b.pdf").read_bytes()
    scale = [float(v) for v in re.search(rb"q ([\d.]+) 0 0 ([\d.]+) 0 [\d.]+ cm", zlib_free(raw)).groups()]
    assert np.array(scale) / 72 * 25.4 == pytest.approx([width, height], abs=0.01)
    assert raw.startswith(b"%PDF-1.4") and raw.rstrip().endswith(b"%%EOF")
    start = int(re.search(rb"startxref\n(\d+)", raw).group(1))
    assert raw[start : start + 4] == b"xref"
    offsets = [int(m) for m in re.findall(rb"(\d{10}) 00000 n", raw)]
    assert all(raw[o:].startswith(b"%d 0 obj" % (i + 1)) for i, o in enumerate(offsets))


def zlib_free(raw: bytes) -> bytes:
    """The page's drawing commands, which are stored uncompressed."""
    return raw


def test_unknown_file_types_are_refused(tmp_path):
    with pytest.raises(CalibrationError, match="legal: .png, .pdf"):
        save_board(Board.parse(BOARDS[0]), tmp_path / "b.svg")
