"""The simulated cell: an FR3 on a table, its cameras, and time that moves only when asked to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import mujoco
import numpy as np

from ..errors import SimError
from ..geometry import PinholeCamera
from ..geometry.se3 import quat_from_matrix
from ..types import RobotState
from .kinematics import ArmKinematics
from .props import BALL_PROPS, STATE_SIZE, Prop
from .renderer import Renderer
from .scene import Look, Scene
from .world import FINGER_JOINTS, GRIPPER_ACTUATOR, JOINTS, MAX_FINGER_M, TCP_SITE, build_model

MAX_GRIPPER_WIDTH_M = 2 * MAX_FINGER_M
_OPTICAL_TO_GL = np.diag([1.0, -1.0, -1.0])
_PIXEL_TOLERANCE = 1e-6
_MOVING = mujoco.mjtState.mjSTATE_QPOS | mujoco.mjtState.mjSTATE_MOCAP_POS | mujoco.mjtState.mjSTATE_MOCAP_QUAT


@dataclass(frozen=True)
class SimCellConfig:
    """views: camera names, the order of the canvas; image_size: (width, height) px of every camera; props: what
    scenes of this cell may put on the table, a task's own (`Task.props`)."""

    views: tuple[str, ...] = ("left", "right")
    image_size: tuple[int, int] = (320, 240)
    props: tuple[Prop, ...] = BALL_PROPS

    def __post_init__(self) -> None:
        if not self.views or len(set(self.views)) != len(self.views):
            raise SimError(f"views are {self.views}; give at least one, all different")
        if len(self.image_size) != 2 or min(self.image_size) < 16 or max(self.image_size) > 2048:
            raise SimError(f"image_size is {self.image_size}; legal: (width, height), each 16 to 2048 px")


class SimCell:
    """Physics at 2 ms a step. `time_s` advances only in `step`; every pose is in the base frame fr3_link0.

    Renders through OpenGL: use one cell from one thread. Raises SimError for what it cannot do.
    extend: adds to the model before it is compiled (see boards.add_board).
    """

    def __init__(self, config: SimCellConfig = SimCellConfig(),
                 extend: Callable[[mujoco.MjSpec], None] | None = None):
        self.config = config
        self._model = build_model(config.views, config.image_size, config.props, extend)
        self._data = mujoco.MjData(self._model)
        self._renderer: Renderer | None = None
        self._cameras: dict[str, PinholeCamera] = {}
        self.kinematics = ArmKinematics(self._model)
        ids = [self._model.joint(name).id for name in JOINTS]
        fingers = [self._model.joint(name).id for name in FINGER_JOINTS]
        self._qpos, self._dofs = self._model.jnt_qposadr[ids], self._model.jnt_dofadr[ids]
        self._limits = self._model.jnt_range[ids]
        self._finger_qpos, self._finger_dofs = self._model.jnt_qposadr[fingers], self._model.jnt_dofadr[fingers]
        self._arm_ctrl = np.array([self._model.actuator(name).id for name in JOINTS])
        self._grip_ctrl = self._model.actuator(GRIPPER_ACTUATOR).id
        self._site = self._model.site(TCP_SITE).id
        self._props = {prop.name: prop for prop in config.props}
        self._placed: tuple[Prop, ...] = ()
        self._stale = True

    @property
    def time_s(self) -> float:
        """Simulation time since the last reset."""
        return float(self._data.time)

    @property
    def cameras(self) -> dict[str, PinholeCamera]:
        """The placed cameras by view, in the order of config.views."""
        return dict(self._cameras)

    @property
    def q(self) -> np.ndarray:
        return self._data.qpos[self._qpos].copy()

    @property
    def joint_range(self) -> np.ndarray:
        """(7, 2) rad: what the position servos can be told."""
        return self._limits.copy()

    @property
    def gripper_width_m(self) -> float:
        return float(self._data.qpos[self._finger_qpos].sum())

    @property
    def openness(self) -> float:
        """Gripper opening in [0, 1]; 1 is the full 80 mm."""
        return float(np.clip(self.gripper_width_m / MAX_GRIPPER_WIDTH_M, 0.0, 1.0))

    @property
    def base_T_tcp(self) -> np.ndarray:
        """True TCP pose (4, 4)."""
        self._refresh()
        T = np.eye(4)
        T[:3, :3] = self._data.site_xmat[self._site].reshape(3, 3)
        T[:3, 3] = self._data.site_xpos[self._site]
        return T

    def thing_states(self) -> np.ndarray:
        """(O, 8): position (m) and xyzw quaternion of each of the scene's objects, then its joint (m). A policy never
        sees this."""
        states = [prop.state(self._model, self._data) for prop in self._placed]
        return np.stack(states) if states else np.empty((0, STATE_SIZE))

    def robot_state(self, stamp_ns: int) -> RobotState:
        """What the arm's encoders say now, stamped as told."""
        return RobotState(self.q, self._data.qvel[self._dofs].copy(), self.gripper_width_m, int(stamp_ns))

    def place_cameras(self, cameras: dict[str, PinholeCamera]) -> None:
        """Put the MuJoCo cameras at exactly these poses and intrinsics.

        Needs one camera for each of config.views, of config.image_size, without distortion, with square
        pixels and the principal point at ((W - 1) / 2, (H - 1) / 2), which is all MuJoCo's fovy can express.
        """
        if set(cameras) != set(self.config.views):
            raise SimError(f"cameras are {sorted(cameras)}; this cell has the views {sorted(self.config.views)}")
        for view, camera in cameras.items():
            self._require_renderable(view, camera)
        for view in self.config.views:
            camera, i = cameras[view], self._model.camera(view).id
            xyzw = quat_from_matrix(camera.base_T_camera[:3, :3] @ _OPTICAL_TO_GL)
            self._model.cam_pos[i] = camera.centre
            self._model.cam_quat[i] = xyzw[[3, 0, 1, 2]]
            self._model.cam_fovy[i] = np.rad2deg(2 * np.arctan(0.5 * camera.image_size[1] / camera.K[1, 1]))
        self._cameras = {view: cameras[view] for view in self.config.views}
        self._stale = True

    def _require_renderable(self, view: str, camera: PinholeCamera) -> None:
        K, (width, height) = camera.K, camera.image_size
        if camera.image_size != tuple(self.config.image_size):
            raise SimError(f"camera {view} is {width}x{height} px; this cell renders "
                           f"{self.config.image_size[0]}x{self.config.image_size[1]}")
        off = max(abs(K[0, 0] - K[1, 1]), abs(K[0, 1]), abs(K[0, 2] - (width - 1) / 2), abs(K[1, 2] - (height - 1) / 2))
        if camera.distortion is not None or off > _PIXEL_TOLERANCE * max(width, height):
            raise SimError(f"camera {view} has K {K.tolist()} and distortion {camera.distortion}; the simulator "
                           f"renders only fx = fy, no skew, principal point ({(width - 1) / 2}, {(height - 1) / 2}), "
                           "no distortion")

    def reset(self, scene: Scene) -> None:
        """Set the scene, the arm at rest at its start and the clock to zero. Nothing is recompiled."""
        unknown = [thing.name for thing in scene.objects if thing.name not in self._props]
        if unknown:
            raise SimError(f"the scene has {', '.join(unknown)}; this cell has {', '.join(self._props)}. Build it with "
                           f"the props of {scene.task}")
        mujoco.mj_resetData(self._model, self._data)
        for prop in self._props.values():
            prop.park(self._model)
        for thing in scene.objects:
            self._props[thing.name].place(self._model, self._data, thing)
        self._placed = tuple(self._props[thing.name] for thing in scene.objects)
        self._apply(scene.look)
        self.teleport(np.array(scene.q_start), scene.start_openness * MAX_GRIPPER_WIDTH_M)

    def change_scene(self, scene: Scene) -> None:
        """Like `reset`, but the arm stays as it is, in motion or not: a real one does not jump."""
        data = self._data
        held = data.qpos.copy(), data.qvel.copy(), data.ctrl.copy()
        self.reset(scene)
        arm, dofs = [*self._qpos, *self._finger_qpos], [*self._dofs, *self._finger_dofs]
        data.qpos[arm], data.qvel[dofs], data.ctrl[:] = held[0][arm], held[1][dofs], held[2]

    def _apply(self, look: Look) -> None:
        for name, rgb in (("table", look.table_rgb), ("floor", look.floor_rgb), ("wall_back", look.wall_rgb),
                          ("wall_left", look.wall_rgb), ("wall_right", look.wall_rgb)):
            self._model.geom(name).rgba[:3] = rgb
        self._model.light_dir[0] = look.light_direction
        self._model.light_diffuse[0] = look.light_level
        self._model.light_ambient[0] = 0.0
        self._model.light_specular[0] = 0.15
        self._model.vis.headlight.ambient[:] = look.ambient_level
        self._model.vis.headlight.diffuse[:] = 0.15
        self._model.vis.headlight.specular[:] = 0.0

    def teleport(self, q: np.ndarray, gripper_width_m: float) -> None:
        """Put the arm at rest there without physics; targets follow. For resets and kinematic collection."""
        self._data.qpos[self._qpos] = self._checked(q)
        self._data.qpos[self._finger_qpos] = self._checked_width(gripper_width_m) / 2
        self._data.qvel[:] = 0
        self.set_joint_target(q)
        self.set_gripper_target(gripper_width_m)
        self._stale = True

    def snapshot(self) -> np.ndarray:
        """Everything that moves now, for `show` of another cell of the same configuration and scene."""
        state = np.empty(mujoco.mj_stateSize(self._model, _MOVING))
        mujoco.mj_getState(self._model, self._data, state, _MOVING)
        return state

    def show(self, snapshot: np.ndarray) -> None:
        """Look like the cell that `snapshot` was taken of; for a cell that only renders."""
        mujoco.mj_setState(self._model, self._data, snapshot, _MOVING)
        self._stale = True

    def set_joint_target(self, q: np.ndarray) -> None:
        """Joint angles (7,) rad that the position servos hold from now on."""
        self._data.ctrl[self._arm_ctrl] = self._checked(q)

    def set_gripper_target(self, width_m: float) -> None:
        """Total opening 0 to 0.08 m that the fingers move to."""
        self._data.ctrl[self._grip_ctrl] = self._checked_width(width_m) / 2

    def _checked(self, q: np.ndarray) -> np.ndarray:
        q = np.asarray(q, float)
        if q.shape != (7,) or not np.all(np.isfinite(q)):
            raise SimError(f"joint target must be 7 finite angles in rad; got {q}")
        if np.any(q < self._limits[:, 0] - 1e-6) or np.any(q > self._limits[:, 1] + 1e-6):
            bad = int(np.argmax(np.maximum(self._limits[:, 0] - q, q - self._limits[:, 1])))
            raise SimError(f"{JOINTS[bad]} target is {q[bad]:.3f} rad; "
                           f"legal: {self._limits[bad, 0]} to {self._limits[bad, 1]}")
        return q

    def _checked_width(self, width_m: float) -> float:
        if not -1e-9 <= width_m <= MAX_GRIPPER_WIDTH_M + 1e-9:
            raise SimError(f"gripper width is {width_m} m; legal: 0 to {MAX_GRIPPER_WIDTH_M}")
        return float(width_m)

    def step(self, duration_s: float) -> None:
        """Advance physics by duration_s, rounded to whole 2 ms steps."""
        n = round(duration_s / self._model.opt.timestep)
        if n < 0:
            raise SimError(f"duration_s is {duration_s}; time only moves forward")
        mujoco.mj_step(self._model, self._data, n)
        self._stale = True

    def render(self, view: str) -> np.ndarray:
        """uint8 (H, W, 3) RGB of that view now. Raises SimError before place_cameras."""
        if view not in self._cameras:
            raise SimError(f"view {view!r} has no camera; place_cameras first. Views: {', '.join(self.config.views)}")
        if self._renderer is None:
            self._renderer = Renderer(self._model, self.config.image_size)
        self._refresh()
        return self._renderer.render(self._data, self._model.camera(view).id)

    def _refresh(self) -> None:
        if self._stale:
            mujoco.mj_kinematics(self._model, self._data)
            mujoco.mj_comPos(self._model, self._data)
            mujoco.mj_camlight(self._model, self._data)
            self._stale = False

    def close(self) -> None:
        """Free the OpenGL context; the cell cannot render afterwards."""
        if self._renderer is not None:
            self._renderer.close()
