"""What the decoder accepts as credible."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..errors import ConfigError


@dataclass(frozen=True)
class DecodeConfig:
    """Thresholds of the decoder. Lengths on the image are in blob sigmas, so that they hold at every resolution.

    min_amplitude, max_amplitude: height of a blob (1 = as drawn); for blue the height above zero, which
    must also pass the pedestal. max_width_factor: a blob may be this much wider or narrower than drawn.
    max_blob_sd_sigma: a blob whose own fit is less certain drops out. max_outside_sigma: how far outside
    the image the centre of a cut blob may lie. max_candidates: blobs looked for per channel and view.
    ghost_amplitude: a second blob lower than this share of the first is ignored. min_blobs: blobs that must
    agree on a pose, of the 3 V drawn; 3 fix one, the rest checks it.

    A pose is credible where its error is bounded by max(max_position_error_m, max_error_px on the
    image) and max(max_rotation_error_rad, the same length over the blobs' distance), even if any one
    blob were wrong by as much as the other blobs let pass. blob_bias_sigma: the error granted to a
    blob that no other blob can check.

    gripper_open, gripper_closed: share of the pedestal above which a closed gripper is read as open, and
    below which an open one is read as closed.
    """

    min_amplitude: float = 0.3
    max_amplitude: float = 1.6
    max_width_factor: float = 2.0
    max_blob_sd_sigma: float = 0.15
    max_outside_sigma: float = 0.7
    max_candidates: int = 3
    ghost_amplitude: float = 0.3
    min_blobs: int = 5
    max_position_error_m: float = 0.005
    max_rotation_error_rad: float = math.radians(3.0)
    max_error_px: float = 1.0
    blob_bias_sigma: float = 0.04
    gripper_open: float = 0.6
    gripper_closed: float = 0.4

    def __post_init__(self) -> None:
        if not 0 < self.min_amplitude < self.max_amplitude:
            raise ConfigError(f"min_amplitude {self.min_amplitude} must lie in (0, max_amplitude {self.max_amplitude})")
        if not 0 < self.gripper_closed < self.gripper_open < 1:
            raise ConfigError(f"gripper_closed {self.gripper_closed} and gripper_open {self.gripper_open} must satisfy "
                              "0 < gripper_closed < gripper_open < 1")
        if self.max_width_factor <= 1 or self.max_candidates < 1:
            raise ConfigError(f"max_width_factor {self.max_width_factor} must exceed 1 and max_candidates "
                              f"{self.max_candidates} must be at least 1")
        if self.min_blobs < 4:
            raise ConfigError(f"min_blobs is {self.min_blobs}; fewer than 4 blobs can fix a pose but not check it")
        for name in ("max_blob_sd_sigma", "max_outside_sigma", "ghost_amplitude", "max_position_error_m",
                     "max_rotation_error_rad", "max_error_px", "blob_bias_sigma"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be positive")
