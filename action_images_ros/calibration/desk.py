"""What the operator of a calibration has in front of them: live pictures, samples, progress, the result, its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..cell import Cell
from ..errors import CalibrationError
from .detect import BoardDetector, Detection
from .folder import JointTable
from .picture import live_view
from .report import html_report
from .result import CalibrationResult
from .rig import Sample
from .session import CalibrationSession, Estimate, Taken
from .store import StoredCalibration, calibrated_cell

_SHOWN = 2


@dataclass(frozen=True)
class Files:
    """Where results go: calibration.yaml, report.html, cell.yaml, and under pictures/ what was seen."""

    folder: Path

    @property
    def calibration(self) -> Path:
        return self.folder / "calibration.yaml"

    @property
    def report(self) -> Path:
        return self.folder / "report.html"

    @property
    def cell(self) -> Path:
        return self.folder / "cell.yaml"

    @property
    def pictures(self) -> Path:
        return self.folder / "pictures"


class CalibrationDesk:
    """One calibration from the first look to its files. Not thread-safe.

    wanted: poses at which the operator may stop, once nothing is missing. folder: see Files; pictures and joints are
    kept there as they are taken, as `action-images calibrate --images` reads them.
    """

    def __init__(self, session: CalibrationSession, wanted: int, folder: Path):
        self.session, self.wanted, self.files = session, wanted, Files(folder)
        self._detector = BoardDetector(session.rig.plain_boards)
        self._images: dict[str, dict[str, np.ndarray]] = {view: {} for view in session.rig.cameras}
        self._table = JointTable(self.files.pictures)
        self._count = 0
        self._estimate: Estimate | None = None
        self.result: CalibrationResult | None = None

    def look(self, image: np.ndarray) -> tuple[Detection, ...]:
        """Boards in a picture, uint8 (H, W, 3) RGB."""
        return self._detector.detect(image)

    def take(self, images: Mapping[str, np.ndarray], q: np.ndarray, dq: np.ndarray, stamp_ns: int) -> Taken:
        """Keep one pose if it tells something new. images by view; q, dq (7,) at their exposure."""
        for view, image in images.items():
            size = (image.shape[1], image.shape[0])
            if size != (legal := self.session.rig.cameras[view].image_size):
                raise CalibrationError(f"view {view}: the picture is {size}, its camera's lens is known for {legal}")
        detections = {view: found for view, image in images.items() if (found := self.look(image))}
        name = f"{self._count:02d}"
        sample = Sample(name, q, detections, dq, stamp_ns)
        taken = self.session.add(sample)
        if taken.accepted:
            self._count += 1
            self.result = None
            self._keep(sample, images)
            self._estimate = self.session.estimate()
        return taken

    def _keep(self, sample: Sample, images: Mapping[str, np.ndarray]) -> None:
        for view, image in images.items():
            self._images[view][sample.name] = image
            folder = self.files.pictures / view
            folder.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / f"{sample.name}.png"), image[..., ::-1])
        self._table.write(self.session.samples)

    def undo(self) -> str:
        """Forget the last pose; its name. Raises CalibrationError where there is none."""
        if not self.session.samples:
            raise CalibrationError("there is no pose to take back")
        name = self.session.samples[-1].name
        self.session.remove(name)
        for view, kept in self._images.items():
            if kept.pop(name, None) is not None:
                (self.files.pictures / view / f"{name}.png").unlink(missing_ok=True)
        self._table.write(self.session.samples)
        self.result, self._estimate = None, self.session.estimate()
        return name

    @property
    def enough(self) -> bool:
        return len(self.session.samples) >= self.wanted and not self.session.refusals()

    def solve(self) -> CalibrationResult:
        """Raises CalibrationError saying what is missing."""
        self.result = self.session.finish()
        return self.result

    def save(self, date: str, cell: Cell) -> tuple[Path, ...]:
        """Write calibration, report and calibrated cell file. date: ISO 8601. CalibrationError before `solve`."""
        if self.result is None:
            raise CalibrationError("there is nothing to save; solve first (after every change)")
        stored = StoredCalibration(self.result, date)
        f, images = self.files, self._images
        calibrated = calibrated_cell(cell, stored)
        f.folder.mkdir(parents=True, exist_ok=True)
        stored.save(f.calibration)
        f.report.write_text(html_report(stored, self.session.samples, self.session.arm, images), encoding="utf-8")
        calibrated.save(f.cell)
        return f.calibration, f.report, f.cell

    def picture(self, view: str, image: np.ndarray, detections: tuple[Detection, ...], note: str) -> np.ndarray:
        """The live view: points found now, those of the poses taken, progress and error, and `note`."""
        earlier = [d.uv for s in self.session.samples for d in s.detections.get(view, ())]
        points = np.concatenate([np.zeros((0, 2)), *earlier])
        return live_view(image, detections, points, [*self._lines(view, detections), note])

    def _lines(self, view: str, detections: tuple[Detection, ...]) -> list[str]:
        c, e = self.session.coverage()[view], self._estimate
        seen = ", ".join(f"{d.board} {len(d)}" for d in detections) or "no board"
        lines = [
            f"{view}: {seen}",
            f"poses {len(self.session.samples)} of {self.wanted}, this view {c.distinct} of "
            f"{self.session.options.demands.poses}, picture covered {c.cover:.0%}",
        ]
        if e is not None:
            lines.append(
                f"error {e.reproj_px[view]:.2f} px, at the workspace +-{e.workspace_sd_mm[view]:.1f} mm "
                f"+-{e.rotation_sd_deg[view]:.2f} deg"
            )
            lines += [text[:90] for text in e.outliers[:_SHOWN]]
        return lines

    def status(self) -> dict:
        """Progress as plain values."""
        e, cover = self._estimate, self.session.coverage()
        views = {}
        for view, c in cover.items():
            views[view] = {"poses": c.distinct, "covered": round(c.cover, 2)}
            if e is not None:
                views[view] |= {
                    "pixel_sd": round(e.reproj_px[view], 3),
                    "workspace_sd_mm": round(e.workspace_sd_mm[view], 2),
                    "rotation_sd_deg": round(e.rotation_sd_deg[view], 3),
                }
        return {
            "poses": len(self.session.samples),
            "wanted": self.wanted,
            "views": views,
            "missing": self.session.refusals(),
            "outliers": list(e.outliers) if e is not None else [],
            "enough": self.enough,
            "solved": self.result is not None,
        }
