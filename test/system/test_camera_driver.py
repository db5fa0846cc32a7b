"""camera_driver as a process, on recordings that librealsense plays through its normal pipeline."""

import json
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("pyrealsense2", reason="pyrealsense2 is not installed (extra `cameras`)")

from graph_support import START_S, test_cell  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image  # noqa: E402
from software_camera import record  # noqa: E402

from action_images_ros.cell import Calibrated, Cell  # noqa: E402
from action_images_ros.ros import qos  # noqa: E402
from action_images_ros.ros.messages import image_from_message, stamp_to_ns  # noqa: E402
from action_images_ros.ros.node_spec import NodeSpec  # noqa: E402
from action_images_ros.ros.operator import Operator  # noqa: E402
from action_images_ros.ros.runner import GraphRunner, command_line  # noqa: E402
from action_images_ros.ros.synchroniser import Synchroniser  # noqa: E402

SIZE = (64, 48)
FRAMES = 45
DEPTH = "/camera/left/aligned_depth_to_color/image_raw"


@pytest.fixture(scope="module")
def cell_file(tmp_path_factory):
    """Two cameras that are not calibrated yet, 111 with depth."""
    path = tmp_path_factory.mktemp("cell") / "cell.yaml"
    text = test_cell().to_yaml().replace("serial: sim-left", "serial: '111'\n    driver: {depth: aligned}")
    lines = text.replace("serial: sim-right", "serial: '222'").replace("[320, 240]", "[64, 48]").splitlines()
    path.write_text("\n".join(line for line in lines if not line.strip().startswith("K:")))
    return path


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    for serial in ("111", "222"):
        record(folder / f"{serial}.db3", serial, FRAMES)
    return folder


def driver(cell_file, **parameters) -> NodeSpec:
    return NodeSpec("camera_driver", "camera_driver", parameters={"cell": str(cell_file), **parameters})


def test_without_cameras_it_says_so_at_once(cell_file):
    """The 15 s for which `pipeline.start` blocks without a device would pass the limit."""
    done = subprocess.run(command_line(driver(cell_file)), capture_output=True, text=True, timeout=60.0)
    assert done.returncode == 2
    assert "camera 111 (view left), 222 (view right) is not connected; connected:" in done.stderr


def test_a_wrong_file_is_one_line(cell_file, tmp_path):
    done = subprocess.run(
        command_line(driver(cell_file, recordings=str(tmp_path))), capture_output=True, text=True, timeout=60.0
    )
    assert done.returncode == 2 and "there is no recording" in done.stderr and "Traceback" not in done.stderr


def test_images_sets_and_a_lost_camera(cell_file, recordings, tmp_path):
    """A recording's end is a camera that is unplugged; it comes back, and no picture comes twice."""
    spec = driver(cell_file, recordings=str(recordings), silent_s=0.5, **{"backoff.first_s": 0.2})
    cell = Cell.load(cell_file, Calibrated.OPTIONAL)
    with GraphRunner([spec], tmp_path) as runner, Operator(on_wait=runner.require_running) as operator:
        pictures, infos, depths, sets = {"left": [], "right": []}, [], [], []
        sync = Synchroniser(cell.view_names, 0.05, 5.0)

        def take(view: str, msg: Image) -> None:
            pictures[view].append((stamp_to_ns(msg.header.stamp), image_from_message(msg), msg.header.frame_id))
            now_ns = operator.node.get_clock().now().nanoseconds
            found = sync.add(view, stamp_to_ns(msg.header.stamp), None, now_ns)
            if found is not None:
                sets.append(found)

        create = operator.node.create_subscription
        for view in cell.views:
            create(Image, view.image_topic, lambda m, v=view.name: take(v, m), qos.IMAGE_IN)
        create(CameraInfo, "/camera/left/color/camera_info", infos.append, qos.STATE_IN)
        create(Image, DEPTH, depths.append, qos.IMAGE_IN)

        def value(view: str, key: str) -> str:
            return operator.diagnostics.get(f"camera_driver: {view}", {}).get(key, "")

        for view in ("left", "right"):
            operator.until(lambda v=view: int(value(v, "connections") or 0) >= 2, f"{view} to come back", START_S)
            operator.until(lambda v=view: len(pictures[v]) > 5, f"images of {view}", START_S)
        operator.until(lambda: sets and depths, "sets and depth", START_S)
        assert value("left", "clock") == "hardware" and "Software D455 111" in value("left", "device")

    for view, seen in pictures.items():
        stamps = [stamp for stamp, *_ in seen]
        assert all(b > a for a, b in zip(stamps, stamps[1:])), view
        assert all(frame == f"{view}_color_optical_frame" for *_, frame in seen)
        assert all(p.shape == (48, 64, 3) and p.min() == p.max() <= FRAMES for _, p, _ in seen)
    by_stamp = {stamp: int(p[0, 0, 0]) for stamp, p, _ in pictures["left"]}
    matched = [d for d in depths if stamp_to_ns(d.header.stamp) in by_stamp]
    assert matched and all(d.encoding == "16UC1" for d in matched)
    for d in matched:
        assert image_from_message(d, "16UC1").max() == 500 + by_stamp[stamp_to_ns(d.header.stamp)]
    K = np.array(infos[0].k).reshape(3, 3)
    assert K[0, 0] == pytest.approx(57.6) and (infos[0].width, infos[0].height) == SIZE
    assert infos[0].distortion_model == "plumb_bob" and any(infos[0].d)


def test_bench_cameras_runs_with_real_processes(tmp_path):
    path = tmp_path / "bench.json"
    words = "bench cameras --cameras 2 --sizes vga --seconds 1 --rate 10 --listeners 1".split()
    command = [sys.executable, "-m", "action_images_ros.cli", *words, "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, 1), done.stderr
    (row,) = json.loads(path.read_text())["rows"]
    assert row["sent"] >= 10 and row["lost"] <= row["sent"] // 2 and row["age_p50_ms"] > 0
