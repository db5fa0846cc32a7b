"""The 3D scene as its server holds it, against the arm's kinematics, the cell file and the predicted chunk."""

import io
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

viser = pytest.importorskip("viser")
trimesh = pytest.importorskip("trimesh")

from scipy.spatial.transform import Rotation  # noqa: E402

from action_images_ros.cell import Cell  # noqa: E402
from action_images_ros.console.robot import UrdfRobot, installed_fr3  # noqa: E402
from action_images_ros.console.scene import Scene  # noqa: E402
from action_images_ros.control import FR3_HOME_Q, Fr3Kinematics  # noqa: E402
from action_images_ros.errors import ConfigError  # noqa: E402
from action_images_ros.types import ActionChunk  # noqa: E402

CELL = Cell.load(Path(__file__).parents[3] / "config" / "cell.yaml")
SD_M = np.array([0.004, 0.01, 0.03])


@pytest.fixture(scope="module")
def scene():
    path = installed_fr3()
    if path is None:
        pytest.skip("franky-sim, which holds the FR3's URDF, is not installed")
    shown = Scene(CELL, UrdfRobot(path, "fr3_link0", "collision"))
    yield shown
    shown.close()


def node(scene: Scene, name: str):
    return scene._s.get_handle_by_name(name)


def pose(handle) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = Rotation.from_quat(np.roll(handle.wxyz, -1)).as_matrix()
    T[:3, 3] = handle.position
    return T


def chunk(steps: int = 5, credible: tuple[int, ...] = (0, 1, 2, 4)) -> ActionChunk:
    T = np.tile(np.eye(4), (steps, 1, 1))
    T[:, :3, :3] = np.diag([1.0, -1.0, -1.0])
    T[:, :3, 3] = [0.4, 0.1, 0.3] + np.arange(steps)[:, None] * np.array([0.02, -0.03, 0.01])
    covariance = np.tile(np.diag([*SD_M**2, 0.01, 0.01, 0.01]), (steps, 1, 1))
    sure = np.isin(np.arange(steps), credible)
    openness = np.where(np.arange(steps) < 2, 1.0, 0.0)
    return replace(ActionChunk.from_poses(T, openness, 0, 0.4), covariance=covariance, credible=sure)


def test_every_link_is_drawn_where_the_kinematics_has_it(scene):
    q = FR3_HOME_Q + [0.3, -0.2, 0.1, 0.4, -0.3, 0.2, 0.5]
    scene.show_arm(dict(zip((f"fr3_joint{i}" for i in range(1, 8)), q)))
    hand = pose(node(scene, "/arm/fr3_hand"))
    np.testing.assert_allclose(hand @ _along_z(0.1034), Fr3Kinematics().fk(q), atol=1e-5)
    origins = Fr3Kinematics().joint_origins(q[None])[0]
    for i in range(7):
        drawn = node(scene, f"/arm/fr3_link{i + 1}").position
        np.testing.assert_allclose(drawn, origins[i], atol=1e-5)


def _along_z(m: float) -> np.ndarray:
    T = np.eye(4)
    T[2, 3] = m
    return T


def test_cameras_stand_where_the_cell_file_has_them_and_show_their_pictures(scene):
    for view in CELL.views:
        frustum, camera = node(scene, f"/cameras/{view.name}"), view.camera
        np.testing.assert_allclose(pose(frustum), camera.base_T_camera, atol=1e-6)
        width, height = camera.image_size
        assert frustum.aspect == pytest.approx(width / height)
        assert np.tan(frustum.fov / 2) * camera.K[1, 1] == pytest.approx(height / 2)
        picture = np.full((12, 16, 3), 77, np.uint8)
        scene.show_picture(view.name, picture)
        assert np.array_equal(frustum.image, picture)


def test_workspace_and_keep_out_boxes_are_those_of_the_cell_file():
    box = (((0.2, -0.5, 0.0), (0.5, -0.3, 0.4)),)
    scene = Scene(replace(CELL, workspace=replace(CELL.workspace, keep_out_boxes_m=box)), None)
    try:
        edges = node(scene, "/workspace").points.reshape(-1, 3)
        np.testing.assert_allclose([edges.min(0), edges.max(0)], [CELL.workspace.box_min_m, CELL.workspace.box_max_m])
        keep_out = node(scene, "/keep out/0")
        np.testing.assert_allclose(keep_out.position, [0.35, -0.4, 0.2])
        np.testing.assert_allclose(keep_out.dimensions, [0.3, 0.2, 0.4])
        scene.show_arm({"fr3_joint1": 0.0})
        assert node(scene, "/arm/fr3_link1") is None
    finally:
        scene.close()


def test_a_chunk_is_a_path_through_its_credible_steps_with_what_is_uncertain_about_each(scene):
    predicted = chunk()
    scene.show_chunk(predicted)
    places = predicted.base_T_tcps[:, :3, 3]
    glb = io.BytesIO(node(scene, "/prediction/path").glb_data)
    surface = np.asarray(trimesh.load(glb, file_type="glb").to_geometry().vertices)
    nearest = np.linalg.norm(surface[:, None] - places, axis=2).min(axis=0)
    assert np.all(nearest[[0, 1, 2, 4]] < 0.005)
    steps = [node(scene, f"/prediction/step {k}") for k in range(5)]
    for k, step in enumerate(steps):
        np.testing.assert_allclose(step.position, places[k])
        spread = pose(step)[:3, :3] @ np.diag(np.square(step.scale)) @ pose(step)[:3, :3].T
        np.testing.assert_allclose(spread, np.diag((2 * np.maximum(SD_M, 0.0032)) ** 2), rtol=1e-3, atol=1e-9)
    colours = [tuple(step.color) for step in steps]
    assert colours[0] == colours[1] and colours[2] == colours[4] and len({*colours}) == 3
    fingers = node(scene, "/prediction/gripper").points
    assert np.linalg.norm(fingers.reshape(-1, 3) - places[4], axis=1).min() < 0.08

    scene.show_chunk(chunk(3, credible=(1,)))
    assert [step.visible for step in steps] == [True, True, True, False, False]
    assert not node(scene, "/prediction/path").visible


def test_a_step_that_could_be_anywhere_does_not_hide_the_scene(scene):
    wide = chunk()
    scene.show_chunk(replace(wide, covariance=wide.covariance * 1e4))
    assert max(node(scene, "/prediction/step 0").scale) == pytest.approx(0.12)


def test_the_scene_is_lit_by_lamps_without_an_environment_map(monkeypatch):
    """viser's page keeps a scene dark until such a map is decoded."""
    maps: list[object] = []
    monkeypatch.setattr(viser.SceneApi, "configure_environment_map", lambda self, hdri: maps.append(hdri))
    scene = Scene(CELL, None)
    try:
        assert maps == [None]
        assert node(scene, "/lamps/sky").intensity > 0 and node(scene, "/lamps/front").intensity > 0
    finally:
        scene.close()


def test_the_executed_path_is_where_the_tcp_has_been_and_begins_anew(scene):
    points = np.array([[0.4, 0, 0.3], [0.42, 0, 0.3], [0.42, 0.05, 0.31]])
    scene.show_trail(points)
    lines = node(scene, "/executed path").points
    np.testing.assert_allclose(lines[:, 0], points[:-1], atol=1e-6)
    np.testing.assert_allclose(lines[:, 1], points[1:], atol=1e-6)
    scene.show_trail(points[:1])
    assert node(scene, "/executed path") is None


def test_without_viser_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "viser", None)
    with pytest.raises(ConfigError, match=r"the console needs viser .*console"):
        Scene(CELL, None)
