import mujoco
import numpy as np
import pytest

from action_images_ros.bench.drift import Operation, knocked, monitors, watch
from action_images_ros.calibration.drift import DriftConfig, DriftMonitor, DriftStatus
from action_images_ros.calibration.robot_model import RobotModel
from action_images_ros.calibration.silhouette import match_edges, outline
from action_images_ros.errors import CalibrationError
from action_images_ros.sim.world import build_model

QUICK = DriftConfig(window_s=8.0, least_frames=6)
VIEW = "left"


@pytest.fixture(scope="module")
def operation():
    made = Operation(np.random.default_rng(2), (480, 360), views=2)
    yield made
    made.sim.close()


@pytest.fixture(scope="module")
def robot(operation):
    return operation.robot()


def test_the_mesh_is_where_the_simulator_has_it(robot):
    model = build_model(("eye",), (64, 64), ())
    data = mujoco.MjData(model)
    q = np.array([0.3, -0.4, 0.2, -2.0, 0.5, 1.8, 0.9])
    data.qpos[[model.jnt_qposadr[model.joint(f"fr3_joint{i}").id] for i in range(1, 8)]] = q
    mujoco.mj_kinematics(model, data)
    base = model.body("fr3_link0").id
    named = {model.geom(i).name for i in range(model.ngeom)}
    compared = [(m, p) for m, p in zip(robot.meshes, robot.place(q)) if f"{m.link}_collision" in named]
    assert len(compared) >= 8
    for mesh, placed in compared:
        geom = model.geom(f"{mesh.link}_collision").id
        start, count = model.mesh_vertadr[model.geom_dataid[geom]], model.mesh_vertnum[model.geom_dataid[geom]]
        theirs = model.mesh_vert[start : start + count] @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom]
        theirs = (theirs - data.xpos[base]) @ data.xmat[base].reshape(3, 3)
        gap = np.linalg.norm(placed[:, None] - theirs[None], axis=2).min(1)
        assert gap.max() < 1e-4, mesh.link


def test_the_outline_lies_on_edges_of_the_picture(operation, robot):
    _, q, images = next(operation.frames(1.0, 1.0))
    camera = operation.cameras[VIEW]
    found = match_edges(images[VIEW], outline(robot, q, camera), camera, 14.0)
    nearest = np.nanmin(np.abs(np.where(np.isnan(found.offsets), 99.0, found.offsets)), axis=1)
    assert len(found) > 60 and np.mean(nearest < 1.5) > 0.7
    other = match_edges(images["right"], outline(robot, q, camera), camera, 14.0)
    wrong = np.nanmin(np.abs(np.where(np.isnan(other.offsets), 99.0, other.offsets)), axis=1)
    assert np.mean(wrong < 1.5) < 0.5


def test_rows_predict_where_the_outline_goes(operation, robot):
    _, q, images = next(operation.frames(1.0, 1.0))
    camera = operation.cameras[VIEW]
    moved = knocked(np.random.default_rng(0), camera, 2.0, 0.1)
    found = outline(robot, q, camera)
    rows = match_edges(images[VIEW], found, camera, 0.5).rows
    room = np.all((found.uv > 2.5) & (found.uv < np.array(camera.image_size) - 3.5), axis=1)
    from action_images_ros.bench.calibration import pose_error

    step = pose_error(camera.base_T_camera, moved.base_T_camera)
    went = np.einsum("ni,ni->n", found.normals, moved.project(found.points) - found.uv)[room]
    np.testing.assert_allclose(rows @ step, went, atol=0.02 * np.abs(went).max())


def _last(operation, monitor, seconds, start_s):
    state = None
    for _, view, state in watch(
        operation, {v: monitor.get(v, _Deaf()) for v in operation.cameras}, seconds, 2.0, start_s
    ):
        pass
    return state


class _Deaf:
    """Stands for a camera that nobody watches."""

    def add(self, *_):
        return None


@pytest.mark.parametrize("mm, deg", [(0.0, 0.7), (8.0, 0.0)])
def test_a_knock_is_noticed_and_measured(operation, robot, mm, deg):
    camera = operation.cameras[VIEW]
    operation.move_camera(VIEW, camera)
    monitor = {VIEW: DriftMonitor(VIEW, camera, robot, np.array([0.5, 0, 0.2]), QUICK)}
    before = _last(operation, monitor, 14.0, 0.0)
    assert before.status is DriftStatus.STEADY
    operation.move_camera(VIEW, knocked(np.random.default_rng(3), camera, mm, deg))
    after = _last(operation, monitor, 14.0, 14.0)
    operation.move_camera(VIEW, camera)
    assert after.status is DriftStatus.MOVED
    assert after.text.startswith("left: the camera moved by")
    if deg:
        assert after.rotation_deg == pytest.approx(deg, abs=0.3)
    else:
        assert np.linalg.norm(monitor[VIEW].at_workspace(after.displacement)) > 3e-3


def test_nothing_is_said_while_nothing_moves(operation):
    operation.move_camera(VIEW, operation.cameras[VIEW])
    watching = monitors(operation)
    states = [s.status for _, _, s in watch(operation, watching, 40.0, 1.0, 0.0)]
    assert DriftStatus.MOVED not in states and DriftStatus.STEADY in states


def test_a_camera_that_fell_is_noticed_though_not_measured(operation, robot):
    camera = operation.cameras[VIEW]
    operation.move_camera(VIEW, camera)
    monitor = {VIEW: DriftMonitor(VIEW, camera, robot, np.array([0.5, 0, 0.2]), QUICK)}
    _last(operation, monitor, 12.0, 0.0)
    operation.move_camera(VIEW, knocked(np.random.default_rng(5), camera, 60.0, 12.0))
    after = _last(operation, monitor, 12.0, 12.0)
    operation.move_camera(VIEW, camera)
    assert after.status is DriftStatus.MOVED and "further than can be measured" in after.text


def test_an_arm_that_stands_or_races_tells_nothing(operation, robot):
    _, q, images = next(operation.frames(1.0, 1.0))
    monitor = DriftMonitor(VIEW, operation.cameras[VIEW], robot, np.array([0.5, 0, 0.2]))
    assert monitor.add(images[VIEW], q, 0).status is DriftStatus.LEARNING
    assert monitor.add(images[VIEW], q + 0.001, 10**9) is None
    assert monitor.add(images[VIEW], q + 0.5, 2 * 10**9, dq=np.full(7, 2.0)) is None


def test_a_urdf_without_the_arm_is_refused(tmp_path):
    (tmp_path / "a.urdf").write_text("<robot name='x'><link name='fr3_link0'/></robot>")
    with pytest.raises(CalibrationError, match="has no joints fr3_joint1"):
        RobotModel.from_urdf(tmp_path / "a.urdf")
    (tmp_path / "b.urdf").write_text("no xml")
    with pytest.raises(CalibrationError, match="no URDF that can be read"):
        RobotModel.from_urdf(tmp_path / "b.urdf")
