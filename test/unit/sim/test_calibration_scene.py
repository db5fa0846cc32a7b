"""A calibration scene is read back as written, its arm's reading errors are repeatable, and its mirror shows it."""

import numpy as np
import pytest

from action_images_ros.bench.calibration_cell import operator_poses, random_cell
from action_images_ros.bench.calibration_pictures import save_scene
from action_images_ros.calibration import BoardDetector
from action_images_ros.control.kinematics import FR3_HOME_Q
from action_images_ros.errors import ConfigError
from action_images_ros.geometry.se3 import transform
from action_images_ros.ros.sim_stage import CalibrationStage
from action_images_ros.sim.calibration_scene import CalibrationScene, JointErrors
from action_images_ros.sim.tasks import make_task


@pytest.fixture(scope="module")
def truth():
    return random_cell(np.random.default_rng(3))


@pytest.fixture(scope="module")
def folder(truth, tmp_path_factory):
    path = tmp_path_factory.mktemp("scene")
    save_scene(truth, path, operator_poses(np.random.default_rng(4), truth, 1)[0])
    return path


def test_it_is_read_back_as_written(truth, folder, tmp_path):
    scene = CalibrationScene.load(folder / "scene.yaml")
    scene.save(tmp_path / "again.yaml")
    again = CalibrationScene.load(tmp_path / "again.yaml")
    for name, camera in scene.cameras.items():
        np.testing.assert_allclose(camera.camera.base_T_camera, truth.cameras[name], atol=1e-9)
        np.testing.assert_array_equal(again.cameras[name].camera.K, truth.rig.cameras[name].K)
        assert again.cameras[name].on_wrist == (name == "wrist")
    assert again.boards["table"].board == truth.rig.boards["table"].board
    assert again.boards["table"].scale == truth.scales["table"]


def test_a_mistake_is_named_with_its_line(folder, tmp_path):
    text = (folder / "scene.yaml").read_text().replace("joint_error_deg: 0.05", "joint_error_deg: much")
    (tmp_path / "scene.yaml").write_text(text)
    with pytest.raises(ConfigError, match="joint_error_deg: expected a finite number, got 'much'"):
        CalibrationScene.load(tmp_path / "scene.yaml")


def test_reading_errors_are_repeatable_of_the_size_asked_for_and_differ_between_poses():
    errors = JointErrors(0.05, 1)
    q = FR3_HOME_Q + np.random.default_rng(0).uniform(-0.6, 0.6, (800, 7))
    found = np.rad2deg([errors.at(row) for row in q])
    np.testing.assert_array_equal(errors.at(q[0]), errors.at(q[0]))
    assert np.all(np.abs(found.std(0) / 0.05 - 1) < 0.25)
    assert np.abs(np.corrcoef(found[:-1].T, found[1:].T)[:7, 7:]).max() < 0.2
    near = np.rad2deg(errors.at(q[0] + 0.01) - errors.at(q[0]))
    assert np.abs(near).max() < 0.03
    assert not JointErrors(0.0, 1).at(q[0]).any()


def test_the_stage_shows_boards_where_the_truth_has_them(truth, folder):
    stage = CalibrationStage(str(folder / "scene.yaml"), make_task("reach_target"), 0)
    sim = stage.physics()
    look = stage.draw(0, sim)
    sim.reset(look)
    mirror = stage.mirror()
    mirror.reset(look)
    mirror.show(sim.snapshot())
    detector, tcp, seen = BoardDetector(truth.rig.plain_boards), sim.base_T_tcp, 0
    for view in stage.views:
        camera = truth.rig.cameras[view].at(truth.base_T_camera(view, tcp))
        for d in detector.detect(mirror.render(view)):
            points = truth.rig.boards[d.board].board.points[d.ids] * truth.scales[d.board]
            off = d.uv - camera.project(transform(truth.base_T_board(d.board, tcp), points))
            assert np.median(np.linalg.norm(off, axis=1)) < 0.15
            seen += 1
    mirror.close()
    assert seen >= 2
    told = stage.reported(sim.robot_state(1))
    np.testing.assert_allclose(told.q - sim.q, JointErrors(0.05, 0).at(sim.q), atol=1e-12)
