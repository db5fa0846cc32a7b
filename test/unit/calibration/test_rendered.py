"""From rendered pictures, through the folder and the command, to a file: the offline road as an operator goes it."""

import json

import cv2
import numpy as np
import pytest
import yaml

from action_images_ros.bench.calibration import pose_error
from action_images_ros.bench.calibration_cell import operator_poses, random_cell
from action_images_ros.bench.calibration_pictures import RenderedCell
from action_images_ros.calibration.desk import CalibrationDesk
from action_images_ros.calibration.folder import read_joints
from action_images_ros.calibration.session import CalibrationSession
from action_images_ros.calibration.store import StoredCalibration
from action_images_ros.cell import Calibrated, Cell, WorkspaceBox
from action_images_ros.cli import main
from action_images_ros.errors import CalibrationError
from action_images_ros.geometry.se3 import transform


@pytest.fixture(scope="module")
def true_cell():
    return random_cell(np.random.default_rng(27))


@pytest.fixture(scope="module")
def taken(true_cell, tmp_path_factory):
    """(folder, samples, true joint angles) of twelve rendered poses."""
    folder, rng = tmp_path_factory.mktemp("pictures"), np.random.default_rng(28)
    q = operator_poses(rng, true_cell, 12)
    rendered = RenderedCell(true_cell, rng, save=folder)
    samples = [rendered.take(f"{k:02d}", row) for k, row in enumerate(q)]
    rendered.close()
    return folder, samples, q


@pytest.fixture()
def command(taken):
    folder = taken[0]
    boards = [arg for line in (folder / "boards.txt").read_text().split() for arg in ("--board", line)]
    return [
        "calibrate",
        "--images",
        str(folder),
        "--cell",
        str(folder / "cell.yaml"),
        *boards,
        "--wrist",
        f"wrist={folder / 'wrist.yaml'}",
    ]


def test_rendered_points_are_detected_to_a_twentieth_of_a_pixel(true_cell, taken):
    _, samples, q = taken
    off = []
    for sample, row in zip(samples, q):
        tcp = true_cell.arm.fk(row)
        for view, detections in sample.detections.items():
            camera = true_cell.rig.cameras[view].at(true_cell.base_T_camera(view, tcp))
            for d in detections:
                points = true_cell.rig.boards[d.board].board.points[d.ids] * true_cell.scales[d.board]
                off.append(d.uv - camera.project(transform(true_cell.base_T_board(d.board, tcp), points)))
    off = np.concatenate(off)
    assert len(off) > 300
    assert 1.48 * np.median(np.abs(off)) < 0.06
    assert np.abs(np.median(off, axis=0)).max() < 0.01


def test_the_command_finds_all_cameras(true_cell, command, tmp_path, capsys):
    out, report, cell_file = (tmp_path / n for n in ("calibration.yaml", "report.html", "cell.yaml"))
    assert main([*command, "--out", str(out), "--report", str(report), "--write-cell", str(cell_file)]) == 0
    stored = StoredCalibration.load(out)
    error = np.concatenate(
        [pose_error(v.parent_T_camera, true_cell.cameras[n]) for n, v in stored.result.views.items()]
    )
    for k, view in enumerate(stored.result.views):
        assert np.linalg.norm(error[6 * k : 6 * k + 3]) < 3e-3, view
        assert np.rad2deg(np.linalg.norm(error[6 * k + 3 : 6 * k + 6])) < 0.2, view
    assert error @ np.linalg.solve(stored.result.camera_covariance, error) < 60
    left = Cell.load(cell_file).views[0]
    np.testing.assert_allclose(left.camera.base_T_camera, stored.result.views["left"].parent_T_camera, atol=1e-8)
    assert report.read_text().count("data:image/jpeg") >= 6
    printed = capsys.readouterr().out
    assert "left" in printed and "eye_in_hand" in printed and str(out) in printed


def test_too_few_pictures_are_refused_in_one_line(command, taken, tmp_path, capsys):
    folder = tmp_path / "few"
    for view in ("left", "right", "wrist"):
        (folder / view).mkdir(parents=True)
        for name in ("00", "01"):
            (folder / view / f"{name}.png").write_bytes((taken[0] / view / f"{name}.png").read_bytes())
    lines = (taken[0] / "joints.csv").read_text().splitlines()
    (folder / "joints.csv").write_text("\n".join(lines[:3]) + "\n")
    command[command.index("--images") + 1] = str(folder)
    assert main([*command, "--out", str(tmp_path / "c.yaml")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1 and "needs 8: add" in message
    assert not (tmp_path / "c.yaml").exists()


@pytest.mark.parametrize(
    "spoil, complaint",
    [
        (lambda f: (f / "left" / "77.png").write_bytes(b""), "no joints for 77"),
        (lambda f: (f / "joints.csv").write_text("pose,q1\n00,0.1\n"), "line 2: expected pose,q1,...,q7"),
        (
            lambda f: (f / "joints.csv").write_text("pose,q1,q2,q3,q4,q5,q6,q7\n" + 2 * "00,0,0,0,0,0,0,0\n"),
            "given twice",
        ),
        (lambda f: cv2.imwrite(str(f / "left" / "00.png"), np.zeros((20, 30, 3), np.uint8)), "is 30x20; its camera's"),
        (lambda f: (f / "left" / "00.png").write_bytes(b"no picture"), "no picture that OpenCV reads"),
        (lambda f: (f / "left").rename(f / "top"), "put the pictures of view left there"),
        (lambda f: (f / "joints.csv").unlink(), "neither joints.csv"),
    ],
)
def test_a_broken_folder_is_named(true_cell, taken, tmp_path, spoil, complaint, command, capsys):
    folder = tmp_path / "pictures"
    for view in ("left", "right", "wrist"):
        (folder / view).mkdir(parents=True)
        (folder / view / "00.png").write_bytes((taken[0] / view / "00.png").read_bytes())
    (folder / "joints.csv").write_text("\n".join((taken[0] / "joints.csv").read_text().splitlines()[:2]) + "\n")
    spoil(folder)
    command[command.index("--images") + 1] = str(folder)
    assert main([*command, "--out", str(tmp_path / "c.yaml")]) == 2
    assert complaint in capsys.readouterr().err


def test_joints_may_be_json(taken, true_cell, tmp_path):
    table = read_joints(taken[0])
    document = {name: {"q": row["q"].tolist(), "dq": [0.1] * 7, "stamp_ns": 5} for name, row in table.items()}
    (tmp_path / "joints.json").write_text(json.dumps(document))
    read = read_joints(tmp_path)
    assert list(read) == list(table) and read["03"]["stamp_ns"] == 5 and read["03"]["dq"][6] == 0.1
    np.testing.assert_allclose(read["03"]["q"], table["03"]["q"])


def test_bad_arguments_say_what_is_legal(command, tmp_path, capsys):
    assert main(["calibrate"]) == 2
    assert "--images is missing" in capsys.readouterr().err
    wrong = [*command, "--out", str(tmp_path / "c.yaml"), "--board", "wall=charuco:6x4:45/31mm:4X4_50"]
    assert main(wrong) == 2
    assert "write gripper=PATTERN or table=PATTERN" in capsys.readouterr().err
    assert main([*command, "--out", str(tmp_path / "c.yaml"), "--wrist", "wrist"]) == 2
    assert "write VIEW=FILE" in capsys.readouterr().err


def test_boards_are_printed(tmp_path, capsys):
    assert main(["calibrate", "board", "--board", "charuco:6x4:45/31mm:4X4_50", "--out", str(tmp_path / "b.pdf")]) == 0
    assert "290.0 x 200.0 mm" in capsys.readouterr().out
    assert (tmp_path / "b.pdf").read_bytes().startswith(b"%PDF")


def test_the_saved_rig_is_what_the_command_reads(taken, true_cell):
    lens = yaml.safe_load((taken[0] / "wrist.yaml").read_text())
    np.testing.assert_allclose(np.reshape(lens["K"], (3, 3)), true_cell.rig.cameras["wrist"].K)


def _bag(folder, true_cell, path):
    """The pictures as a recording: at each pose the arm rests for a second, and moves for half a second in between."""
    from rosbags.typesys import Stores, get_typestore

    from action_images_ros.recording.bag_writer import BagWriter, TopicSpec

    store, bag, began = get_typestore(Stores.ROS2_JAZZY), BagWriter(path, []), 1_700_000_000_000_000_000
    names = [*(f"fr3_joint{i}" for i in range(1, 8)), "fr3_finger_joint1", "fr3_finger_joint2"]

    def make(kind, stamp_ns, **fields):
        t = store.types
        stamp = t["builtin_interfaces/msg/Time"](stamp_ns // 10**9, stamp_ns % 10**9)
        header = t["std_msgs/msg/Header"](stamp=stamp, frame_id="")
        return store.serialize_cdr(t[kind](header=header, **fields), kind).tobytes()

    def write(topic, kind, stamp_ns, **fields):
        bag.add_topic(TopicSpec(topic, kind))
        bag.write(topic, 0, stamp_ns, stamp_ns, make(kind, stamp_ns, **fields))

    rows = list(read_joints(folder).items())
    for k in range(75 * len(rows)):
        pose, step = divmod(k, 75)
        now = began + 20_000_000 * k
        q = rows[pose][1]["q"] + (0.05 * (step - 50) if step > 50 else 0.0)
        position = np.concatenate([q, [0.02, 0.02]])
        write("/joint_states", "sensor_msgs/msg/JointState", now, name=names, position=position,
              velocity=np.zeros(9), effort=np.zeros(0))  # fmt: skip
        if step not in (10, 45, 60):
            continue
        for view in true_cell.rig.cameras:
            image = cv2.imread(str(folder / view / f"{rows[pose][0]}.png"))
            image = image if step == 45 else np.zeros_like(image)
            height, width = image.shape[:2]
            fields = {"height": height, "width": width, "step": 3 * width, "data": image.ravel()}
            fields |= {"encoding": "bgr8", "is_bigendian": 0}
            write(f"/camera/{view}/color/image_raw", "sensor_msgs/msg/Image", now - 5_000_000, **fields)
    bag.finish()


def test_a_recording_gives_the_same_cameras_as_its_pictures(taken, true_cell, command, tmp_path, capsys):
    folder = taken[0]
    _bag(folder, true_cell, tmp_path / "bag")
    assert main([*command, "--out", str(tmp_path / "pictures.yaml")]) == 0
    at = command.index("--images")
    recorded = [*command[:at], "--bag", str(tmp_path / "bag"), *command[at + 2 :]]
    assert main([*recorded, "--out", str(tmp_path / "bag.yaml")]) == 0
    a, b = (StoredCalibration.load(tmp_path / f"{n}.yaml").result for n in ("pictures", "bag"))
    assert a.poses == b.poses == 12
    for view in a.views:
        np.testing.assert_allclose(b.views[view].parent_T_camera, a.views[view].parent_T_camera, atol=1e-6)
    capsys.readouterr()
    assert main([*command, "--bag", str(tmp_path / "bag"), "--out", str(tmp_path / "x.yaml")]) == 2
    assert "--images and --bag are both given" in capsys.readouterr().err


def test_the_desk_takes_poses_and_takes_them_back_and_leaves_what_the_command_reads(true_cell, taken, tmp_path):
    folder, samples, _ = taken
    box = WorkspaceBox((0.22, -0.40, 0.12), (0.75, 0.40, 0.70), (), 0.0)
    desk = CalibrationDesk(CalibrationSession(true_cell.rig, true_cell.arm, box), 9, tmp_path)
    with pytest.raises(CalibrationError, match="no pose to take back"):
        desk.undo()
    pictures = [{v: cv2.imread(str(folder / v / f"{s.name}.png"))[..., ::-1] for v in true_cell.rig.cameras}
                for s in samples]  # fmt: skip
    with pytest.raises(CalibrationError, match=r"view left: the picture is \(20, 10\), its camera's lens is known for"):
        desk.take({"left": np.zeros((10, 20, 3), np.uint8)}, samples[0].q, np.zeros(7), 1)
    for images, sample in zip(pictures[:9], samples):
        assert not desk.enough
        taken_now = desk.take(images, sample.q, np.zeros(7), 7)
        assert taken_now.accepted, taken_now.reason
    assert "nearly the same as pose 08" in desk.take(pictures[8], samples[8].q, np.zeros(7), 7).reason
    assert desk.enough and desk.undo() == "08" and not desk.enough
    assert not (tmp_path / "pictures" / "left" / "08.png").exists()
    desk.take(pictures[8], samples[8].q, np.zeros(7), 7)
    with pytest.raises(CalibrationError, match="nothing to save; solve first"):
        desk.save("2026-05-26", Cell.load(folder / "cell.yaml", Calibrated.OPTIONAL))
    result, status = desk.solve(), desk.status()
    assert (status["poses"], status["missing"], status["enough"], status["solved"]) == (9, [], True, True)
    for view, found in result.views.items():
        assert np.linalg.norm(pose_error(found.parent_T_camera, true_cell.cameras[view])[:3]) < 4e-3
        assert 0 < status["views"][view]["workspace_sd_mm"] < 2
    files = desk.save("2026-05-26", Cell.load(folder / "cell.yaml", Calibrated.OPTIONAL))
    assert all(f.is_file() for f in files) and StoredCalibration.load(files[0]).result.poses == 9
    kept = read_joints(tmp_path / "pictures")
    np.testing.assert_allclose([row["q"] for row in kept.values()], [s.q for s in samples[:9]], atol=1e-8)
    live = desk.picture("left", pictures[0]["left"], desk.look(pictures[0]["left"]), "note")
    assert live.dtype == np.uint8 and np.any(live[: pictures[0]["left"].shape[0]] != pictures[0]["left"])
