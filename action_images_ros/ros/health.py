"""Statuses of the devices, as the nodes that depend on them see them: each camera, the set they form, the arm."""

from __future__ import annotations

from collections.abc import Iterator

from ..cell import Cell
from .monitor import Level, RateMonitor, Report, Window
from .synchroniser import Synchroniser

_COUNTS = ("received", "used", "late", "repeated", "from_future", "frozen", "unmatched")


def camera_reports(cell: Cell, sync: Synchroniser, skews_s: Window, now_ns: int) -> Iterator[Report]:
    """One status a camera, named after its view, and `sync`: whether they form sets. skews_s: of the last sets."""
    age = f"<= {1e3 * cell.sync.max_age_s:g}"
    for view in cell.views:
        s, complaint = sync.statistics[view.name], sync.view_complaint(view.name, now_ns)
        values: dict[str, object] = {
            "rate_hz": s.rate_hz,
            "age_ms": 1e3 * s.ages_s[-1] if s.ages_s else float("nan"),
            "silent_ms": 1e-6 * (now_ns - s.arrivals_ns[-1]) if s.arrivals_ns else float("nan"),
            **{k: getattr(s, k) for k in _COUNTS},
            "dropped": s.dropped,
            "lag_ms": 1e3 * s.lag_s,
            "topic": view.image_topic,
        }
        yield Report(
            f"camera {view.name}", Level.ERROR if complaint else Level.OK, complaint or "ok", values,
            {"age_ms": age, "silent_ms": age},
            f"look at camera {view.serial}: power, cable, driver, clock; only it may publish {view.image_topic}",
            view.serial,
        )  # fmt: skip
    complaint = "" if sync.sets else "no set of all cameras yet"
    yield Report(
        "sync", Level.WARN if complaint else Level.OK, complaint or "ok",
        {"sets": sync.sets, "skew_ms": 1e3 * skews_s.spread().p50, "skew_max_ms": 1e3 * skews_s.spread().max},
        {"skew_ms": f"<= {1e3 * cell.sync.max_skew_s:g}"},
        "start every camera; synchronise them by wire or clock, or raise sync.max_skew_s in the cell file",
    )  # fmt: skip


def arm_report(
    arm: str, rate: RateMonitor, now_s: float, states_s: float | None, tracking_rad: tuple[float, float | None],
    lag_s: float, width_m: float | None,
) -> Report:  # fmt: skip
    """arm: its name. states_s: longest silence allowed; tracking_rad: error and what is allowed; None: no limit."""
    silent_s = rate.age_s(now_s)
    silent = silent_s > (states_s or 1.0)
    message = "no joint states yet" if silent_s == float("inf") else f"no joint states for {silent_s:.1f} s"
    values: dict[str, object] = {
        "joint_states_hz": rate.rate_hz,
        "silent_ms": 1e3 * silent_s,
        "tracking_error_rad": tracking_rad[0],
        "lag_ms": 1e3 * lag_s,
        "gripper_width_m": float("nan") if width_m is None else width_m,
    }
    limits = {"silent_ms": f"<= {1e3 * states_s:g}"} if states_s else {}
    if tracking_rad[1]:
        limits["tracking_error_rad"] = f"<= {tracking_rad[1]:g}"
    return Report(
        "arm", Level.ERROR if silent else Level.OK, message if silent else "ok", values, limits,
        "look at the arm's driver, its network and its lights; /joint_states must carry all joints", arm,
    )  # fmt: skip
