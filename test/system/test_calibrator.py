"""The real calibrator on simulated cameras: guided poses, then driven ones, to a cell file with evidence.

Lenses with distortion, blur and noise, and an arm whose joint readings are off; the truth is in the scene's file,
which only the simulated cell reads.
"""

import json

import numpy as np
import pytest
from graph_support import START_S
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from action_images_ros.bench.calibration import pose_error
from action_images_ros.bench.calibration_cell import GRIPPER_BOARD, operator_poses, random_cell
from action_images_ros.bench.calibration_pictures import save_scene
from action_images_ros.calibration.store import StoredCalibration
from action_images_ros.cell import Cell
from action_images_ros.ros import commands, qos
from action_images_ros.ros.messages import JointStateReader, image_from_message
from action_images_ros.ros.node_spec import NodeSpec
from action_images_ros.ros.operator import Operator
from action_images_ros.ros.runner import GraphRunner

GUIDED, POSES = 7, 9
POSE_S = 60.0


@pytest.fixture(scope="module")
def truth():
    return random_cell(np.random.default_rng(27), wrist=False)


@pytest.fixture(scope="module")
def guided(truth):
    return operator_poses(np.random.default_rng(28), truth, GUIDED)


class Desk:
    """The person at the cell: sees the status and live pictures, moves the arm by its command topic."""

    def __init__(self, operator: Operator) -> None:
        self.operator, self.status, self.live, self.q = operator, {}, {}, None
        create = operator.node.create_subscription
        create(String, "calibrator/status", lambda m: self.status.update(json.loads(m.data)), qos.LATCHED)
        for view in ("left", "right"):
            create(Image, f"calibrator/live/{view}", lambda m, v=view: self.live.__setitem__(v, m), qos.IMAGE_IN)
        names = Cell.__dataclass_fields__["arm"].default_factory()
        self._names = commands.Names(names.joints, names.fingers, names.base_frame)
        self._reader = JointStateReader(names.joints, names.fingers)
        create(JointState, "/joint_states", self._on_state, qos.STATE)
        kind = commands.ARM["joint_target"]
        self._kind, self._publisher = kind, operator.node.create_publisher(kind.message, kind.topic, qos.COMMAND)

    def _on_state(self, msg: JointState) -> None:
        state = self._reader.read(msg)
        if state is not None:
            self.q, self.dq = state.q, state.dq

    def guide(self, q: np.ndarray) -> None:
        command = commands.ArmCommand(q, np.zeros(7), np.eye(4), 1, 0.5)
        self._publisher.publish(self._kind.make(command, self._names))

        def there() -> bool:
            return self.q is not None and np.abs(self.q - q).max() < 0.02 and np.abs(self.dq).max() < 0.002

        self.operator.until(there, "the arm where it was guided to", POSE_S)

    def capture(self) -> str:
        """Asked for until the newest pictures show the rest."""
        answers = []

        def answered() -> bool:
            answers.append(self.operator.trigger("calibrator/capture"))
            return "has not rested" not in answers[-1].message

        self.operator.until(answered, "pictures of the arm at rest", POSE_S)
        assert answers[-1].ok, answers[-1].message
        return answers[-1].message

    def ended(self) -> bool:
        return self.status["solved"] or self.status["note"].startswith("stopped")

    def ask(self, name: str) -> str:
        answer = self.operator.trigger(f"calibrator/{name}")
        assert answer.ok, answer.message
        return answer.message


def test_from_guided_and_driven_poses_to_a_cell_that_a_policy_may_use(truth, guided, tmp_path):
    save_scene(truth, tmp_path, guided[0])
    cell_file, out = tmp_path / "cell.yaml", tmp_path / "result"
    common = {"cell": str(cell_file)}
    scene = {"calibration_scene": str(tmp_path / "scene.yaml"), "camera_rate_hz": 3.0}
    calibration = {
        "gripper_board": GRIPPER_BOARD.text, "mode": "propose", "poses": POSES, "speed_rad_s": 1.0, "out": str(out),
        "wait_s": START_S,
    }  # fmt: skip
    graph = [
        NodeSpec("sim_cell", "sim_cell", parameters=common | scene),
        NodeSpec("calibrator", "calibrator", parameters=common | calibration),
    ]
    with (
        GraphRunner(graph, tmp_path / "log") as runner,
        Operator(on_wait=runner.require_running) as operator,
    ):
        desk = Desk(operator)
        operator.until(lambda: desk.status, "the calibrator to be ready", START_S)
        refused = operator.trigger("calibrator/solve")
        assert not refused.ok and "needs 8: add 8" in refused.message
        for k, q in enumerate(guided):
            desk.guide(q)
            assert f"pose {k + 1} of {POSES}" in desk.capture()
        again = operator.trigger("calibrator/capture")
        assert not again.ok and "nearly the same as pose" in again.message
        assert "taken back" in desk.ask("undo")
        assert "pose 7 of" in desk.capture()
        assert not operator.trigger("calibrator/save").ok

        before = desk.q
        assert operator.switch("calibrator/enable", True).ok
        operator.until(desk.ended, "the end of the driven poses", 4 * POSE_S)
        assert desk.status["solved"], desk.status["note"]
        assert np.abs(desk.q - before).max() > 0.05
        operator.until(lambda: len(desk.live) == 2, "live pictures", START_S)
        assert str(out / "cell.yaml") in desk.ask("save")
        picture = image_from_message(desk.live["left"])

    stored = StoredCalibration.load(out / "calibration.yaml")
    for view, found in stored.result.views.items():
        error = pose_error(found.parent_T_camera, truth.cameras[view])
        assert np.linalg.norm(error[:3]) < 5e-3 and np.rad2deg(np.linalg.norm(error[3:])) < 0.3, view
    calibrated = Cell.load(out / "cell.yaml")
    calibrated.require_calibrated()
    assert [v.calibration.serial for v in calibrated.views] == ["static-0", "static-1"]
    assert (out / "report.html").read_text().count("data:image/jpeg") >= 4
    assert len(list((out / "pictures" / "left").iterdir())) == stored.result.poses >= POSES
    assert picture.shape == (480, 640, 3)
