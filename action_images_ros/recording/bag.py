"""Reading recordings: rosbag2 directories (MCAP or SQLite), single .mcap and .db3 files, whoever wrote them.

Nothing outside the given directory is opened, and whatever is wrong with a bag is one DatasetError.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from ..errors import ConfigError, DatasetError, pip_install
from .bag_metadata import FILE_NAME, BagFiles, read_metadata
from .mcap_records import Attachment
from .mcap_scan import Entry, McapFile


@dataclass(frozen=True)
class Message:
    """data: serialised; a view that is valid while the bag is open. sequence: the publisher's number, 0 if unknown."""

    topic: str
    log_time_ns: int
    data: memoryview
    sequence: int = 0


class _Storage(Protocol):
    topics: dict[str, str]
    attachments: dict[str, bytes]
    torn: bool

    def index(self, wanted: Collection[str] | None) -> Iterator[tuple[int, str, Any]]: ...
    def message(self, key: Any) -> tuple[memoryview, int]: ...
    def close(self) -> None: ...


class Bag:
    """An open recording; use it as a context manager.

    topics: name -> type. attachments: of MCAP. torn: whether a file lacks its end, as after a power cut; what is whole
    is read all the same. Raises DatasetError where there is no bag.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        found = _files(self.path)
        self._message_compression = found.message_compression
        self._parts: list[_Storage] = []
        try:
            for file in found.files:
                self._parts.append(_McapPart(file) if found.storage == "mcap" else _SqlitePart(file))
        except BaseException:
            self.close()
            raise
        self.topics = {name: kind for part in self._parts for name, kind in part.topics.items()}
        self.attachments = {name: data for part in self._parts for name, data in part.attachments.items()}
        self.torn = any(part.torn for part in self._parts)

    def __enter__(self) -> Bag:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        for part in self._parts:
            part.close()

    def messages(self, topics: Collection[str] | None = None) -> Iterator[Message]:
        """In order of log time; those of one time in the order in which they were written."""
        index = [(t, number, topic, key) for number, part in enumerate(self._parts)
                 for t, topic, key in part.index(topics)]  # fmt: skip
        index.sort(key=lambda item: item[0])
        for log_time_ns, number, topic, key in index:
            data, sequence = self._parts[number].message(key)
            yield Message(topic, log_time_ns, self._plain(data), sequence)

    def times(self, topics: Collection[str] | None = None) -> dict[str, list[int]]:
        """Log times of every topic, ns, ascending."""
        out: dict[str, list[int]] = {t: [] for t in self.topics if topics is None or t in topics}
        for part in self._parts:
            for t, topic, _ in part.index(topics):
                out[topic].append(t)
        return {topic: sorted(times) for topic, times in out.items()}

    def _plain(self, data: memoryview) -> memoryview:
        if not self._message_compression:
            return data
        if self._message_compression != "zstd":
            raise DatasetError(f"{self.path}: messages are compressed by {self._message_compression}; legal: zstd")
        try:
            import zstandard
        except ImportError as e:
            raise ConfigError(f"{self.path} needs zstandard: {pip_install('recording')}") from e
        try:
            return memoryview(zstandard.ZstdDecompressor().decompress(bytes(data)))
        except zstandard.ZstdError as e:
            raise DatasetError(f"{self.path}: a message does not uncompress ({e})") from e


def _files(path: Path) -> BagFiles:
    if path.is_file():
        kinds = {".mcap": "mcap", ".db3": "sqlite3"}
        if path.suffix not in kinds:
            raise DatasetError(f"{path} is no bag; give a bag directory, a .mcap or a .db3 file")
        return BagFiles(kinds[path.suffix], (path,))
    if not path.is_dir():
        raise DatasetError(f"{path} does not exist; give a bag directory, a .mcap or a .db3 file")
    if (path / FILE_NAME).exists():
        found = read_metadata(path)
        missing = [f.name for f in found.files if not f.is_file()]
        if missing:
            raise DatasetError(f"{path}: {', '.join(missing)} is missing; the bag is incomplete")
        return found
    mcap, sqlite = sorted(path.glob("*.mcap")), sorted(path.glob("*.db3"))
    if mcap or sqlite:
        return BagFiles("mcap" if mcap else "sqlite3", tuple(mcap or sqlite))
    raise DatasetError(f"{path} holds neither metadata.yaml nor .mcap or .db3 files: it is no bag")


class _McapPart:
    def __init__(self, path: Path) -> None:
        self._file = McapFile(path)
        scan = self._file.scan
        self._names: dict[int, str] = {}
        self.topics: dict[str, str] = {}
        for c in scan.channels.values():
            if c.message_encoding == "cdr" and c.schema_id in scan.schemas:
                self._names[c.id] = c.topic
                self.topics[c.topic] = scan.schemas[c.schema_id].name
        self.attachments = {a.name: a.data for _, _, a in scan.attachments if isinstance(a, Attachment)}
        self.torn = not scan.whole or bool(scan.broken)

    def index(self, wanted: Collection[str] | None) -> Iterator[tuple[int, str, Entry]]:
        scan = self._file.scan
        for e in (*scan.entries, *scan.tail):
            topic = self._names.get(e.channel)
            if topic is not None and (wanted is None or topic in wanted):
                yield e.log_time_ns, topic, e

    def message(self, key: Entry) -> tuple[memoryview, int]:
        return self._file.data(key), key.sequence

    def close(self) -> None:
        self._file.close()


class _SqlitePart:
    def __init__(self, path: Path) -> None:
        self._path = path
        uri = f"file:{path.absolute().as_posix().replace('%', '%25').replace('?', '%3f').replace('#', '%23')}?mode=ro"
        try:
            self._base = sqlite3.connect(uri, uri=True)
            rows = self._base.execute("SELECT id, name, type, serialization_format FROM topics").fetchall()
        except sqlite3.Error as e:
            raise DatasetError(f"{path} is no rosbag2 database ({e})") from e
        self._names = {i: name for i, name, _, form in rows if form == "cdr" and isinstance(name, str)}
        self.topics = {name: str(kind) for i, name, kind, _ in rows if i in self._names}
        self.attachments: dict[str, bytes] = {}
        self.torn = False

    def index(self, wanted: Collection[str] | None) -> Iterator[tuple[int, str, int]]:
        numbers = [i for i, name in self._names.items() if wanted is None or name in wanted]
        marks = ",".join("?" * len(numbers))
        query = f"SELECT timestamp, topic_id, id FROM messages WHERE topic_id IN ({marks}) ORDER BY timestamp, id"
        try:
            for t, topic, row in self._base.execute(query, numbers):
                yield int(t), self._names[topic], int(row)
        except (sqlite3.Error, TypeError, ValueError) as e:
            raise DatasetError(f"{self._path} is damaged ({e}); mend it with `sqlite3 FILE .recover`") from e

    def message(self, key: int) -> tuple[memoryview, int]:
        try:
            row = self._base.execute("SELECT data FROM messages WHERE id = ?", (key,)).fetchone()
            return memoryview(row[0]), 0
        except (sqlite3.Error, TypeError) as e:
            raise DatasetError(f"{self._path} is damaged ({e}); mend it with `sqlite3 FILE .recover`") from e

    def close(self) -> None:
        self._base.close()
