"""What a simulated cell shows: the cameras of its cell file, or those of a calibration scene with lenses and boards."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ..cell import Cell
from ..errors import SimError
from ..geometry import PinholeCamera
from ..sim.calibration_scene import CalibrationScene, JointErrors, SceneMirror
from ..sim.cell import SimCell, SimCellConfig
from ..sim.episodes import episode_rng, sample_seen_scene
from ..sim.scene import Scene
from ..sim.split import Split
from ..sim.tasks import Task
from ..types import RobotState

_AWAY_M = (0.0, 0.0, -5.0)


@dataclass(frozen=True, eq=False)
class StageView:
    """camera: what its camera_info says."""

    name: str
    image_topic: str
    info_topic: str
    frame_id: str
    camera: PinholeCamera


class Stage(Protocol):
    """views by name; `physics` and `mirror` make the two cells, `draw` an episode's scene; `reported` is what the arm
    says of a true state."""

    views: dict[str, StageView]
    episodes: bool

    def physics(self) -> SimCell: ...
    def mirror(self) -> SimCell | SceneMirror: ...
    def draw(self, episode: int, cell: SimCell) -> Scene: ...
    def reported(self, state: RobotState) -> RobotState: ...


class PolicyStage:
    """Cameras exactly where the cell file says, scenes of a task."""

    episodes = True

    def __init__(self, cell: Cell, task: Task, split: str, seed: int, source: str):
        sizes = {v.camera.image_size for v in cell.views}
        if len(sizes) != 1:
            raise SimError(f"sim_cell renders all views at one size; {source} has {sorted(sizes)}")
        self._config = SimCellConfig(cell.view_names, sizes.pop(), task.props)
        self._cameras = {v.name: v.camera for v in cell.views}
        self._task, self._split, self._seed = task, Split.parse(split), seed
        self.views = {v.name: StageView(v.name, v.image_topic, v.info_topic, v.frame_id, v.camera) for v in cell.views}

    def physics(self) -> SimCell:
        sim = SimCell(self._config)
        sim.place_cameras(self._cameras)
        return sim

    mirror = physics

    def draw(self, episode: int, cell: SimCell) -> Scene:
        rng = episode_rng(self._seed, episode, self._split)
        return sample_seen_scene(self._task, rng, self._split, cell.kinematics, self._cameras)

    def reported(self, state: RobotState) -> RobotState:
        return state


class CalibrationStage:
    """A calibration scene: no episodes, nothing on the table but boards."""

    episodes = False

    def __init__(self, path: str, task: Task, seed: int):
        self._scene, self._task, self._seed = CalibrationScene.load(path), task, seed
        self._errors = JointErrors(self._scene.joint_error_deg, self._scene.seed)
        self.views = {
            name: StageView(
                name, f"{c.topic}/color/image_raw", f"{c.topic}/color/camera_info", c.frame_id, c.camera
            )
            for name, c in self._scene.cameras.items()
        }

    def physics(self) -> SimCell:
        return SimCell(SimCellConfig())

    def mirror(self) -> SceneMirror:
        return SceneMirror(self._scene)

    def draw(self, episode: int, cell: SimCell) -> Scene:
        rng = episode_rng(self._seed, episode, Split.TEST)
        scene = self._task.sample(rng, Split.TEST, cell.kinematics)
        objects = tuple(replace(thing, position_m=_AWAY_M) for thing in scene.objects)
        return replace(scene, objects=objects, q_start=self._scene.q_start, start_openness=1.0)

    def reported(self, state: RobotState) -> RobotState:
        return replace(state, q=np.asarray(state.q) + self._errors.at(state.q))
