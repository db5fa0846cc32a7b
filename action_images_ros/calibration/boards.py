"""Calibration boards: ChArUco and AprilTag grids, their geometry and how a person names one.

Board frame: origin at the middle of the pattern, +x along a printed row to the right, +y down the
columns, +z into the board (away from who looks at it).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

import cv2
import numpy as np

from ..errors import CalibrationError, one_of

DICTIONARIES = (
    *(f"{bits}X{bits}_{n}" for bits in (4, 5, 6, 7) for n in (50, 100, 250, 1000)),
    "ARUCO_ORIGINAL",
    "APRILTAG_16h5",
    "APRILTAG_25h9",
    "APRILTAG_36h10",
    "APRILTAG_36h11",
)
_TEXT = re.compile(
    r"(?P<kind>\w+):(?P<columns>\d+)x(?P<rows>\d+):(?P<pitch>[\d.]+)/(?P<marker>[\d.]+)mm"
    r":(?P<dictionary>\w+)(?:\+(?P<first>\d+))?(?P<legacy>:legacy)?"
)


class BoardKind(Enum):
    """CHARUCO: a chessboard with markers in its white squares. APRILTAG: a grid of tags."""

    CHARUCO = "charuco"
    APRILTAG = "apriltag"


class Pattern(Enum):
    """Which corner of a ChArUco board with an even number of rows is black: OpenCV changed it in 4.6."""

    CURRENT = "current"
    LEGACY = "legacy"


@dataclass(frozen=True)
class Board:
    """columns, rows: squares of a ChArUco board, tags of an AprilTag grid. pitch_m: side of a square, or
    distance from tag to tag. marker_m: side of a marker's black border. first_id: id of its first marker,
    so that several boards of one dictionary can be told apart. Raises CalibrationError naming what is wrong.
    """

    kind: BoardKind
    columns: int
    rows: int
    pitch_m: float
    marker_m: float
    dictionary: str
    first_id: int = 0
    pattern: Pattern = Pattern.CURRENT

    def __post_init__(self) -> None:
        one_of("board dictionary", self.dictionary, DICTIONARIES, CalibrationError)
        least = 3 if self.kind is BoardKind.CHARUCO else 1
        if min(self.columns, self.rows) < least or self.columns * self.rows > 400:
            raise CalibrationError(
                f"board is {self.columns}x{self.rows}; legal: at least {least}x{least}, at most 400 fields"
            )
        if not 0 < self.marker_m < self.pitch_m <= 0.5:
            raise CalibrationError(
                f"marker {self.marker_m} m, pitch {self.pitch_m} m; legal: 0 < marker < pitch <= 0.5 m"
            )
        have = len(self._dictionary.bytesList)
        if self.first_id < 0 or self.first_id + self.markers > have:
            raise CalibrationError(
                f"board {self.text} needs markers {self.first_id} to {self.first_id + self.markers - 1}; "
                f"{self.dictionary} has 0 to {have - 1}: take a larger dictionary or another first id"
            )

    @classmethod
    def parse(cls, text: str) -> Board:
        """`charuco:7x5:40/30mm:4X4_50`, `apriltag:4x3:50/40mm:APRILTAG_36h11+12` (+12: first id), `...:legacy`."""
        m = _TEXT.fullmatch(text.strip())
        if m is None:
            raise CalibrationError(
                f"board is {text!r}; write it like charuco:7x5:40/30mm:4X4_50 (columns x rows : square / "
                "marker side : dictionary) or apriltag:4x3:50/40mm:APRILTAG_36h11+12 (+ first id)"
            )
        one_of("board kind", m["kind"], [k.value for k in BoardKind], CalibrationError)
        return cls(
            BoardKind(m["kind"]),
            int(m["columns"]),
            int(m["rows"]),
            float(m["pitch"]) / 1e3,
            float(m["marker"]) / 1e3,
            m["dictionary"],
            int(m["first"] or 0),
            Pattern.LEGACY if m["legacy"] else Pattern.CURRENT,
        )

    @property
    def text(self) -> str:
        """What `parse` reads back to the same board."""
        size = f"{self.pitch_m * 1e3:g}/{self.marker_m * 1e3:g}mm"
        first = f"+{self.first_id}" if self.first_id else ""
        legacy = ":legacy" if self.pattern is Pattern.LEGACY else ""
        return f"{self.kind.value}:{self.columns}x{self.rows}:{size}:{self.dictionary}{first}{legacy}"

    def __reduce__(self):
        return Board.parse, (self.text,)

    @property
    def markers(self) -> int:
        fields = self.columns * self.rows
        return fields // 2 if self.kind is BoardKind.CHARUCO else fields

    @property
    def size_m(self) -> tuple[float, float]:
        """Width and height of the printed pattern without its margin."""
        gap = 0.0 if self.kind is BoardKind.CHARUCO else self.pitch_m - self.marker_m
        return self.columns * self.pitch_m - gap, self.rows * self.pitch_m - gap

    @cached_property
    def _dictionary(self):
        return cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, f"DICT_{self.dictionary}"))

    @cached_property
    def cv_board(self):
        """The OpenCV object that draws and detects this board (metres, origin at its top left corner)."""
        ids = np.arange(self.first_id, self.first_id + self.markers)
        size = (self.columns, self.rows)
        if self.kind is BoardKind.APRILTAG:
            return cv2.aruco.GridBoard(size, self.marker_m, self.pitch_m - self.marker_m, self._dictionary, ids)
        board = cv2.aruco.CharucoBoard(size, self.pitch_m, self.marker_m, self._dictionary, ids)
        board.setLegacyPattern(self.pattern is Pattern.LEGACY)
        return board

    @cached_property
    def points(self) -> np.ndarray:
        """(N, 3) m, board frame. Point k of a ChArUco board is its inner corner k; point 4 k + c of an
        AprilTag grid is corner c (clockwise from the top left) of tag first_id + k."""
        charuco = self.kind is BoardKind.CHARUCO
        columns, rows = (self.columns - 1, self.rows - 1) if charuco else (self.columns, self.rows)
        grid = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).reshape(-1, 1, 2) * self.pitch_m
        corner = [[self.pitch_m] * 2] if charuco else self.marker_m * np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
        xy = (grid + np.asarray(corner)).reshape(-1, 2) - np.array(self.size_m) / 2
        return np.column_stack([xy, np.zeros(len(xy))])

    @property
    def outline(self) -> np.ndarray:
        """(4, 3) m, board frame: corners of the pattern."""
        w, h = self.size_m
        return np.array([[-w, -h, 0], [w, -h, 0], [w, h, 0], [-w, h, 0]]) / 2
