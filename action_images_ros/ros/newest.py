"""Subscriptions that wake nobody: their newest message is taken when it suits.

An executor looks at everything that its node waits for whenever one message comes; with cameras and joint states that
is most of what a process costs which only shows them.
"""

from __future__ import annotations

from typing import Any

from rclpy.callback_groups import CallbackGroup


class Unheard(CallbackGroup):
    """The group of such subscriptions: the executor leaves them alone. Give them a depth of 1."""

    def can_execute(self, entity: Any) -> bool:
        return False

    def beginning_execution(self, entity: Any) -> bool:
        return False

    def ending_execution(self, entity: Any) -> None:
        """Nothing of this group is ever executed."""


def hear(subscription: Any) -> None:
    """Call it back with its newest message, if one has come since the last time. From the executor's thread."""
    with subscription.handle:
        taken = subscription.handle.take_message(subscription.msg_type, False)
    if taken is not None:
        subscription.callback(taken[0])
