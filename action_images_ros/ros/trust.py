"""Whether the cameras still stand where the cell file says: what `drift_monitor` latches on `calibration_ok`."""

from __future__ import annotations

from collections.abc import Callable

from std_msgs.msg import Bool

from . import qos


class CalibrationTrust:
    """ok until somebody says otherwise; where nobody watches, it stays so. on_change: called in the node's executor."""

    def __init__(self, node, on_change: Callable[[], None] = lambda: None) -> None:
        self.ok, self._node, self._on_change = True, node, on_change
        node.create_subscription(Bool, "calibration_ok", self._on_message, qos.LATCHED)

    @property
    def complaint(self) -> str:
        """ "" or why no chunk may be made."""
        return "" if self.ok else "a camera has moved (see drift_monitor); put it back and reset, or calibrate again"

    def _on_message(self, msg: Bool) -> None:
        if msg.data != self.ok:
            self.ok = bool(msg.data)
            log = self._node.get_logger()
            log.info("calibration_ok: going on") if self.ok else log.error(self.complaint)
            self._on_change()
