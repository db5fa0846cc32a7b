"""Everything the page shows, gathered from what the graph says. Pure: times come in, a plain dictionary goes out."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ..types import ActionChunk
from .facts import Event, Facts, Halt, Speed, Status
from .timeline import ChunkRecord, Timeline, Verdict

_STALE_NS = 5_000_000_000
_PAST_S, _AHEAD_S = 12.0, 4.0
CONTROL = "controller: control"
STAGES = (
    ("frame age", "denoiser: generate", "frame_age"),
    ("generate", "denoiser: generate", "generate"),
    ("publish", "denoiser: generate", "publish"),
    ("decode", "decoder: decode", "decode"),
)
"""Label, status and key prefix of each stage of the way from exposure to targets."""

LEVELS = ("ok", "warn", "error", "stale")
_HALTED = ("fault", "holding")


class ConsoleState:
    """Written by the node's callbacks, read by the server and the scene, from any thread.

    cell_name: of the cell file; views: its views in order.
    """

    def __init__(self, cell_name: str, views: Sequence[str]) -> None:
        self._cell, self._views = cell_name, tuple(views)
        self._lock = threading.Lock()
        self._facts, self._timeline = Facts(), Timeline()

    # ---- what the graph says

    def on_status(self, status: Status) -> None:
        with self._lock:
            before = self._facts.statuses.get(status.name)
            self._facts.statuses[status.name] = status
            if status.name == CONTROL:
                self._controller(status)
            if before is not None and before.level != status.level and status.name != CONTROL:
                kind = "info" if status.level == 0 else "warn" if status.level in (1, 3) else "error"
                self._say(status.at_ns, kind, f"{status.name}: {status.message}")

    def on_controller(self, state: str, why: str, now_ns: int) -> None:
        """The controller's state as soon as it changes; /diagnostics tells the same later."""
        with self._lock:
            self._change(state, why, now_ns)

    def _controller(self, status: Status) -> None:
        state, fault = status.values.get("state", ""), status.values.get("fault", "")
        if fault and state in _HALTED:
            self._facts.last_halt = Halt(state, fault, status.values.get("remedy", ""), status.at_ns)
        if not self._facts.controller:
            self._facts.controller = state

    def _change(self, state: str, fault: str, now_ns: int) -> None:
        f = self._facts
        if state == f.controller:
            return
        if f.controller:
            kind = {"fault": "error", "holding": "warn"}.get(state, "info")
            self._say(now_ns, kind, f"{f.controller} → {state}{f': {fault}' if fault else ''}")
        if state != "running":
            self._timeline.left_off(now_ns)
        f.controller = state
        if fault and state in _HALTED:
            f.last_halt = Halt(state, fault, "", now_ns)

    def on_instruction(self, text: str, now_ns: int) -> None:
        text = " ".join(text.split())
        with self._lock:
            f = self._facts
            if text and text != f.instruction:
                if text in f.instructions:
                    f.instructions.remove(text)
                f.instructions.appendleft(text)
                self._say(now_ns, "info", f"instruction: {text}")
            f.instruction = text

    def on_control_source(self, source: str, now_ns: int) -> None:
        """Who moves the arm, as recordings keep it: policy, human, teleoperation, expert, unknown."""
        with self._lock:
            if source != self._facts.source:
                self._facts.source = source
                self._say(now_ns, "info", f"in control: {source or 'unknown'}")

    def on_action_images(self, stamp_ns: int, now_ns: int) -> None:
        with self._lock:
            self._timeline.generated(stamp_ns, now_ns)

    def on_chunk(self, chunk: ActionChunk, now_ns: int) -> None:
        """chunk: as decoded, stamped."""
        with self._lock:
            assert chunk.stamp_ns is not None and chunk.dt_s is not None, "stamped"
            self._timeline.decoded(chunk.stamp_ns, now_ns, len(chunk), chunk.dt_s)
            self._facts.chunk = chunk

    def on_chunk_verdict(self, stamp_ns: int, now_ns: int, verdict: Verdict, reason: str) -> None:
        with self._lock:
            self._timeline.judged(stamp_ns, now_ns, verdict, reason)

    def on_joints(self, q: Iterable[float], width_m: float, tcp_m: Iterable[float]) -> None:
        """Joint angles (7,) rad, the gripper's opening, and where the TCP is, base frame."""
        with self._lock:
            f = self._facts
            f.joints, f.width_m = tuple(float(x) for x in q), float(width_m)
            x, y, z = (float(v) for v in tcp_m)
            here = (x, y, z)
            if not f.trail or np.linalg.norm(np.subtract(here, f.trail[-1])) > 2e-3:
                f.trail.append(here)

    def on_cell_verdict(self, verdict: Mapping, now_ns: int) -> None:
        """The simulated cell's own judgement of the episode: episode, outcome, reason, time_s."""
        with self._lock:
            f = self._facts
            if (verdict.get("episode"), verdict.get("outcome")) != (f.verdict.get("episode"), f.verdict.get("outcome")):
                outcome = verdict.get("outcome", "")
                if outcome == "pending":
                    f.trail.clear()
                why = f": {verdict['reason']}" if verdict.get("reason") else ""
                self._say(now_ns, "info", f"episode {verdict.get('episode')}: {outcome}{why}")
            f.verdict = dict(verdict)

    def on_offers(self, names: Sequence[str]) -> None:
        """What the graph offers beyond the controller: record, end_record, success, failure, discard, next_scene."""
        with self._lock:
            self._facts.offers = tuple(names)

    def on_recorder(self, recorder: Mapping) -> None:
        """The recorder's own state: recording, directory, seconds, bytes, lost."""
        with self._lock:
            self._facts.recorder = dict(recorder)

    def on_speed(self, value: float | None, settable: bool, minimum: float, maximum: float) -> None:
        with self._lock:
            self._facts.speed = Speed(value, settable, minimum, maximum)

    def note(self, kind: str, text: str, now_ns: int) -> None:
        """A line in the page's log: what the operator did, and what came of it."""
        with self._lock:
            self._say(now_ns, kind, text)

    def _say(self, at_ns: int, kind: str, text: str) -> None:
        self._facts.events.appendleft(Event(at_ns, kind, text))

    # ---- what the scene needs

    @property
    def chunk(self) -> ActionChunk | None:
        with self._lock:
            return self._facts.chunk

    @property
    def arm(self) -> tuple[tuple[float, ...], float | None]:
        """Joint angles (7,), () before the first; gripper opening in m."""
        with self._lock:
            return self._facts.joints, self._facts.width_m

    @property
    def trail(self) -> np.ndarray:
        """Where the TCP has been (N, 3)."""
        with self._lock:
            return np.array(self._facts.trail).reshape(-1, 3)

    # ---- what the page needs

    def snapshot(self, now_ns: int) -> dict:
        """Plain JSON types only. Times are seconds relative to now, negative in the past."""
        with self._lock:
            f = self._facts
            control = f.statuses.get(CONTROL)
            return {
                "cell": self._cell,
                "views": list(self._views),
                "controller": self._controller_view(control, now_ns),
                "instruction": f.instruction,
                "instructions": list(f.instructions),
                "control_source": f.source,
                "stages": self._stages(control),
                "cameras": [self._camera(v) for v in self._views],
                "skew_ms": _number(self._value("denoiser: sync", "skew_ms")),
                "chunks": [self._bar(r, now_ns) for r in self._timeline.since(now_ns - round(1e9 * _PAST_S))],
                "chunk_counts": {"accepted": self._timeline.accepted, "refused": self._timeline.refused},
                "window_s": [-_PAST_S, _AHEAD_S],
                "statuses": [self._line(s, now_ns) for s in sorted(f.statuses.values(), key=lambda s: s.name)],
                "events": [{"ago_s": _ago(e.at_ns, now_ns), "kind": e.kind, "text": e.text} for e in f.events],
                "cell_verdict": f.verdict,
                "offers": list(f.offers),
                "recorder": f.recorder,
                "speed": vars(f.speed),
                "chunk": self._chunk_line(now_ns),
            }

    def _controller_view(self, status: Status | None, now_ns: int) -> dict:
        if status is None or now_ns - status.at_ns > _STALE_NS:
            fault, remedy = "no word from the controller on /diagnostics", "start the graph, or look at its log"
            return {"state": "unreachable", "fault": fault, "remedy": remedy, "last": None}
        halt, state = self._facts.last_halt, self._facts.controller or status.values.get("state", "inactive")
        last = None if halt is None else {"state": halt.state, "fault": halt.why, "remedy": halt.remedy,
                                          "ago_s": _ago(halt.at_ns, now_ns)}  # fmt: skip
        if state in _HALTED and last is not None:
            return {"state": state, "fault": last["fault"], "remedy": last["remedy"], "last": last}
        return {"state": state, "fault": status.values.get("fault", ""), "remedy": status.values.get("remedy", ""),
                "last": last}  # fmt: skip

    def _value(self, status: str, key: str) -> str:
        known = self._facts.statuses.get(status)
        return "" if known is None else known.values.get(key, "")

    def _stages(self, control: Status | None) -> list[dict]:
        rows = [
            {
                "name": label,
                "p50_ms": _number(self._value(status, f"{key}_p50_ms")),
                "p99_ms": _number(self._value(status, f"{key}_p99_ms")),
            }
            for label, status, key in STAGES
        ]
        if control is not None:
            v = control.values
            total = {"p50_ms": _number(v.get("latency_mean_ms", "")), "p99_ms": _number(v.get("latency_p95_ms", ""))}
            loop = {key: _number(v.get(f"period_error_{key}", "")) for key in ("p50_ms", "p99_ms")}
            rows += [
                {"name": "exposure to control", "which": "mean, p95", **total},
                {"name": "control period error", **loop},
            ]
        return rows

    def _camera(self, view: str) -> dict:
        name = f"denoiser: camera {view}"
        known = self._facts.statuses.get(name)
        return {
            "name": view,
            "rate_hz": _number(self._value(name, "rate_hz")),
            "age_ms": _number(self._value(name, "age_ms")),
            "level": LEVELS[known.level] if known else "stale",
            "message": known.message if known else "no word",
        }

    @staticmethod
    def _bar(r: ChunkRecord, now_ns: int) -> dict:
        end = r.played_until_ns if r.played_until_ns is not None else max(r.end_ns, r.judged_ns or 0)
        made = min((t for t in (r.generated_ns, r.decoded_ns) if t is not None), default=None)
        return {
            "number": r.number,
            "stamp_s": _ago(r.stamp_ns, now_ns),
            "generated_s": _ago(made, now_ns),
            "decoded_s": _ago(r.decoded_ns, now_ns),
            "judged_s": _ago(r.judged_ns, now_ns),
            "verdict": r.verdict.value if r.verdict else None,
            "reason": r.reason,
            "steps": r.n_steps,
            "steps_passed": r.steps_passed,
            "dt_s": r.dt_s,
            "end_s": _ago(r.end_ns, now_ns),
            "played_until_s": _ago(end, now_ns) if r.verdict is Verdict.ACCEPTED else None,
        }

    @staticmethod
    def _line(s: Status, now_ns: int) -> dict:
        stale = now_ns - s.at_ns > _STALE_NS
        return {
            "name": s.name,
            "level": LEVELS[3] if stale else LEVELS[min(s.level, 3)],
            "message": f"silent for {(now_ns - s.at_ns) * 1e-9:.0f} s" if stale else s.message,
            "hardware_id": s.hardware_id,
            "remedy": s.values.get("remedy", ""),
            "values": {k: v for k, v in s.values.items() if k != "remedy"},
        }

    def _chunk_line(self, now_ns: int) -> dict:
        c = self._facts.chunk
        if c is None or not len(c):
            return {}
        ago_s = _ago(c.stamp_ns, now_ns)
        return {
            "age_s": None if ago_s is None else -ago_s,
            "steps": len(c),
            "span_s": round(c.dt_s * (len(c) - 1), 2) if c.dt_s else None,
            "credible": int(np.sum(c.credible)),
            "reproj_rms_px": round(float(np.median(c.reproj_rms_px)), 3),
            "gripper": "open" if c.openness[-1] > 0.5 else "closed",
            "why": next((w for w in c.why if w), ""),
        }


def _ago(at_ns: int | None, now_ns: int) -> float | None:
    return None if at_ns is None else round((at_ns - now_ns) * 1e-9, 3)


def _number(text: str) -> float | None:
    """None for what is no finite number: JSON has no infinity."""
    try:
        value = float(text)
    except ValueError:
        return None
    return round(value, 3) if np.isfinite(value) else None
