"""The URDF as it is drawn, against the kinematics that commands the arm."""

import numpy as np
import pytest

from action_images_ros.console.robot import UrdfRobot, coarsened, installed_fr3
from action_images_ros.control import FR3_HOME_Q, Fr3Kinematics
from action_images_ros.errors import ConfigError

PATH = installed_fr3()
needs_fr3 = pytest.mark.skipif(PATH is None, reason="franky-sim, which holds the FR3's URDF, is not installed")

URDF = """<robot name="r"><link name="a"/><link name="b"><visual><geometry><mesh filename="nope.stl"/></geometry>
</visual></link><joint name="j" type="prismatic">
<parent link="a"/><child link="b"/><axis xyz="0 0 1"/></joint></robot>"""


@needs_fr3
def test_the_drawn_tcp_is_where_the_controller_says():
    robot = UrdfRobot(PATH, "fr3_link0", "collision")
    assert robot.joints[:7] == tuple(f"fr3_joint{i}" for i in range(1, 8))
    rng = np.random.default_rng(0)
    for q in (FR3_HOME_Q, FR3_HOME_Q + 0.3 * rng.standard_normal(7)):
        placed = robot.place(dict(zip(robot.joints, q)))
        assert np.allclose(placed["fr3_hand_tcp"], Fr3Kinematics().fk(q), atol=1e-9)


@needs_fr3
def test_the_fingers_open_symmetrically_also_where_the_second_only_follows():
    robot = UrdfRobot(PATH, "fr3_link0", "collision")
    placed = robot.place({"fr3_finger_joint1": 0.03})
    hand = placed["fr3_hand"]
    left, right = (np.linalg.inv(hand) @ placed[f"fr3_{side}finger"] for side in ("left", "right"))
    assert np.isclose(left[1, 3], 0.03) and np.isclose(right[1, 3], -0.03)


@needs_fr3
def test_a_coarsened_mesh_is_the_same_surface_within_its_grid_and_has_no_empty_faces():
    u, v = np.meshgrid(np.linspace(0, np.pi, 101), np.linspace(0, 2 * np.pi, 201), indexing="ij")
    ball = 0.05 * np.stack([np.sin(u) * np.cos(v), np.sin(u) * np.sin(v), np.cos(u)], -1).reshape(-1, 3)
    k = np.arange(100 * 201).reshape(100, 201)[:, :-1].ravel()
    faces = np.concatenate([np.stack([k, k + 201, k + 1], 1), np.stack([k + 1, k + 201, k + 202], 1)])
    vertices, fewer = coarsened(ball, faces, 0.004)
    assert len(fewer) < len(faces) / 4 and fewer.max() < len(vertices)
    assert np.abs(np.linalg.norm(vertices, axis=1) - 0.05).max() < 0.004
    a, b, c = (vertices[fewer[:, k]] for k in range(3))
    area = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()
    assert abs(area / (4 * np.pi * 0.05**2) - 1) < 0.1
    assert np.all(np.sort(fewer, axis=1)[:, :-1] != np.sort(fewer, axis=1)[:, 1:])


def test_collision_meshes_reach_as_far_as_the_arm():
    parts = UrdfRobot(PATH, "fr3_link0", "collision").parts
    assert {p.link for p in parts} >= {f"fr3_link{i}" for i in range(8)}
    assert 1000 < sum(len(p.faces) for p in parts) < 10_000


@pytest.mark.parametrize(
    ("content", "base", "says"),
    [
        ("no xml", "a", "no URDF that can be read"),
        (URDF, "z", "no link 'z'; it has a, b"),
        (URDF, "a", "mesh nope.stl is not found beside the URDF"),
    ],
)
def test_a_wrong_urdf_is_named(tmp_path, content, base, says):
    (tmp_path / "r.urdf").write_text(content)
    with pytest.raises(ConfigError, match=says):
        UrdfRobot(tmp_path / "r.urdf", base)


def test_a_missing_urdf_is_named(tmp_path):
    with pytest.raises(ConfigError, match="name the URDF of the arm"):
        UrdfRobot(tmp_path / "none.urdf", "a")
