"""The calibration file: what was found, the evidence for it, and the checks before anything relies on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from ..cell import Cell
from ..cell_calibration import Calibration, CalibrationLimits, moment
from ..errors import CalibrationError, ConfigError
from ..yaml_tree import load_yaml, parse_yaml
from .file_format import from_yaml, to_plain
from .result import CalibrationResult
from .rig import CameraMount


@dataclass(frozen=True, eq=False)
class StoredCalibration:
    """A result and when it was made (ISO 8601)."""

    result: CalibrationResult
    date: str

    def __post_init__(self) -> None:
        try:
            moment(self.date)
        except ConfigError as error:
            raise CalibrationError(str(error)) from None

    def save(self, path: str | Path) -> None:
        Path(path).write_text(self.to_yaml(), encoding="utf-8")

    def to_yaml(self) -> str:
        """A file that `load` reads back."""
        return yaml.safe_dump(to_plain(self.result, self.date), sort_keys=False, default_flow_style=None, width=118)

    @classmethod
    def load(cls, path: str | Path) -> StoredCalibration:
        """Raises ConfigError naming file, line, key and what is legal."""
        return cls(*from_yaml(load_yaml(path)))

    @classmethod
    def parse(cls, text: str, file: str = "calibration.yaml") -> StoredCalibration:
        return cls(*from_yaml(parse_yaml(text, file)))


def require_usable(
    stored: StoredCalibration,
    serials: Mapping[str, str],
    arm: str,
    limits: CalibrationLimits = CalibrationLimits(),
    today: str | None = None,
) -> None:
    """Raise CalibrationError, naming every reason, unless this calibration is of this arm and of the cameras `serials`
    (view: serial), and within the limits. today: ISO 8601 date, needed where the limits have an age."""
    result, why = stored.result, []
    if result.arm != arm:
        why.append(f"it was made with arm {result.arm!r}, this is {arm!r}")
    for view, serial in serials.items():
        found = result.views.get(view)
        if found is None:
            why.append(f"view {view} is not in it (it has: {', '.join(result.views)})")
            continue
        if found.camera.serial != serial:
            why.append(f"view {view} was camera {found.camera.serial!r}, now it is {serial!r}")
        excesses = limits.excesses(
            found.reproj_rms_px, found.held_out_mm[0], found.held_out_deg[0], found.workspace_sd_mm
        )
        why += [f"view {view}: {text}" for text in excesses]
    if limits.max_age_days is not None and today is None:
        raise CalibrationError("the limits have an age; pass today's date")
    old = limits.too_old(stored.date, today)
    why += [old] if old else []
    if why:
        raise CalibrationError(
            f"this calibration must not be used: {'; '.join(why)}. Calibrate again (action-images calibrate)"
        )


def calibrated_cell(cell: Cell, stored: StoredCalibration) -> Cell:
    """The cell with camera poses, intrinsics and provenance of its fixed cameras from the calibration, and with limits.

    Raises CalibrationError where a view of the cell is missing in the calibration, was another camera, or another size.
    """
    views = []
    for view in cell.views:
        found = stored.result.views.get(view.name)
        if found is None or found.mount is not CameraMount.EYE_TO_HAND:
            fixed = [v for v, r in stored.result.views.items() if r.mount is CameraMount.EYE_TO_HAND]
            raise CalibrationError(
                f"the calibration has no fixed camera {view.name!r}; it has: {', '.join(fixed) or 'none'}"
            )
        if found.camera.serial != view.serial:
            raise CalibrationError(
                f"view {view.name} was calibrated with camera {found.camera.serial!r}; the cell has {view.serial!r}"
            )
        if view.camera is not None and found.camera.image_size != view.camera.image_size:
            raise CalibrationError(
                f"view {view.name} was calibrated at {found.camera.image_size}; the cell runs it at "
                f"{view.camera.image_size}: calibrate at the size that is used"
            )
        provenance = Calibration(
            stored.date,
            stored.result.method,
            round(found.reproj_rms_px, 4),
            found.camera.serial,
            *(round(x, 4) for x in (found.held_out_mm[0], found.held_out_deg[0], found.workspace_sd_mm)),
        )
        views.append(replace(view, camera=found.pinhole, calibration=provenance))
    return replace(cell, views=tuple(views), calibration_limits=cell.calibration_limits or CalibrationLimits())
