"""What a cell file says about where its camera poses come from, and whether that is good enough to move an arm by."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import dataclass, fields

from .errors import ConfigError
from .yaml_tree import YamlNode

_REMEDY = (
    "calibrate (action-images up calibrate_cameras, or action-images calibrate) and use the cell file that it writes"
)
_EVIDENCE = ("held_out_mm", "held_out_deg", "workspace_sd_mm")


@dataclass(frozen=True)
class Calibration:
    """Where a camera pose comes from. date: ISO 8601; method: free text; reproj_rms_px >= 0.

    serial: of the camera that was calibrated; "" where that was not written down. held_out_mm, held_out_deg: median
    leave-one-pose-out error; workspace_sd_mm: standard deviation at the workspace; None where not known.
    """

    date: str
    method: str
    reproj_rms_px: float
    serial: str = ""
    held_out_mm: float | None = None
    held_out_deg: float | None = None
    workspace_sd_mm: float | None = None


@dataclass(frozen=True)
class CalibrationLimits:
    """The worst calibration that a cell accepts. max_held_out_mm, max_held_out_deg: median leave-one-pose-out error.
    max_workspace_sd_mm: standard deviation at the workspace. max_age_days: None for no limit."""

    max_reproj_rms_px: float = 1.0
    max_held_out_mm: float = 5.0
    max_held_out_deg: float = 0.6
    max_workspace_sd_mm: float = 2.0
    max_age_days: float | None = None

    def excesses(self, reproj_px: float, mm: float | None, deg: float | None, sd_mm: float | None) -> list[str]:
        """What is beyond a limit; values that are None are not judged."""
        rows = (
            ("reprojection", reproj_px, self.max_reproj_rms_px, "px"),
            ("leave-one-out error", mm, self.max_held_out_mm, "mm"),
            ("leave-one-out error", deg, self.max_held_out_deg, "deg"),
            ("uncertainty at the workspace", sd_mm, self.max_workspace_sd_mm, "mm"),
        )
        return [
            f"{name} is {value:.2f} {unit}, this cell's limit is {limit:g} {unit}"
            for name, value, limit, unit in rows
            if value is not None and not value <= limit
        ]

    def too_old(self, date: str, today: str | None) -> str:
        """"" or how old a calibration of `date` is. Raises ConfigError where there is a limit and no `today`."""
        if self.max_age_days is None:
            return ""
        if today is None:
            raise ConfigError("the limits have an age; pass today's date")
        age = (moment(today) - moment(date)).total_seconds() / 86400
        if age <= self.max_age_days:
            return ""
        return f"it is {age:.0f} days old, this cell's limit is {self.max_age_days:g}"


def moment(text: str) -> datetime.datetime:
    """An ISO 8601 date or time; without its zone, UTC. Raises ConfigError."""
    try:
        found = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except (ValueError, AttributeError):
        raise ConfigError(f"date is {text!r}; write it like 2026-05-26 or 2026-05-26T14:30:00") from None
    return found if found.tzinfo is None else found.astimezone(datetime.timezone.utc).replace(tzinfo=None)


def require_calibrated(
    views: Sequence[tuple[str, str, Calibration | None]], limits: CalibrationLimits, strict: bool, today: str | None
) -> None:
    """Raise ConfigError, naming every reason, unless each view (name, camera's serial, calibration) may be relied on.

    strict: evidence that is missing is a reason too (the cell file states limits for it). today: ISO 8601.
    """
    why = []
    for name, serial, calibration in views:
        why += [f"view {name}: {text}" for text in _complaints(serial, calibration, limits, strict, today)]
    if why:
        raise ConfigError(f"the policy must not start with this calibration: {'; '.join(why)}. Remedy: {_REMEDY}")


def _complaints(
    serial: str, c: Calibration | None, limits: CalibrationLimits, strict: bool, today: str | None
) -> list[str]:
    if c is None:
        return ["not calibrated"]
    why = []
    if c.serial and c.serial != serial:
        why.append(f"calibrated was camera {c.serial!r}, the cell has {serial!r}")
    missing = [name for name in _EVIDENCE if getattr(c, name) is None]
    if strict and missing:
        why.append(f"its calibration lacks {', '.join(missing)}, for which the cell file sets limits")
    why += limits.excesses(c.reproj_rms_px, c.held_out_mm, c.held_out_deg, c.workspace_sd_mm)
    old = limits.too_old(c.date, today)
    return [*why, old] if old else why


def read_calibration(node: YamlNode) -> Calibration:
    m = node.mapping(("date", "method", "reproj_rms_px"), ("serial", *_EVIDENCE))
    evidence = {name: m[name].number(0.0) for name in _EVIDENCE if name in m}
    serial = m["serial"].text() if "serial" in m else ""
    return Calibration(_date(m["date"]), m["method"].text(), m["reproj_rms_px"].number(0.0), serial, **evidence)


def _date(node: YamlNode) -> str:
    if isinstance(node.value, (datetime.date, datetime.datetime)):
        return node.value.isoformat()
    text = node.text()
    try:
        moment(text)
    except ConfigError:
        raise node.fail(f"{text!r} is no date; write it like 2026-05-26 or 2026-05-26T14:30:00") from None
    return text


def read_limits(node: YamlNode) -> CalibrationLimits:
    """Limits that are not given keep their defaults."""
    given = node.mapping((), [f.name for f in fields(CalibrationLimits)])
    return CalibrationLimits(**{k: v.number(0.0) for k, v in given.items() if v.value is not None})


def plain(value: Calibration | CalibrationLimits) -> dict:
    """For a YAML writer; what is not known is left out."""
    return {f.name: v for f in fields(value) if (v := getattr(value, f.name)) not in (None, "")}
