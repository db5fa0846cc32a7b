"""Things that a scene puts on the table: how each is built, placed and read. A cell is compiled with those of its task.

The origin of a thing's body is the point that a scene's `position_m` names: a ball's or cube's centre, the middle of a
button's cap, the upper edge of a closed drawer's front, the middle of a bowl's rim. Its z axis points up; a drawer
opens along its x axis.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import mujoco
import numpy as np

from ..geometry.se3 import so3_exp
from .scene import SceneObject

STATE_SIZE = 8
BALL_RADIUS_M = 0.028
BALLS = 3
CUBE_SIDE_M = 0.042
BUTTON_TOP_M, BUTTON_RADIUS_M, BUTTON_TRAVEL_M = 0.055, 0.033, 0.025
DRAWER_WIDTH_M, DRAWER_DEPTH_M, DRAWER_HEIGHT_M, DRAWER_FRONT_M, DRAWER_STROKE_M = 0.15, 0.13, 0.08, 0.012, 0.14
BOWL_HEIGHT_M, BOWL_RADIUS_M = 0.045, 0.070

_PARKED_M = (0.0, 0.0, -5.0)
_BOX, _SPHERE, _CYLINDER = mujoco.mjtGeom.mjGEOM_BOX, mujoco.mjtGeom.mjGEOM_SPHERE, mujoco.mjtGeom.mjGEOM_CYLINDER
_UNTOUCHED = {"contype": 0, "conaffinity": 0}
_DARK, _PALE = (0.16, 0.16, 0.17, 1.0), (0.80, 0.78, 0.74, 1.0)
_BOWL_PANELS, _BOWL_FLOOR_M, _BOWL_WALL_M = 14, 0.045, 0.003


class Prop(Protocol):
    """One thing of a cell. `state` is (8,): position (3,) m and xyzw quaternion of its body, then its joint (m)."""

    @property
    def name(self) -> str: ...

    def add(self, spec: mujoco.MjSpec) -> None: ...

    def park(self, model: mujoco.MjModel) -> None: ...

    def place(self, model: mujoco.MjModel, data: mujoco.MjData, thing: SceneObject) -> None: ...

    def state(self, model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray: ...


@dataclass(frozen=True)
class _Standing:
    """Fixed where the scene puts it."""

    name: str

    def park(self, model: mujoco.MjModel) -> None:
        """Out of sight is where the compiled model has it."""

    def place(self, model: mujoco.MjModel, data: mujoco.MjData, thing: SceneObject) -> None:
        at = int(model.body(self.name).mocapid[0])
        data.mocap_pos[at] = thing.position_m
        half = thing.yaw_rad / 2
        data.mocap_quat[at] = (np.cos(half), 0.0, 0.0, np.sin(half))
        for geom in self._coloured():
            model.geom(geom).rgba[:3] = thing.rgb

    def state(self, model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
        at = int(model.body(self.name).mocapid[0])
        return np.concatenate([data.mocap_pos[at], data.mocap_quat[at][[1, 2, 3, 0]], [0.0]])

    def _coloured(self) -> tuple[str, ...]:
        return (self.name,)

    def _body(self, spec: mujoco.MjSpec):
        return spec.worldbody.add_body(name=self.name, mocap=True, pos=_PARKED_M)


@dataclass(frozen=True)
class Ball(_Standing):
    """A visual target that nothing touches."""

    def add(self, spec: mujoco.MjSpec) -> None:
        self._body(spec).add_geom(name=self.name, type=_SPHERE, size=[BALL_RADIUS_M, 0, 0], rgba=[1, 0, 0, 1],
                                  **_UNTOUCHED)


@dataclass(frozen=True)
class _Jointed(_Standing):
    """Fixed, with a part that slides; the joint bears the thing's name."""

    def place(self, model: mujoco.MjModel, data: mujoco.MjData, thing: SceneObject) -> None:
        super().place(model, data, thing)
        data.qpos[model.joint(self.name).qposadr[0]] = thing.joint_m

    def state(self, model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
        out = super().state(model, data)
        out[7] = data.qpos[model.joint(self.name).qposadr[0]]
        return out


@dataclass(frozen=True)
class Button(_Jointed):
    """A mushroom button on a dark box; its joint is how far it is pressed, and a spring of 250 N/m lifts it again."""

    def add(self, spec: mujoco.MjSpec) -> None:
        base, body = BUTTON_TOP_M - BUTTON_TRAVEL_M - 0.008, self._body(spec)
        body.add_geom(type=_BOX, size=[0.042, 0.042, base / 2], pos=[0, 0, base / 2 - BUTTON_TOP_M], rgba=_DARK)
        cap = body.add_body(name=f"{self.name}_cap", gravcomp=1.0)
        cap.add_joint(name=self.name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[0, 0, -1], range=[0, BUTTON_TRAVEL_M],
                      limited=True, stiffness=250.0, damping=8.0)
        height = BUTTON_TRAVEL_M + 0.004
        cap.add_geom(name=self.name, type=_CYLINDER, size=[BUTTON_RADIUS_M, height / 2, 0], pos=[0, 0, -height / 2],
                     mass=0.05)
        spec.add_exclude(bodyname1=self.name, bodyname2=f"{self.name}_cap")


@dataclass(frozen=True)
class Drawer(_Jointed):
    """A pale cabinet with one coloured drawer; its joint is how far that is open, and friction
    keeps it so."""

    def add(self, spec: mujoco.MjSpec) -> None:
        body, wall, h = self._body(spec), 0.004, DRAWER_HEIGHT_M
        y, x = DRAWER_WIDTH_M / 2, -DRAWER_DEPTH_M / 2
        for size, pos in (([-x, y, wall], [x, 0, -wall]), ([wall, y, h / 2], [2 * x, 0, -h / 2]),
                          ([-x, wall, h / 2], [x, y - wall, -h / 2]), ([-x, wall, h / 2], [x, wall - y, -h / 2])):
            body.add_geom(type=_BOX, size=size, pos=pos, rgba=_PALE)
        tray = body.add_body(name=f"{self.name}_tray", gravcomp=1.0)
        tray.add_joint(name=self.name, type=mujoco.mjtJoint.mjJNT_SLIDE, axis=[1, 0, 0], range=[0, DRAWER_STROKE_M],
                       limited=True, damping=8.0, frictionloss=2.0)
        front = DRAWER_FRONT_M / 2
        tray.add_geom(name=self.name, type=_BOX, size=[front, y, h / 2 - 0.002], pos=[front, 0, -h / 2], mass=0.2)
        inner, low = y - 0.012, h / 2 - 0.014
        sides = (([-x, inner, 0.003], [x, 0, 0.006 - h]), ([-x, 0.003, low], [x, inner, -h / 2 - 0.004]),
                 ([-x, 0.003, low], [x, -inner, -h / 2 - 0.004]))
        for i, (size, pos) in enumerate(sides):
            tray.add_geom(name=f"{self.name}_{i}", type=_BOX, size=size, pos=pos, mass=0.03, **_UNTOUCHED)
        spec.add_exclude(bodyname1=self.name, bodyname2=f"{self.name}_tray")

    def _coloured(self) -> tuple[str, ...]:
        return (self.name, *(f"{self.name}_{i}" for i in range(3)))


@dataclass(frozen=True)
class Bowl(_Standing):
    """A bowl that stays where it stands."""

    def add(self, spec: mujoco.MjSpec) -> None:
        body = self._body(spec)
        body.add_geom(name=self.name, type=_CYLINDER, size=[_BOWL_FLOOR_M + 0.004, 0.003, 0],
                      pos=[0, 0, 0.003 - BOWL_HEIGHT_M])
        lean = float(np.arctan2(BOWL_RADIUS_M - _BOWL_FLOOR_M, BOWL_HEIGHT_M))
        middle = (BOWL_RADIUS_M + _BOWL_FLOOR_M) / 2
        half = [_BOWL_WALL_M, (BOWL_RADIUS_M + 0.004) * np.tan(np.pi / _BOWL_PANELS), BOWL_HEIGHT_M / 2 / np.cos(lean)]
        for i in range(_BOWL_PANELS):
            angle = 2 * np.pi * i / _BOWL_PANELS
            turn = so3_exp(np.array([0, 0, angle])) @ so3_exp(np.array([0, lean, 0]))
            quat = np.empty(4)
            mujoco.mju_mat2Quat(quat, turn.ravel())
            body.add_geom(name=f"{self.name}_{i}", type=_BOX, size=half, quat=quat,
                          pos=[middle * np.cos(angle), middle * np.sin(angle), -BOWL_HEIGHT_M / 2])

    def _coloured(self) -> tuple[str, ...]:
        return (self.name, *(f"{self.name}_{i}" for i in range(_BOWL_PANELS)))


@dataclass(frozen=True)
class Cube:
    """A loose cube of 60 g; one that no scene has placed floats out of sight."""

    name: str

    def add(self, spec: mujoco.MjSpec) -> None:
        body = spec.worldbody.add_body(name=self.name, pos=_PARKED_M, gravcomp=1.0)
        body.add_freejoint(name=self.name)
        body.add_geom(name=self.name, type=_BOX, size=[CUBE_SIDE_M / 2] * 3, mass=0.06, condim=4,
                      friction=[1.0, 0.02, 0.001])

    def park(self, model: mujoco.MjModel) -> None:
        model.body_gravcomp[model.body(self.name).id] = 1.0

    def place(self, model: mujoco.MjModel, data: mujoco.MjData, thing: SceneObject) -> None:
        at, half = int(model.joint(self.name).qposadr[0]), thing.yaw_rad / 2
        data.qpos[at: at + 3] = thing.position_m
        data.qpos[at + 3: at + 7] = (np.cos(half), 0.0, 0.0, np.sin(half))
        model.body_gravcomp[model.body(self.name).id] = 0.0
        model.geom(self.name).rgba[:3] = thing.rgb

    def state(self, model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
        at = int(model.joint(self.name).qposadr[0])
        return np.concatenate([data.qpos[at: at + 3], data.qpos[at + 3: at + 7][[1, 2, 3, 0]], [0.0]])


def ball_name(index: int) -> str:
    return f"ball{index}"


BALL_PROPS: tuple[Prop, ...] = tuple(Ball(ball_name(i)) for i in range(BALLS))
