"""A board as an image file that prints at true scale: PNG with its resolution, or PDF with its size in points."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np

from ..errors import CalibrationError
from .boards import Board, BoardKind

_MM_PER_INCH = 25.4
_POINTS_PER_MM = 72.0 / _MM_PER_INCH
_RULER_MM = 100


def board_image(board: Board, pixels_per_m: float, margin_m: float = 0.0) -> np.ndarray:
    """uint8 (H, W) of the pattern inside a white margin, at about `pixels_per_m` (the nearest at which a square
    has whole pixels for ChArUco boards)."""
    if pixels_per_m * board.marker_m < 8:
        raise CalibrationError(
            f"{pixels_per_m} px/m leaves {pixels_per_m * board.marker_m:.1f} px a marker; legal: 8 or more"
        )
    per_square = max(round(pixels_per_m * board.pitch_m), 1)
    scale = per_square / board.pitch_m
    width, height = (round(side * scale) for side in board.size_m)
    if board.kind is BoardKind.CHARUCO:
        image = board.cv_board.generateImage((width, height), marginSize=0, borderBits=1)
    else:
        image = np.full((height, width), 255, np.uint8)
        side = round(board.marker_m * scale)
        for k in range(board.markers):
            x, y = (i * per_square for i in (k % board.columns, k // board.columns))
            image[y : y + side, x : x + side] = cv2.aruco.generateImageMarker(
                board._dictionary, board.first_id + k, side
            )
    margin = round(margin_m * scale)
    return cv2.copyMakeBorder(image, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=255)


def save_board(board: Board, path: str | Path, dpi: float = 300.0, margin_m: float = 0.010) -> tuple[float, float]:
    """Write `path` (.png or .pdf); returns the printed width and height in mm, margin included.

    Print at 100 %, then measure the pattern: a wrong scale shifts every distance by as much.
    """
    path = Path(path)
    image = board_image(board, dpi / _MM_PER_INCH * 1e3, margin_m)
    per_m = max(round(dpi / _MM_PER_INCH * 1e3 * board.pitch_m), 1) / board.pitch_m
    size_mm = image.shape[1] / per_m * 1e3, image.shape[0] / per_m * 1e3
    writers = {".png": lambda: _png(image, per_m), ".pdf": lambda: _pdf(image, size_mm, board.text)}
    if path.suffix.lower() not in writers:
        raise CalibrationError(f"a board cannot be written as {path.name!r}; legal: .png, .pdf")
    path.write_bytes(writers[path.suffix.lower()]())
    return size_mm


def _png(image: np.ndarray, pixels_per_m: float) -> bytes:
    """PNG with a pHYs chunk, which tells printers its resolution (PNG specification, section 11.3.4.3)."""
    ok, data = cv2.imencode(".png", image)
    if not ok:
        raise CalibrationError("OpenCV could not encode the board as PNG")
    body = b"pHYs" + struct.pack(">IIB", round(pixels_per_m), round(pixels_per_m), 1)
    chunk = struct.pack(">I", 9) + body + struct.pack(">I", zlib.crc32(body))
    raw = data.tobytes()
    header_end = 8 + 25
    return raw[:header_end] + chunk + raw[header_end:]


def _pdf(image: np.ndarray, size_mm: tuple[float, float], title: str) -> bytes:
    """One page exactly as large as the board and a strip below it: the image, a 100 mm ruler, the board's name."""
    width, height = (s * _POINTS_PER_MM for s in size_mm)
    strip, ruler = 14 * _POINTS_PER_MM, min(_RULER_MM, 10 * int(size_mm[0] // 10)) * _POINTS_PER_MM
    page = (
        f"q {width:.4f} 0 0 {height:.4f} 0 {strip:.4f} cm /Im Do Q\n"
        f"0.6 w 10 8 m {10 + ruler:.4f} 8 l S 10 5 m 10 11 l S {10 + ruler:.4f} 5 m {10 + ruler:.4f} 11 l S\n"
        f"BT /F 8 Tf 10 14 Td ({title}   the line is {ruler / _POINTS_PER_MM:.0f} mm: print at 100 %) Tj ET\n"
    ).encode()
    pixels = zlib.compress(np.ascontiguousarray(image).tobytes(), 9)
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        (
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 {width:.4f} {height + strip:.4f}] /Contents 4 0 R "
            "/Resources << /XObject << /Im 5 0 R >> /Font << /F 6 0 R >> >> >>"
        ).encode(),
        _stream("", page),
        _stream(
            f"/Type /XObject /Subtype /Image /Width {image.shape[1]} /Height {image.shape[0]} /ColorSpace /DeviceGray "
            "/BitsPerComponent 8 /Interpolate false /Filter /FlateDecode",
            pixels,
        ),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    out, offsets = bytearray(b"%PDF-1.4\n"), []
    for i, content in enumerate(objects, 1):
        offsets.append(len(out))
        out += f"{i} 0 obj\n".encode() + content + b"\nendobj\n"
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    out += b"".join(f"{o:010d} 00000 n \n".encode() for o in offsets)
    out += f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()
    return bytes(out)


def _stream(entries: str, data: bytes) -> bytes:
    return f"<< {entries} /Length {len(data)} >>\nstream\n".encode() + data + b"\nendstream"
