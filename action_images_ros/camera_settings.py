"""How a camera is driven: rate, exposure, depth, trigger line. The section `driver` of a view in the cell file.

In the cell file, because every driver (`camera_driver`, realsense-ros) must be told the same.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import Enum
from typing import Any

from .errors import ConfigError, one_of
from .yaml_tree import YamlNode

RATES_HZ = (5, 6, 10, 15, 25, 30, 60, 90)
"""Colour rates of RealSense cameras; which of them a camera has depends on its model, size and USB."""

EXPOSURE_US = (1.0, 165_000.0)
GAIN = (0.0, 256.0)
WHITE_BALANCE_K = (2000.0, 10_000.0)
_LARGEST_OFFSET_S = 0.2


class Depth(str, Enum):
    """aligned: depth in the pixels of the colour image, in mm, with its stamp."""

    NONE = "none"
    ALIGNED = "aligned"


class SyncRole(str, Enum):
    """On the trigger line: master gives the pulse, slaves expose with it, none does not look at it."""

    NONE = "none"
    MASTER = "master"
    SLAVE = "slave"


@dataclass(frozen=True)
class CameraSettings:
    """exposure_us, gain, white_balance_k: fixed values; None leaves that to the camera's automatic control.

    stamp_offset_s is added to every stamp: what a calibration found the exposure to be later than its stamp.
    Raises ConfigError for an illegal value.
    """

    rate_hz: int = 30
    depth: Depth = Depth.NONE
    exposure_us: float | None = None
    gain: float | None = None
    white_balance_k: float | None = None
    sync: SyncRole = SyncRole.NONE
    stamp_offset_s: float = 0.0

    def __post_init__(self) -> None:
        one_of("rate_hz", self.rate_hz, RATES_HZ)
        for name, (low, high) in (
            ("exposure_us", EXPOSURE_US),
            ("gain", GAIN),
            ("white_balance_k", WHITE_BALANCE_K),
            ("stamp_offset_s", (-_LARGEST_OFFSET_S, _LARGEST_OFFSET_S)),
        ):
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise ConfigError(f"{name} is {value}; legal: {low:g} to {high:g}")
        if self.exposure_us is not None and self.exposure_us > 1e6 / self.rate_hz:
            raise ConfigError(
                f"exposure_us is {self.exposure_us:g}, longer than a period at {self.rate_hz} Hz "
                f"({1e6 / self.rate_hz:.0f} us): shorten it, add light, or lower rate_hz"
            )
        if self.gain is not None and self.exposure_us is None:
            raise ConfigError("gain is fixed but exposure_us is not: a camera controls both or neither; fix both")

    @property
    def automatic(self) -> tuple[str, ...]:
        """What the camera still controls by itself."""
        names = {"exposure": self.exposure_us, "white balance": self.white_balance_k}
        return tuple(name for name, value in names.items() if value is None)


def read_settings(node: YamlNode | None) -> CameraSettings:
    """Of a YAML mapping; None: the defaults. Raises ConfigError naming key and line."""
    if node is None:
        return CameraSettings()
    given: dict[str, Any] = {}
    for name, value in node.mapping((), tuple(CameraSettings.__dataclass_fields__)).items():
        if name in ("depth", "sync"):
            kind = Depth if name == "depth" else SyncRole
            legal = [k.value for k in kind]
            if value.value not in legal:
                raise value.fail(f"{value.value!r} must be one of {', '.join(legal)}")
            given[name] = kind(value.value)
        elif value.value is not None:
            number = value.number()
            given[name] = int(number) if name == "rate_hz" and number == int(number) else number
    try:
        return CameraSettings(**given)
    except ConfigError as error:
        raise node.fail(str(error)) from error


def plain_settings(settings: CameraSettings) -> dict[str, object]:
    """What differs from the defaults, for a YAML file."""
    default = asdict(CameraSettings())
    changed = {k: v for k, v in asdict(settings).items() if v != default[k]}
    return {k: v.value if isinstance(v, Enum) else v for k, v in changed.items()}
