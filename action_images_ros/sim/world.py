"""The MuJoCo model of the cell: an FR3 with its hand on a table, a room around it, things, lights, cameras.

Robot: the FR3 description inside the `franky_sim` package (Apache-2.0). Its collision meshes are the
visible robot (3 k faces; the visual ones cost ten times the rendering time), and what its dynamics
lack is mended here: gravity compensation, and fingers that inherit the arm's friction and stall.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import mujoco

from ..errors import SimError
from .props import Prop

TCP_SITE = "fr3_hand_tcp"
TCP_FROM_HAND_M = 0.1034
JOINTS = tuple(f"fr3_joint{i}" for i in range(1, 8))
FINGER_JOINTS = ("finger_joint1", "finger_joint2")
GRIPPER_ACTUATOR = "gripper"
MAX_FINGER_M = 0.04
TIMESTEP_S = 0.002

_KP = (4500, 4500, 3500, 3500, 2000, 2000, 2000)
_KV = (220, 220, 160, 140, 50, 40, 25)
_LINK_RGB = {"fr3_link0": 0.88, "fr3_link1": 0.95, "fr3_link2": 0.90, "fr3_link3": 0.96, "fr3_link4": 0.88,
             "fr3_link5": 0.95, "fr3_link6": 0.80, "fr3_link7": 0.55, "hand": 0.22}
_FINGER_RGBA = (0.36, 0.36, 0.40, 1.0)
_FINGERTIP_RGBA = (0.10, 0.10, 0.11, 1.0)


def robot_file() -> Path:
    """Path of the FR3 MJCF. Raises SimError where the package that carries it is not installed."""
    spec = importlib.util.find_spec("franky_sim")
    if spec is None or not spec.submodule_search_locations:
        raise SimError("the FR3 description is missing; install it with `pip install franky-sim`")
    path = Path(next(iter(spec.submodule_search_locations))) / "assets" / "fr3.xml"
    if not path.is_file():
        raise SimError(f"{path} does not exist; install franky-sim 1.0.4 or newer")
    return path


def build_model(views: tuple[str, ...], image_size: tuple[int, int], props: Sequence[Prop],
                extend: Callable[[mujoco.MjSpec], None] | None = None) -> mujoco.MjModel:
    """Compile the cell with one camera a view. Everything a scene changes is a model or mocap array.

    extend: adds to the finished description before it is compiled (calibration boards).
    """
    path = robot_file()
    spec = mujoco.MjSpec.from_file(str(path))
    spec.meshdir = str(path.parent / "meshes")
    for key in list(spec.keys):
        spec.delete(key)
    spec.option.timestep = TIMESTEP_S
    spec.visual.quality.offsamples = 0
    spec.visual.global_.offwidth, spec.visual.global_.offheight = image_size
    spec.visual.map.znear, spec.visual.map.zfar = 0.02, 20.0
    spec.stat.extent = 1.0
    _mend_robot(spec)
    _simplify_visuals(spec)
    _add_room(spec)
    for prop in props:
        prop.add(spec)
    for view in views:
        spec.worldbody.add_camera(name=view, fovy=45.0)
    if extend is not None:
        extend(spec)
    return spec.compile()


def _mend_robot(spec: mujoco.MjSpec) -> None:
    for body in spec.bodies:
        if body.name.startswith("fr3_link") or body.name in ("hand", "left_finger", "right_finger"):
            body.gravcomp = 1.0
    for name in FINGER_JOINTS:
        joint = spec.joint(name)
        joint.frictionloss, joint.armature = 0.0, 0.1
        joint.damping = [10.0] + [0.0] * (len(joint.damping) - 1) if hasattr(joint.damping, "__len__") else 10.0
    spec.delete(spec.actuator("hand"))
    grip = spec.add_actuator(name=GRIPPER_ACTUATOR, target="split", trntype=mujoco.mjtTrn.mjTRN_TENDON,
                             ctrllimited=True, ctrlrange=[0.0, MAX_FINGER_M], forcelimited=True,
                             forcerange=[-140.0, 140.0])
    grip.set_to_position(kp=2000.0, kv=100.0)
    for name, kp, kv in zip(JOINTS, _KP, _KV):
        spec.actuator(name).set_to_position(kp=kp, kv=kv)
    spec.body("hand").add_site(name=TCP_SITE, pos=[0, 0, TCP_FROM_HAND_M])


def _simplify_visuals(spec: mujoco.MjSpec) -> None:
    """Drop the visual geoms, show the collision geoms, colour them by link, keep the black fingertips."""
    visual = int(mujoco.mjtGeom.mjGEOM_MESH)
    used = set()
    for body in spec.bodies:
        for geom in list(body.geoms):
            finger = "finger" in body.name
            if int(geom.type) == visual and geom.contype == 0 and not (finger and geom.meshname == "finger_1"):
                spec.delete(geom)
                continue
            if int(geom.type) == visual:
                used.add(geom.meshname)
            geom.material = ""
            geom.group = 0
            if finger:
                tip = int(geom.type) != visual or geom.meshname == "finger_1"
                geom.rgba = _FINGERTIP_RGBA if tip else _FINGER_RGBA
                geom.friction, geom.condim = [1.5, 0.02, 0.001], 4
            elif body.name in _LINK_RGB:
                level = _LINK_RGB[body.name]
                geom.rgba = [level, level, level * 1.02 if level < 0.9 else level, 1.0]
    for mesh in list(spec.meshes):
        if mesh.name not in used:
            spec.delete(mesh)


def _add_room(spec: mujoco.MjSpec) -> None:
    world, box, plane = spec.worldbody, mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_PLANE
    world.add_geom(name="table", type=box, size=[0.70, 0.85, 0.02], pos=[0.40, 0, -0.02], rgba=[0.6, 0.6, 0.6, 1])
    unseen = {"contype": 0, "conaffinity": 0}
    world.add_geom(name="floor", type=plane, size=[6, 6, 0.1], pos=[0, 0, -0.75], rgba=[0.4, 0.4, 0.4, 1], **unseen)
    wall = {"type": box, "rgba": [0.7, 0.7, 0.7, 1], **unseen}
    world.add_geom(name="wall_back", size=[0.05, 4, 2], pos=[-1.6, 0, 1.2], **wall)
    world.add_geom(name="wall_left", size=[4, 0.05, 2], pos=[0, 2.4, 1.2], **wall)
    world.add_geom(name="wall_right", size=[4, 0.05, 2], pos=[0, -2.4, 1.2], **wall)
    world.add_light(name="sun", type=mujoco.mjtLightType.mjLIGHT_DIRECTIONAL, pos=[0.4, 0, 3], dir=[0, 0, -1],
                    castshadow=False)
