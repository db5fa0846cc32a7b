"""`action-images view`: what is in a bag is in the rerun file; what cannot be read is one line."""

import json
import re
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("rerun")
pytest.importorskip("rosbags")

from cell_bags import T0, Recipe, header, message, store, write  # noqa: E402

from action_images_ros.cli import main  # noqa: E402

TARGETS = "trajectory_msgs/msg/MultiDOFJointTrajectory"


def targets(stamp_ns: int, count: int = 9, joints: tuple[str, ...] = ("tcp", "gripper")) -> bytes:
    t = store().types
    def transform(x: float):
        return t["geometry_msgs/msg/Transform"](
            translation=t["geometry_msgs/msg/Vector3"](x=x, y=0.1, z=0.4),
            rotation=t["geometry_msgs/msg/Quaternion"](x=1.0, y=0.0, z=0.0, w=0.0),
        )

    points = [
        t["trajectory_msgs/msg/MultiDOFJointTrajectoryPoint"](
            transforms=[transform(0.4 + 0.01 * k) for _ in joints], velocities=[], accelerations=[],
            time_from_start=t["builtin_interfaces/msg/Duration"](sec=0, nanosec=k * 100_000_000),
        )
        for k in range(count)
    ]  # fmt: skip
    return message(TARGETS, header=header(stamp_ns, "fr3_link0"), joint_names=list(joints), points=points)


def predictions(*made: bytes) -> list:
    return [("/targets", TARGETS, T0 + 400_000_000 * (k + 1), data) for k, data in enumerate(made)]


def printed(file) -> str:
    """What rerun's own reader finds in a file."""
    command = [sys.executable, "-m", "rerun", "rrd", "print", str(file), "-vv"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_cameras_paths_and_texts_of_a_bag_are_in_the_file(tmp_path, capsys):
    extra = predictions(targets(T0), targets(T0 + 400_000_000))
    bag = write(tmp_path / "bag", Recipe(seconds=2.0, extra=extra))
    assert main(["view", str(bag), "--save", str(tmp_path / "out.rrd")]) == 0
    said = capsys.readouterr().out
    counts = {what: int(n) for n, what in re.findall(r"(\d+) ([a-z ]+)[,:]", said)}
    assert counts["pictures"] == 40 and counts["predictions"] == 2 and counts["arm states"] >= 40
    assert counts["texts"] == 3 and "unreadable" not in counts
    text = printed(tmp_path / "out.rrd")
    for entity in ("/world/left/picture", "/world/right/picture/predicted", "/world/predicted", "/world/executed",
                   "/joints", "/world/workspace", "/said/instruction", "/world/tcp"):  # fmt: skip
        assert re.search(rf"(?<!\w){re.escape(entity)}\b", text), entity


def image(pixels: np.ndarray, stamp_ns: int) -> bytes:
    height, width = pixels.shape[:2]
    return message("sensor_msgs/msg/Image", header=header(stamp_ns), height=height, width=width, encoding="rgb8",
                   is_bigendian=0, step=3 * width, data=pixels.reshape(-1))  # fmt: skip


def test_action_images_are_shown_and_a_verdict_only_when_it_changes(tmp_path, capsys):
    tiles = [("/action_images", "sensor_msgs/msg/Image", T0 + k * 10**8, image(np.full((48, 24, 3), 9, np.uint8), T0))
             for k in (1, 2, 3)]  # fmt: skip
    outcomes = ("pending", "pending", "success", "success")
    verdicts = [json.dumps({"episode": 1, "outcome": o, "time_s": k}) for k, o in enumerate(outcomes)] + ["no JSON"]
    texts = [("/sim_cell/verdict", "std_msgs/msg/String", T0 + k * 10**8, message("std_msgs/msg/String", data=text))
             for k, text in enumerate(verdicts)]  # fmt: skip
    plain = write(tmp_path / "plain", Recipe(seconds=1.0, jpeg=True))
    bag = write(tmp_path / "bag", Recipe(seconds=1.0, jpeg=True, extra=tiles + texts))
    counts = {}
    for path in (plain, bag):
        assert main(["view", str(path), "--save", str(tmp_path / "out.rrd"), "--width", "80"]) == 0
        counts[path] = {w: int(n) for n, w in re.findall(r"(\d+) ([a-z ]+)[,:]", capsys.readouterr().out)}
    assert counts[bag]["action images"] == 3 and counts[bag]["pictures"] == counts[plain]["pictures"] == 20
    assert counts[bag]["texts"] == counts[plain]["texts"] + 3
    text = printed(tmp_path / "out.rrd")
    assert re.search(r"/said/sim_cell/verdict\b", text) and re.search(r"/action_images\b", text)


def test_damaged_predictions_are_counted_and_the_rest_is_shown(tmp_path, capsys):
    whole = targets(T0)
    extra = predictions(whole[:200], targets(T0, 1), targets(T0, joints=("gripper",)), whole)
    bag = write(tmp_path / "bag", Recipe(seconds=1.0, extra=extra))
    assert main(["view", str(bag), "--save", str(tmp_path / "out.rrd")]) == 0
    said = capsys.readouterr().out
    assert "3 unreadable" in said and "1 predictions" in said


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("BAG", "--save", "x.txt"), "end in .rrd"),
        (("BAG", "--save", "x.rrd", "--width", "3"), "--width 3 (64 to 4096)"),
        (("nowhere", "--save", "x.rrd"), "nowhere does not exist"),
        (("BARE", "--save", "x.rrd"), "carries no cell file; give the one of that cell with --cell"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, capsys, words, says):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "BAG", Recipe(seconds=1.0))
    write(tmp_path / "BARE", Recipe(seconds=1.0, attach_cell=False))
    assert main(["view", *words]) == 2
    error = capsys.readouterr().err
    assert says in error and len(error.strip().splitlines()) == 1
