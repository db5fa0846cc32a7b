"""metadata.yaml of a rosbag2 directory, in the version that every ROS 2 distribution since Humble reads."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from ..errors import DatasetError
from ..yaml_tree import YamlNode, load_yaml

FILE_NAME = "metadata.yaml"
_VERSION = 5
_INFINITE = "    sec: 9223372036\n    nsec: 854775807\n"


@dataclass(frozen=True)
class Qos:
    """What the publisher offered, in rmw's numbers: 1 reliable, 2 best effort; 1 transient local, 2 volatile."""

    depth: int = 10
    reliability: int = 1
    durability: int = 2

    def text(self) -> str:
        """As rosbag2 keeps it: a YAML list inside a string."""
        return (
            f"- history: 1\n  depth: {self.depth}\n  reliability: {self.reliability}\n"
            f"  durability: {self.durability}\n  deadline:\n{_INFINITE}  lifespan:\n{_INFINITE}"
            f"  liveliness: 1\n  liveliness_lease_duration:\n{_INFINITE}"
            "  avoid_ros_namespace_conventions: false"
        )


@dataclass(frozen=True)
class TopicCount:
    name: str
    type_name: str
    qos: str
    messages: int


def metadata_text(file: str, topics: Sequence[TopicCount], start_ns: int, end_ns: int) -> str:
    """Of a bag with one MCAP file; start_ns and end_ns 0 where it has no message."""
    total, duration = sum(t.messages for t in topics), max(0, end_ns - start_ns)
    time = {"nanoseconds_since_epoch": start_ns}
    content = {
        "version": _VERSION,
        "storage_identifier": "mcap",
        "duration": {"nanoseconds": duration},
        "starting_time": time,
        "message_count": total,
        "topics_with_message_count": [_topic(t) for t in topics],
        "compression_format": "",
        "compression_mode": "",
        "relative_file_paths": [file],
        "files": [{"path": file, "starting_time": dict(time), "duration": {"nanoseconds": duration},
                   "message_count": total}],
    }  # fmt: skip
    return yaml.safe_dump({"rosbag2_bagfile_information": content}, sort_keys=False)


def _topic(t: TopicCount) -> Mapping[str, object]:
    data = {"name": t.name, "type": t.type_name, "serialization_format": "cdr", "offered_qos_profiles": t.qos}
    return {"topic_metadata": data, "message_count": t.messages}


def write_whole(path: Path, text: str) -> None:
    """The new content or the old one, whatever happens meanwhile."""
    partial = path.with_name(path.name + ".partial")
    with open(partial, "w", encoding="utf-8") as f:
        f.write(text)
        f.flush()
        os.fsync(f.fileno())
    os.replace(partial, path)


@dataclass(frozen=True)
class BagFiles:
    """storage: mcap or sqlite3. message_compression: zstd, or "" where messages are plain."""

    storage: str
    files: tuple[Path, ...]
    message_compression: str = ""


def read_metadata(directory: Path) -> BagFiles:
    """The data files of a bag directory, in order.

    Raises DatasetError for a file outside the directory, whole-file compression, and anything malformed.
    """
    try:
        info = load_yaml(directory / FILE_NAME).entries().get("rosbag2_bagfile_information")
        if info is None:
            raise DatasetError(f"{directory / FILE_NAME} has no rosbag2_bagfile_information: it is no bag")
        m = info.entries()
        storage = m["storage_identifier"].text() if "storage_identifier" in m else ""
        names = [n.text() for n in m["relative_file_paths"].items()] if "relative_file_paths" in m else []
        mode, form = _word(m.get("compression_mode")).lower(), _word(m.get("compression_format"))
    except DatasetError:
        raise
    except Exception as e:  # noqa: BLE001 - one line, whatever is wrong with the file
        raise DatasetError(f"{directory / FILE_NAME}: {' '.join(str(e).split())}") from e
    if storage not in ("mcap", "sqlite3"):
        raise DatasetError(f"{directory / FILE_NAME}: storage_identifier is {storage!r}; legal: mcap, sqlite3")
    if mode == "file":
        raise DatasetError(f"{directory} is compressed as whole files; write it again with `ros2 bag convert` without")
    files = tuple(_inside(directory, n) for n in names)
    if not files:
        raise DatasetError(f"{directory / FILE_NAME} names no data file")
    return BagFiles(storage, files, form if mode == "message" else "")


def _word(node: YamlNode | None) -> str:
    return node.value if node is not None and isinstance(node.value, str) else ""


def _inside(directory: Path, name: str) -> Path:
    """Old bags name files with the directory before them; nothing may lead out of it."""
    path = (directory / name).resolve()
    if not path.exists() and (directory / Path(name).name).exists():
        path = (directory / Path(name).name).resolve()
    if Path(name).is_absolute() or not path.is_relative_to(directory.resolve()):
        raise DatasetError(f"{directory / FILE_NAME} names {name!r}, which is outside the bag; it is not opened")
    return path
