"""Raw subscriptions that follow their publishers: made when one appears, with the quality of service it offers."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription

from .definitions import begins_with_header, message_type

_DEPTH = 100
_DEEP = 1000
_AT_ONCE = 50
_BIG = ("sensor_msgs/msg/Image", "sensor_msgs/msg/PointCloud2")


@dataclass(frozen=True)
class Tap:
    """A topic that is listened to. latched: every publisher keeps its last message for late subscribers."""

    topic: str
    type_name: str
    stamped: bool
    latched: bool
    reliable: bool


@dataclass(frozen=True)
class Arrival:
    """One serialised message. receive_ns and publish_ns 0, sequence None where the middleware does not tell.

    receive_ns: when it came to this process, however late anybody looked.
    """

    topic: str
    data: bytes
    receive_ns: int
    publish_ns: int
    publisher: object
    sequence: int | None


class Taps:
    """Listens to `names`, and to every topic that `pattern` matches, but never to `excluded`.

    Call `update` now and then: it returns the taps that are new. `untypable`: topics whose message package is not
    installed here.
    """

    def __init__(self, node: Node, names: Sequence[str], pattern: str, excluded: Sequence[str],
                 on_message: Callable[[Arrival], None]) -> None:  # fmt: skip
        self._node, self._on_message = node, on_message
        self._names = {node.resolve_topic_name(n) for n in names}
        self._pattern = re.compile(pattern) if pattern else None
        self._excluded = {node.resolve_topic_name(n) for n in excluded}
        self._taps: dict[str, Tap] = {}
        self._subscriptions: dict[str, Subscription] = {}
        self.untypable: dict[str, str] = {}

    def update(self) -> list[Tap]:
        new = []
        for topic, types in self._node.get_topic_names_and_types():
            if topic in self._excluded or not self._wanted(topic) or topic in self.untypable:
                continue
            tap = self._offer(topic, types[0])
            if tap is None or tap == self._taps.get(topic):
                continue
            self._listen(tap)
            new.append(tap)
        return new

    def close(self) -> None:
        for subscription in self._subscriptions.values():
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()
        self._taps.clear()

    def _wanted(self, topic: str) -> bool:
        return topic in self._names or (self._pattern is not None and self._pattern.fullmatch(topic) is not None)

    def _offer(self, topic: str, type_name: str) -> Tap | None:
        """What suits all publishers of a topic; None while it has none, or a type that is not installed."""
        kind = message_type(type_name)
        if kind is None:
            self.untypable[topic] = type_name
            return None
        offers = [info.qos_profile for info in self._node.get_publishers_info_by_topic(topic)]
        if not offers:
            return None
        reliable = all(o.reliability == ReliabilityPolicy.RELIABLE for o in offers)
        latched = reliable and all(o.durability == DurabilityPolicy.TRANSIENT_LOCAL for o in offers)
        return Tap(topic, type_name, begins_with_header(kind), latched, reliable)

    def _listen(self, tap: Tap) -> None:
        old = self._subscriptions.pop(tap.topic, None)
        if old is not None:
            self._node.destroy_subscription(old)
        profile = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=_DEPTH if tap.type_name in _BIG else _DEEP,
            reliability=ReliabilityPolicy.RELIABLE if tap.reliable else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if tap.latched else DurabilityPolicy.VOLATILE,
        )
        kind = message_type(tap.type_name)
        assert kind is not None, "offered with its type"
        self._taps[tap.topic] = tap
        self._subscriptions[tap.topic] = self._node.create_subscription(
            kind, tap.topic, self._callback(tap.topic), profile, raw=True
        )

    def _callback(self, topic: str) -> Callable:
        if not tells_numbers():

            def plain(data) -> None:
                self._on_message(Arrival(topic, data, 0, 0, None, None))
                self._empty(topic, _AT_ONCE)

            return plain

        def with_info(data, info) -> None:
            self._on_message(_arrival(topic, data, info))
            self._empty(topic, _AT_ONCE)

        return with_info

    def drain(self) -> None:
        """Take everything that has already come to this process, as before the end of a recording."""
        for topic in list(self._subscriptions):
            self._empty(topic, _DEEP)

    def _empty(self, topic: str, most: int) -> None:
        """What else waits on this subscription, without going through the executor for every message."""
        subscription = self._subscriptions.get(topic)
        if subscription is None:
            return
        for _ in range(most):
            with subscription.handle:
                taken = subscription.handle.take_message(subscription.msg_type, True)
            if taken is None:
                return
            self._on_message(_arrival(topic, *taken[:2]))


def _arrival(topic: str, data: bytes, info) -> Arrival:
    tell = info.get if isinstance(info, dict) else lambda name, default=None: default
    publisher = (tell("publisher_gid") or {}).get("data")
    return Arrival(
        topic, data, tell("received_timestamp", 0), tell("source_timestamp", 0), publisher,
        tell("publication_sequence_number"),
    )  # fmt: skip


def tells_numbers() -> bool:
    """Whether this rclpy gives callbacks the publisher's numbers (Iron and later)."""
    from rclpy import subscription

    return "MessageInfo" in vars(subscription) and "callback" in inspect.signature(Node.create_subscription).parameters
