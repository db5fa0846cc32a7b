"""What a model's data was made with: it travels in config.json, and a policy starts only where it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import ModelError, one_of

PREPROCESSING = ("centre_square_area",)
"""Ways from a camera's image to the model's: `frames.model_image` is the one there is."""


@dataclass(frozen=True)
class DataContract:
    """views: names of the cameras in the order of the canvas, () where any will do; fps: of the recordings, 0 unknown;
    base_frame, tcp_frame: what poses are of; preprocessing: of camera images."""

    views: tuple[str, ...] = ()
    fps: float = 0.0
    base_frame: str = "fr3_link0"
    tcp_frame: str = "fr3_hand_tcp"
    preprocessing: str = PREPROCESSING[0]

    def __post_init__(self) -> None:
        one_of("data.preprocessing", self.preprocessing, PREPROCESSING, ModelError)
        if not self.fps >= 0 or not self.base_frame or not self.tcp_frame:
            raise ModelError(f"data.fps is {self.fps} (>= 0), base_frame {self.base_frame!r} and tcp_frame "
                             f"{self.tcp_frame!r} must be named")

    def differences(self, views: Sequence[str], base_frame: str, tcp_frame: str) -> list[str]:
        """What is otherwise in a cell, or in other data."""
        pairs = [("base_frame", self.base_frame, base_frame), ("tcp_frame", self.tcp_frame, tcp_frame)]
        if self.views:
            pairs.append(("views", ", ".join(self.views), ", ".join(views)))
        return [f"{name} was {mine}, here it is {other}" for name, mine, other in pairs if mine != other]

    def require(self, views: Sequence[str], base_frame: str, tcp_frame: str) -> None:
        """Raises ModelError naming everything that differs."""
        found = self.differences(views, base_frame, tcp_frame)
        if found:
            raise ModelError(f"the model was trained on other data than this cell gives: {'; '.join(found)}. Correct "
                             "the cell file, or take a model trained for this cell")
