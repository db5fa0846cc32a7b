"""Whatever bytes a bag holds, reading it ends in data or in one DatasetError."""

import tempfile
from pathlib import Path

import pytest
from cell_bags import Recipe, content, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from action_images_ros.errors import ActionImagesError
from action_images_ros.recording import cdr
from action_images_ros.recording.bag import Bag
from action_images_ros.recording.bag_audit import audit_bag
from action_images_ros.recording.recorded import read_recording
from action_images_ros.recording.repair import repair

READERS = (cdr.read_text, cdr.read_image, cdr.read_compressed_image, cdr.read_joint_state, cdr.read_camera_info)
SMALL = Recipe(seconds=0.6, size=(16, 12))


@pytest.fixture(scope="module")
def bag_bytes(tmp_path_factory) -> bytes:
    bag = write(tmp_path_factory.mktemp("bag") / "b", SMALL)
    return (bag / "b_0.mcap").read_bytes()


def attempt(act) -> None:
    try:
        act()
    except ActionImagesError as error:
        assert "\n" not in str(error)


@given(raw=st.binary(max_size=300), plain=st.booleans(), reader=st.sampled_from(READERS))
@settings(max_examples=300)
def test_message_readers_survive_any_bytes(raw, plain, reader):
    attempt(lambda: reader(b"\x00\x01\x00\x00" + raw if plain else raw))


@given(data=st.data())
@settings(max_examples=150)
def test_message_readers_survive_changed_messages(data):
    topic, kind, _, raw = data.draw(st.sampled_from(content(SMALL)[:12]))
    changed = bytearray(raw)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(4, min(len(raw) - 1, 120)))] = data.draw(st.integers(0, 255))
    for reader in READERS:
        attempt(lambda r=reader: r(bytes(changed)))


@given(data=st.data())
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_files_that_were_changed_or_cut_are_read_audited_and_repaired_or_refused(bag_bytes, data):
    changed = bytearray(bag_bytes)
    for _ in range(data.draw(st.integers(0, 8))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(changed)))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "b" / "b_0.mcap"
        file.parent.mkdir()
        file.write_bytes(changed[:cut])

        def use() -> None:
            with Bag(file.parent) as bag:
                audit_bag(bag)
                read_recording(bag)

        attempt(use)
        attempt(lambda: repair(file.parent))
        attempt(use)


@given(text=st.text(max_size=200))
@settings(max_examples=80)
def test_metadata_of_any_text_is_read_or_refused(text):
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "metadata.yaml").write_text(text, encoding="utf-8", errors="replace")
        attempt(lambda: Bag(folder).close())
