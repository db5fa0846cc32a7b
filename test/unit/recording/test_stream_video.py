"""Camera streams as video inside bags: every message keeps its header, every picture comes back under its own stamp."""

import cell_bags
import numpy as np
import pytest
from cell_bags import Recipe, cell, content, picture
from test_recorder import T0

from action_images_ros.cli import main
from action_images_ros.recording.bag import Bag
from action_images_ros.recording.bag_writer import TopicSpec
from action_images_ros.recording.cdr import header_stamp_ns, read_compressed_image
from action_images_ros.recording.jpeg import JpegRules
from action_images_ros.recording.lerobot_read import read_dataset
from action_images_ros.recording.mcap_records import Attachment
from action_images_ros.recording.recorder import Recorder, RecorderConfig
from action_images_ros.recording.stream_video import StreamRules

SIZE = (320, 240)


def record(directory, rules, drop: int = -1) -> None:
    """A whole recording through the recorder. drop: a picture of the left view that never arrives."""
    recorder = Recorder(RecorderConfig(min_free_mb=1, images=rules), "uint8[] data\n")
    messages = content(Recipe(size=SIZE))
    for topic, kind in dict.fromkeys((topic, kind) for topic, kind, _, _ in messages):
        recorder.add_stream(TopicSpec(topic, kind), stamped="String" not in kind, latched=False, required=False)
    attached = [Attachment("cell.yaml", "application/yaml", cell(SIZE).to_yaml().encode())]
    recorder.start(directory, T0, attached)
    left = 0
    for topic, _, t, data in messages:
        if topic == cell().views[0].image_topic:
            left += 1
            if left - 1 == drop:
                continue
        recorder.on_message(topic, data, t, t, b"me", None)
    finished = recorder.stop()
    assert not finished.why and not finished.lost


@pytest.mark.parametrize("rules", [StreamRules("h264"), StreamRules("h265"), JpegRules(95)])
def test_every_picture_comes_back_under_its_own_stamp(tmp_path, rules):
    record(tmp_path / "bag", rules, drop=7)
    topic = cell().views[0].image_topic + rules.suffix
    with Bag(tmp_path / "bag") as bag:
        assert bag.topics[topic] == "sensor_msgs/msg/CompressedImage"
        units = [read_compressed_image(m.data) for m in bag.messages([topic])]
        assert len(units) == 39 and rules.suffix in (f"/{units[0].format}", "/compressed")
        stamps = [header_stamp_ns(m.data) for m in bag.messages([topic])]
        assert stamps == sorted(stamps) and len(set(stamps)) == 39
    raw, kept = SIZE[0] * SIZE[1] * 3, np.mean([len(u.data) for u in units])
    assert kept < raw / 10
    assert main(["dataset", str(tmp_path / "bag"), "--out", str(tmp_path / "out"), "--video", "lossless", "--no-report",
                 "--fps", "10"]) == 0  # fmt: skip
    (e,) = read_dataset(tmp_path / "out")
    for v, view in enumerate(e.cameras):
        for stamp_ns, frame in zip(e.stamps_ns, e.frames(view)):
            number = round((stamp_ns - cell_bags.T0) * 1e-9 * cell_bags.RATE_HZ)
            error = np.abs(frame.astype(int) - picture(v, number, SIZE)).mean()
            wrong = np.abs(frame.astype(int) - picture(v, number + 1, SIZE)).mean()
            assert error < 4.0 and error < wrong


def test_a_stream_with_a_damaged_picture_is_refused_not_shifted(tmp_path, capsys):
    """One whose every later picture would stand under another stamp."""
    record(tmp_path / "bag", StreamRules("h264"))
    file = next((tmp_path / "bag").glob("*.mcap"))
    data = bytearray(file.read_bytes())
    topic = f"{cell().views[0].image_topic}/h264"
    with Bag(tmp_path / "bag") as bag:
        unit = bytes(read_compressed_image(list(bag.messages([topic]))[20].data).data)
    at = data.find(unit)
    data[at : at + len(unit)] = bytes(len(unit))
    file.write_bytes(data)
    assert main(["dataset", str(tmp_path / "bag"), "--out", str(tmp_path / "out"), "--no-report"]) == 2
    assert "missing or damaged" in capsys.readouterr().err
