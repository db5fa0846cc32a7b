"""The audit of a finished bag finds what was made wrong in it, and provenance what a bag was made with."""

import hashlib

import pytest
from cell_bags import Recipe, write
from recordings import T0, string, write_bag

from action_images_ros.errors import ConfigError, ModelError
from action_images_ros.recording.bag import Bag
from action_images_ros.recording.bag_audit import audit_bag, audit_table
from action_images_ros.recording.bag_writer import BagWriter, TopicSpec
from action_images_ros.recording.provenance import attachments, model_hash, provenance

MS = 1_000_000


def test_rates_ages_and_gaps_are_those_of_the_recording(tmp_path):
    with Bag(write(tmp_path / "bag", Recipe(seconds=4.0, gap=(2.0, 2.5), late_s=0.02))) as bag:
        found = audit_bag(bag)
    left, joints = found["topics"]["/camera/left/color/image_raw"], found["topics"]["/joint_states"]
    assert (left["messages"], left["gaps"], left["lost"]) == (35, 1, 0)
    assert left["largest_gap_s"] == pytest.approx(0.6) and left["age_s"] == pytest.approx(0.02)
    assert (joints["messages"], joints["gaps"]) == (200, 0)
    assert joints["rate_hz"] == pytest.approx(50.0) and joints["jitter_ms"] < 0.01
    assert found["duration_s"] == pytest.approx(4.0, abs=0.1) and found["torn"] is False
    row = next(line for line in audit_table(found).splitlines() if "/camera/left" in line)
    assert row.split()[1:3] == ["35", "8.7"] and "0.60 s" in row


def numbered(directory, topic: str, numbers: list[int]) -> dict:
    bag = BagWriter(directory, [])
    for name in (topic, "/text"):
        bag.add_topic(TopicSpec(name, "std_msgs/msg/String"))
    for k, number in enumerate(numbers):
        bag.write(topic, 0, T0 + k * MS, T0, string("x"))
        bag.write("/text", number, T0 + k * MS + 1, T0, string("x"))
    bag.finish()
    with Bag(directory) as read:
        return audit_bag(read)["topics"]["/text"]


def test_lost_messages_are_counted_where_a_bag_notes_the_publishers_numbers(tmp_path):
    assert numbered(tmp_path / "ours", "/recorder/provenance", [3, 4, 7, 8, 10])["lost"] == 3
    assert numbered(tmp_path / "two_publishers", "/recorder/provenance", [3, 4, 1, 8, 2])["lost"] == 0
    assert numbered(tmp_path / "theirs", "/other", [3, 4, 7, 8, 10])["lost"] == 0


def test_a_torn_bag_and_one_without_messages_are_told(tmp_path):
    bag = write_bag(tmp_path / "torn", [("/text", 0, T0, T0, string("x"))], finish=False)
    bag.flush()
    with Bag(tmp_path / "torn") as read:
        assert "its end is torn (--repair)" in audit_table(audit_bag(read))
    write_bag(tmp_path / "empty", [])
    with Bag(tmp_path / "empty") as read:
        found = audit_bag(read)
    assert found["duration_s"] == 0.0 and found["topics"]["/text"]["messages"] == 0


def test_a_bag_carries_what_it_was_made_with(tmp_path):
    cell, model = tmp_path / "cell.yaml", tmp_path / "model"
    cell.write_text("name: x\n")
    (model / "deep").mkdir(parents=True)
    (model / "config.json").write_text("{}")
    (model / "deep" / "model.safetensors").write_bytes(b"w" * 3_000_000)
    said = provenance(cell, model, "1.2", "here", ["record", "--start"])
    assert said["cell"] == "name: x\n" and said["cell_sha256"] == hashlib.sha256(b"name: x\n").hexdigest()
    assert (said["version"], said["host"], said["command"]) == ("1.2", "here", ["record", "--start"])
    before = said["model_sha256"]
    (model / "notes.txt").write_text("no part of the model")
    assert model_hash(model) == before
    (model / "deep" / "model.safetensors").write_bytes(b"w" * 2_999_999 + b"v")
    assert model_hash(model) != before
    assert "model" not in provenance(cell, None, "1.2", "here", [])
    (tmp_path / "calibration.yaml").write_text("poses: 20\n")
    assert [(a.name, a.data) for a in attachments(cell, tmp_path / "calibration.yaml")] == [
        ("cell.yaml", b"name: x\n"), ("calibration.yaml", b"poses: 20\n")]  # fmt: skip


def test_files_that_are_missing_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nothing.yaml cannot be read \(No such file.*part of every recording"):
        attachments(tmp_path / "nothing.yaml", None)
    with pytest.raises(ModelError, match="holds no model; give a model directory or leave the model out"):
        model_hash(tmp_path)
