"""What a recording says of an episode: matched camera sets, arm states, instruction, marks, who was in control.

The order of things is that of the live nodes: the same synchroniser, fed in the order of arrival, and the same
interpolation of joint states.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import chain

import numpy as np

from ..cell import Cell, View
from ..errors import ActionImagesError, DatasetError
from ..streams import JointStateReader, StateHistory, Synchroniser, rgb_picture
from ..types import RobotState
from .bag import Bag, Message
from .cdr import header_stamp_ns, read_compressed_image, read_image, read_joint_state, read_text
from .jpeg import SUFFIX, uncompressed
from .provenance import CELL_NAME
from .recorder import MARKS_TOPIC, PROVENANCE_TOPIC
from .stream_video import CODECS, decoded

MAX_WIDTH_M = 0.08
SOURCES = ("unknown", "policy", "human", "expert", "teleoperation")
_JOINTS_TOPIC = "/joint_states"


class Success(str, Enum):
    """The last mark of an episode, else the verdict of a simulated cell."""

    SUCCESS = "success"
    FAILURE = "failure"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ReadRules:
    """cell: instead of the one in the bag. instruction: where the bag says none. max_gap_s: the longest time without a
    matched set, or without joint states, inside an episode. min_s: shorter pieces are no episode."""

    cell: Cell | None = None
    instruction: str = ""
    max_gap_s: float = 0.5
    min_s: float = 1.0


@dataclass(frozen=True, eq=False)
class Moments:
    """N matched sets of one instruction, in order.

    stamps_ns (N, V) exposures, skew_s (N,); states at the oldest exposure of each, none where the recording has no
    joint states; sources (N,) index into SOURCES.
    """

    instruction: str
    stamps_ns: np.ndarray
    skew_s: np.ndarray
    states: tuple[RobotState, ...]
    sources: np.ndarray

    @property
    def times_ns(self) -> np.ndarray:
        """(N,) the oldest exposure of each set: the time of the observation."""
        return self.stamps_ns.min(axis=1)


@dataclass(frozen=True, eq=False)
class Recording:
    """episodes: pieces of one instruction each; notes: what was left out and why."""

    cell: Cell
    episodes: tuple[Moments, ...]
    success: Success
    notes: tuple[str, ...]
    image_topics: dict[str, str]
    rates_hz: dict[str, float]


def read_recording(bag: Bag, rules: ReadRules = ReadRules()) -> Recording:
    """Everything but the pictures. Raises DatasetError (or another ActionImagesError) in one line for what is missing
    or does not fit."""
    if _JOINTS_TOPIC not in bag.topics:
        raise DatasetError(f"{bag.path} has no {_JOINTS_TOPIC}; record the arm's joint states too")
    return _read(bag, rules, joints=(_JOINTS_TOPIC,))


def _read(bag: Bag, rules: ReadRules, joints: tuple[str, ...]) -> Recording:
    cell = rules.cell or _cell_of(bag)
    topics = {v.name: _image_topic(bag, v) for v in cell.views}
    history, texts = _slow_streams(bag, cell, rules, joints)
    stamps, skews, rates = _matched_sets(bag, cell, topics)
    if not len(stamps):
        raise DatasetError(
            f"{bag.path}: no matched set of {', '.join(cell.view_names)} within sync.max_skew_s {cell.sync.max_skew_s}"
        )
    episodes, notes = _pieces(stamps, skews, history, texts, rules)
    if not episodes:
        raise DatasetError(f"{bag.path}: no piece of {rules.min_s:g} s or more; {'; '.join(notes)}")
    return Recording(cell, tuple(episodes), texts.success(), tuple(notes), topics, rates)


def read_footage(bag: Bag, rules: ReadRules = ReadRules()) -> Recording:
    """The same of a bag that may lack joint states: its episodes then have no states."""
    if _JOINTS_TOPIC in bag.topics:
        return read_recording(bag, rules)
    return _read(bag, rules, joints=())


def picture_of(message: Message, type_name: str) -> np.ndarray:
    """(H, W, 3) uint8 RGB of a camera message."""
    if type_name.endswith("CompressedImage"):
        return uncompressed(read_compressed_image(message.data))
    return rgb_picture(read_image(message.data))


def _cell_of(bag: Bag) -> Cell:
    """From the attachment, else from the provenance message."""
    if CELL_NAME in bag.attachments:
        return Cell.parse(bag.attachments[CELL_NAME].decode("utf-8", "replace"), f"{bag.path}:{CELL_NAME}")
    if PROVENANCE_TOPIC in bag.topics:
        for message in bag.messages([PROVENANCE_TOPIC]):
            text = _json(read_text(message.data)).get("cell")
            if isinstance(text, str):
                return Cell.parse(text, f"{bag.path}:{PROVENANCE_TOPIC}")
    raise DatasetError(f"{bag.path} carries no cell file; give the one of that cell with --cell")


def _image_topic(bag: Bag, view: View) -> str:
    for topic in (view.image_topic, view.image_topic + SUFFIX, *(f"{view.image_topic}/{c}" for c in CODECS)):
        if topic in bag.topics:
            return topic
    found = ", ".join(t for t, k in bag.topics.items() if k.endswith("Image")) or "none"
    raise DatasetError(f"{bag.path}: no images of view {view.name} on {view.image_topic}; image topics: {found}")


class _Texts:
    """What was said, with its time."""

    def __init__(self, default: str) -> None:
        self.instructions: list[tuple[int, str]] = []
        self.sources: list[tuple[int, str]] = []
        self.marks: list[str] = []
        self.verdict = ""
        self._default = default

    def instruction_at(self, t: int) -> str:
        """The newest one; before the first one, the first: an operator may be late by a moment."""
        said = [text for at, text in self.instructions if at <= t and text]
        first = next((text for _, text in self.instructions if text), self._default)
        return said[-1] if said else first

    def source_at(self, t: int) -> int:
        said = [s for at, s in self.sources if at <= t] or [s for _, s in self.sources[:1]]
        return SOURCES.index(said[-1]) if said and said[-1] in SOURCES else 0

    def success(self) -> Success:
        for word in (*reversed(self.marks), self.verdict):
            if word in (Success.SUCCESS.value, Success.FAILURE.value):
                return Success(word)
        return Success.UNKNOWN


def _slow_streams(bag: Bag, cell: Cell, rules: ReadRules, joints: tuple[str, ...]
                  ) -> tuple[StateHistory | None, _Texts]:  # fmt: skip
    named = {t: t.rsplit("/", 1)[-1] for t in bag.topics if bag.topics[t] == "std_msgs/msg/String"}
    kept = {t: n for t, n in named.items() if n in ("instruction", "control_source", "verdict") or t == MARKS_TOPIC}
    reader, texts = JointStateReader(cell.arm.joints, cell.arm.fingers), _Texts(rules.instruction)
    count = sum(map(len, bag.times(joints).values()))
    history = StateHistory(max(count, 1), max_gap_s=0.1)
    for m in bag.messages([*joints, *kept]):
        if m.topic == _JOINTS_TOPIC:
            state = reader.read(read_joint_state(m.data))
            if state is not None:
                history.add(state)
        else:
            _hear(texts, kept[m.topic], m)
    if not joints:
        return None, texts
    if history.newest is None:
        raise DatasetError(f"{bag.path}: no joint states with {reader.missing or ', '.join(cell.arm.joints)}")
    return history, texts


def _hear(texts: _Texts, name: str, m: Message) -> None:
    text = read_text(m.data)
    if name == "instruction":
        texts.instructions.append((m.log_time_ns, " ".join(text.split())))
    elif name == "control_source":
        texts.sources.append((m.log_time_ns, text.strip()))
    elif name == "verdict":
        texts.verdict = str(_json(text).get("outcome", ""))
    else:
        texts.marks.append(str(_json(text).get("mark", "")))


def _json(text: str) -> dict:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _matched_sets(bag: Bag, cell: Cell, topics: dict[str, str]) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
    """Stamps (N, V), skews (N,), rates by view, as the live nodes would have matched them."""
    sync = Synchroniser(cell.view_names, cell.sync.max_skew_s, cell.sync.max_age_s)
    views = {topic: name for name, topic in topics.items()}
    stamps, skews = [], []
    times: dict[str, list[int]] = {name: [] for name in topics}
    for m in bag.messages(list(views)):
        stamp_ns = header_stamp_ns(m.data)
        times[views[m.topic]].append(stamp_ns)
        found = sync.add(views[m.topic], stamp_ns, None, m.log_time_ns)
        if found is not None:
            stamps.append(found.stamps_ns)
            skews.append(found.skew_s)
    rates = {name: 1e9 / float(np.median(np.diff(t))) if len(t) > 1 and np.median(np.diff(t)) > 0 else 0.0
             for name, t in times.items()}  # fmt: skip
    return np.array(stamps, np.int64).reshape(-1, len(topics)), np.array(skews), rates


def _pieces(stamps: np.ndarray, skews: np.ndarray, history: StateHistory | None, texts: _Texts, rules: ReadRules
            ) -> tuple[list[Moments], list[str]]:  # fmt: skip
    """Runs of sets with a known state, one instruction and no gap."""
    times = stamps.min(axis=1)
    nobody = RobotState(np.zeros(7), np.zeros(7), 0.0, 0)
    lookup = [nobody] * len(times) if history is None else _states(history, times)
    words = [texts.instruction_at(int(t)) for t in times]
    notes: list[str] = []
    pieces: list[tuple[slice, str]] = []
    begin = 0
    unknown = sum(s is None for s in lookup)
    if unknown:
        notes.append(f"{unknown} of {len(times)} sets without joint states near them")
    for k in range(1, len(times) + 1):
        end = k == len(times)
        gap_s = 0.0 if end else 1e-9 * (times[k] - times[k - 1])
        if end or words[k] != words[begin] or gap_s > rules.max_gap_s or (lookup[k] is None) != (lookup[begin] is None):
            _close(pieces, notes, slice(begin, k), times, lookup, words[begin], rules)
            if gap_s > rules.max_gap_s:
                notes.append(f"{gap_s:.2f} s without a matched set")
            begin = k
    out = []
    for piece, word in pieces:
        sources = np.array([texts.source_at(int(t)) for t in times[piece]])
        states = () if history is None else tuple(s for s in lookup[piece] if s is not None)
        out.append(Moments(word, stamps[piece], skews[piece], states, sources))
    return out, notes


def _close(pieces: list, notes: list[str], piece: slice, times: np.ndarray, lookup: list, word: str,
           rules: ReadRules) -> None:  # fmt: skip
    length_s = 1e-9 * (times[piece.stop - 1] - times[piece.start])
    if lookup[piece.start] is None:
        return
    if not word:
        notes.append(f"{length_s:.1f} s without an instruction (give one with --instruction)")
    elif length_s < rules.min_s:
        notes.append(f"a piece of {length_s:.1f} s is too short")
    else:
        pieces.append((piece, word))


def _states(history: StateHistory, times: np.ndarray) -> list[RobotState | None]:
    """As the live history tells them, in time linear in both."""
    every = list(history.all())
    out, begin = [], 0
    for t in times:
        while begin + 2 < len(every) and every[begin + 1].stamp_ns < t:
            begin += 1
        near = StateHistory(4, history.max_gap_s)
        for state in every[max(begin - 1, 0) : begin + 3]:
            near.add(state)
        out.append(near.at(int(t)))
    return out


def tcp_poses(states: tuple[RobotState, ...], fk: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """(N, 4, 4) base_T_tcp."""
    return np.stack([fk(s.q) for s in states])


def openness(states: tuple[RobotState, ...]) -> np.ndarray:
    """(N,) in [0, 1], as the denoiser takes it."""
    return np.clip([s.gripper_width_m / MAX_WIDTH_M for s in states], 0.0, 1.0)


def pictures(bag: Bag, recording: Recording, wanted: dict[str, dict[int, int]]
             ) -> Iterator[tuple[str, int, np.ndarray, int]]:  # fmt: skip
    """(view, stamp, picture, how often it is wanted); of each view in the order of arrival. wanted: view -> stamp ->
    times."""
    views = {topic: name for name, topic in recording.image_topics.items()}
    sizes = {v.name: v.camera.image_size for v in recording.cell.views}
    streams = {t: c for t in views for c in CODECS if t.endswith(f"/{c}")}
    sources = [_single(bag, {t: v for t, v in views.items() if t not in streams}, wanted)]
    sources += [_streamed(bag, topic, codec, views[topic], sizes[views[topic]]) for topic, codec in streams.items()]
    for view, stamp_ns, picture in chain.from_iterable(sources):
        if (picture.shape[1], picture.shape[0]) != tuple(sizes[view]):
            raise DatasetError(
                f"{bag.path}: view {view} has pictures of {picture.shape[1]}x{picture.shape[0]}, its calibration is "
                f"for {sizes[view][0]}x{sizes[view][1]}"
            )
        times = wanted[view].pop(stamp_ns, 0)
        if times:
            yield view, stamp_ns, picture, times


def _single(bag: Bag, views: dict[str, str], wanted: dict[str, dict[int, int]]
            ) -> Iterator[tuple[str, int, np.ndarray]]:  # fmt: skip
    """Of topics whose messages are a picture each; only those that are wanted."""
    for m in bag.messages(list(views)):
        view, stamp_ns = views[m.topic], header_stamp_ns(m.data)
        if stamp_ns in wanted[view]:
            try:
                yield view, stamp_ns, picture_of(m, bag.topics[m.topic])
            except ActionImagesError as error:
                raise DatasetError(f"{bag.path}: {m.topic}: {error}") from error


def _streamed(bag: Bag, topic: str, codec: str, view: str, size: tuple[int, int]
              ) -> Iterator[tuple[str, int, np.ndarray]]:  # fmt: skip
    """Of a topic whose messages are a video."""
    units = ((header_stamp_ns(m.data), bytes(read_compressed_image(m.data).data)) for m in bag.messages([topic]))
    try:
        for stamp_ns, picture in decoded(units, codec, size):
            yield view, stamp_ns, picture
    except DatasetError as error:
        raise DatasetError(f"{bag.path}: {topic}: {error}") from error
