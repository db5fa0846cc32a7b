"""Bags as other readers see them, and as ours reads them; what a kill leaves, and what repair makes of it."""

import os
import random
import sqlite3

import pytest
import yaml
from mcap.reader import make_reader
from recordings import T0, samples, write_bag
from rosbags.rosbag2 import Reader

from action_images_ros.errors import DatasetError
from action_images_ros.recording.bag import Bag
from action_images_ros.recording.mcap_writer import ChunkRules
from action_images_ros.recording.repair import repair

CONTENT = samples(200)


def content_of(bag: Bag) -> list[tuple[str, int, int, bytes]]:
    return [(m.topic, m.sequence, m.log_time_ns, bytes(m.data)) for m in bag.messages()]


def expected(content):
    return [(topic, sequence, log, data) for topic, sequence, log, _, data in content]


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_every_byte_comes_back_from_all_three_readers(tmp_path, compression):
    bag = tmp_path / "bag"
    write_bag(bag, CONTENT, ChunkRules(compression=compression))
    with Bag(bag) as ours:
        assert content_of(ours) == expected(CONTENT) and not ours.torn
        assert ours.attachments == {"cell.yaml": b"name: test\n"}
        assert ours.topics == {"/text": "std_msgs/msg/String", "/blob": "std_msgs/msg/String"}
    with open(bag / "bag_0.mcap", "rb") as f:
        reader = make_reader(f, validate_crcs=True)
        found = [(c.topic, m.sequence, m.log_time, m.data) for _, c, m in reader.iter_messages()]
        assert found == expected(CONTENT)
        assert [a.data for a in reader.iter_attachments()] == [b"name: test\n"]
        summary = reader.get_summary()
        assert summary.statistics.message_count == len(CONTENT) and summary.statistics.message_start_time == T0
        assert len(summary.chunk_indexes) > 3
    with Reader(bag) as theirs:
        assert theirs.message_count == len(CONTENT)
        assert [(c.topic, t, raw) for c, t, raw in theirs.messages()] == [(s[0], s[2], s[4]) for s in CONTENT]


def test_a_second_bag_of_one_name_is_refused(tmp_path):
    write_bag(tmp_path / "bag", CONTENT[:3])
    with pytest.raises(DatasetError, match="exists already"):
        write_bag(tmp_path / "bag", CONTENT[:3])


def test_a_file_cut_anywhere_is_repaired_to_all_its_whole_messages(tmp_path):
    """Against the writer's own positions: what was whole before the cut is there, nothing else."""
    write_bag(tmp_path / "whole", CONTENT)
    data = (tmp_path / "whole" / "whole_0.mcap").read_bytes()
    ends = [data.find(e[3]) + len(e[3]) for e in expected(CONTENT)]
    cuts = [len(data) - 1, len(data) - 300, *random.Random(0).sample(range(1500, len(data)), 12)]
    for number, cut in enumerate(cuts):
        bag = tmp_path / f"cut{number}"
        bag.mkdir()
        (bag / f"cut{number}_0.mcap").write_bytes(data[:cut])
        with Bag(bag) as torn:
            before = content_of(torn)
            assert torn.torn
        whole = [e for e, end in zip(expected(CONTENT), ends) if end <= cut]
        assert before == whole
        result = repair(bag)
        assert result.changed and result.messages == len(whole)
        with Bag(bag) as mended:
            assert content_of(mended) == whole and not mended.torn
        if whole:
            with Reader(bag) as theirs:
                assert [(c.topic, t, raw) for c, t, raw in theirs.messages()] == [(e[0], e[2], e[3]) for e in whole]
        assert not repair(bag).changed


def test_a_repair_that_is_itself_cut_off_loses_nothing(tmp_path):
    bag = tmp_path / "bag"
    write_bag(bag, CONTENT)
    file = bag / "bag_0.mcap"
    data = file.read_bytes()
    cut = len(data) * 2 // 3
    file.write_bytes(data[:cut])
    with Bag(bag) as torn:
        before = content_of(torn)
    with Bag(bag) as torn:
        end = torn._parts[0]._file.scan.end
    (bag / "bag_0.mcap.torn").write_bytes(end.to_bytes(8, "little") + data[end:cut])
    file.write_bytes(data[:end] + b"half of a new end")
    repair(bag)
    with Bag(bag) as mended:
        assert content_of(mended) == before and len(before) > 100


def test_a_flipped_bit_costs_its_chunk_and_is_told(tmp_path):
    bag = tmp_path / "bag"
    write_bag(bag, CONTENT)
    file = bag / "bag_0.mcap"
    data = bytearray(file.read_bytes())
    data[data.find(CONTENT[101][4]) + 20] ^= 1
    file.write_bytes(data)
    result = repair(bag)
    assert result.broken_chunks == 1 and len(CONTENT) - 60 < result.messages < len(CONTENT)


def test_a_whole_bag_is_left_alone(tmp_path):
    bag = tmp_path / "bag"
    write_bag(bag, CONTENT)
    before = {f.name: f.read_bytes() for f in bag.iterdir()}
    assert not repair(bag).changed
    assert {f.name: f.read_bytes() for f in bag.iterdir()} == before


def test_sqlite_bags_are_read_too(tmp_path):
    from rosbags.rosbag2 import StoragePlugin, Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE)
    with Writer(tmp_path / "lite", version=8, storage_plugin=StoragePlugin.SQLITE3) as writer:
        connections = {t: writer.add_connection(t, "std_msgs/msg/String", typestore=store) for t in ("/text", "/blob")}
        for topic, _, log, _, data in CONTENT:
            writer.write(connections[topic], log, data)
    with Bag(tmp_path / "lite") as bag:
        assert [(m.topic, m.log_time_ns, bytes(m.data)) for m in bag.messages()] == [
            (s[0], s[2], s[4]) for s in CONTENT
        ]
        assert [m.topic for m in bag.messages(["/blob"])] == ["/blob"] * sum(s[0] == "/blob" for s in CONTENT)


@pytest.mark.parametrize("name", ["../../secret.mcap", "/etc/passwd", "sub/../../x.mcap"])
def test_a_bag_cannot_name_files_outside_itself(tmp_path, name):
    bag = tmp_path / "bag"
    write_bag(bag, CONTENT[:3])
    info = yaml.safe_load((bag / "metadata.yaml").read_text())
    info["rosbag2_bagfile_information"]["relative_file_paths"] = [name]
    (bag / "metadata.yaml").write_text(yaml.safe_dump(info))
    with pytest.raises(DatasetError, match="outside the bag"):
        Bag(bag)


def test_a_link_out_of_the_bag_is_not_followed(tmp_path):
    write_bag(tmp_path / "other", CONTENT[:3])
    write_bag(tmp_path / "bag", CONTENT[:3])
    os.remove(tmp_path / "bag" / "bag_0.mcap")
    (tmp_path / "bag" / "bag_0.mcap").symlink_to(tmp_path / "other" / "other_0.mcap")
    with pytest.raises(DatasetError, match="outside the bag"):
        Bag(tmp_path / "bag")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda p: None, "does not exist"),
        (lambda p: p.mkdir(), "no bag"),
        (lambda p: (p.mkdir(), (p / "metadata.yaml").write_text("a: [")), "not valid YAML"),
        (lambda p: (p.mkdir(), (p / "metadata.yaml").write_text("a: 1")), "no rosbag2_bagfile_information"),
        (lambda p: (p.mkdir(), (p / "x.mcap").write_bytes(b"")), "no MCAP file"),
        (lambda p: (p.mkdir(), (p / "x.db3").write_bytes(b"nonsense" * 100)), "no rosbag2 database"),
        (lambda p: (p.mkdir(), sqlite3.connect(p / "x.db3").close()), "no rosbag2 database"),
    ],
)
def test_what_is_no_bag_says_so_in_one_line(tmp_path, make, says):
    make(tmp_path / "bag")
    with pytest.raises(DatasetError, match=says) as error:
        Bag(tmp_path / "bag")
    assert "\n" not in str(error.value)
