"""How many pixels and frames one latent stands for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Compression:
    """space: pixels along one side of a latent cell. time: frames in one latent frame; the first frame of a segment
    always has one for itself (T = time q + 1 frames -> 1 + q latent frames)."""

    space: int
    time: int

    def latent_frames(self, frames: int) -> int:
        """Latent frames that the first `frames` >= 1 frames of a segment determine wholly."""
        return 1 + (frames - 1) // self.time

    def frames(self, latent_frames: int) -> int:
        """Frames that the first `latent_frames` latent frames of a segment stand for."""
        return 1 + (latent_frames - 1) * self.time if latent_frames else 0


COMPRESSIONS = {"pixels": Compression(1, 1), "wan_vae": Compression(16, 4)}
"""By the name of the frame codec."""
