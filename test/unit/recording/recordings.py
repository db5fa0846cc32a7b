"""Bags for tests, written by the writer under test, with content that is known."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np

from action_images_ros.recording.bag_writer import BagWriter, TopicSpec
from action_images_ros.recording.mcap_records import Attachment
from action_images_ros.recording.mcap_writer import ChunkRules

T0 = 1_700_000_000_000_000_000
STRING = TopicSpec("/text", "std_msgs/msg/String", "string data\n")
BLOB = TopicSpec("/blob", "std_msgs/msg/String", "string data\n")


def string(text: str) -> bytes:
    data = text.encode() + b"\0"
    return b"\x00\x01\x00\x00" + struct.pack("<I", len(data)) + data


def samples(count: int, seed: int = 0) -> list[tuple[str, int, int, int, bytes]]:
    """Every 10 ms a text; every third a blob of 10 kB."""
    rng = np.random.default_rng(seed)
    out = []
    for k in range(count):
        t = T0 + 10_000_000 * k
        out.append(("/text", k, t, t - 1000, string(f"message {k}")))
        if k % 3 == 0:
            out.append(("/blob", k, t + 1, t, string(rng.bytes(5_000).hex())))
    return out


def write_bag(directory: Path, content, rules: ChunkRules = ChunkRules(), finish: bool = True) -> BagWriter:
    bag = BagWriter(directory, [Attachment("cell.yaml", "text/yaml", b"name: test\n", T0)], rules)
    bag.add_topic(STRING)
    bag.add_topic(BLOB)
    for sample in content:
        bag.write(*sample)
    if finish:
        bag.finish()
    return bag
