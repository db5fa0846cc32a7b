"""The setting of one episode, drawn reproducibly: generator, scene and cameras that see it."""

from __future__ import annotations

import numpy as np

from ..codec import ActionEncoding
from ..errors import SimError
from ..geometry import PinholeCamera
from .cameras import sample_cameras, sees
from .kinematics import ArmKinematics
from .props import BALL_RADIUS_M
from .scene import Scene
from .split import Split
from .tasks import Task

_CAMERA_TRIES = 40
_SCENE_TRIES = 50
_NEAR_START_M = 0.12


def episode_rng(seed: int, episode: int, split: Split) -> np.random.Generator:
    """A generator that depends on nothing but the three arguments."""
    return np.random.default_rng(np.random.SeedSequence([seed, episode, list(Split).index(split)]))


def points_of_interest(task: Task, scene: Scene, kinematics: ArmKinematics) -> np.ndarray:
    """(N, 3) m: the objects and the three encoded points of the start and of the goal pose."""
    poses = np.stack([kinematics.fk(np.array(scene.q_start)), task.expert(scene).goal_base_T_tcp])
    return np.concatenate([ActionEncoding().base_points(poses).reshape(-1, 3),
                           [thing.position_m for thing in scene.objects]])


def everything_in_sight(task: Task, scene: Scene, kinematics: ArmKinematics,
                        cameras: dict[str, PinholeCamera]) -> bool:
    """Whether the episode can be judged from these images.

    Its objects, start and goal lie in the centre square of every view, and at the start neither the arm
    nor another object hides the centre of any object from any view (from more than all views but one,
    where the arm starts within 12 cm of an object). The rule treats all objects alike: what is hidden
    never tells which one is meant.
    """
    if not sees(list(cameras.values()), points_of_interest(task, scene, kinematics)):
        return False
    q, centres = np.array(scene.q_start), np.array([thing.position_m for thing in scene.objects])
    near = np.linalg.norm(centres - kinematics.fk(q)[:3, 3], axis=1).min() < _NEAR_START_M
    needed = 1 if near else len(cameras)
    return all(sum(_visible(i, centres, c.centre, q, kinematics) for c in cameras.values()) >= needed
               for i in range(len(centres)))


def _visible(index: int, centres: np.ndarray, eye: np.ndarray, q: np.ndarray, kinematics: ArmKinematics) -> bool:
    line = eye - centres[index]
    line = line / np.linalg.norm(line)
    off = np.delete(centres, index, 0) - centres[index]
    ahead = off @ line
    gap = np.linalg.norm(off - ahead[:, None] * line, axis=1)
    if np.any((ahead > 0) & (gap < BALL_RADIUS_M)):
        return False
    return kinematics.unobstructed(q, centres[index], eye)


def sample_setting(task: Task, rng: np.random.Generator, split: Split, kinematics: ArmKinematics, n_views: int,
                   image_size: tuple[int, int], camera_split: Split | None = None
                   ) -> tuple[Scene, dict[str, PinholeCamera]]:
    """A scene and cameras with everything in sight. camera_split: of the cameras, where it is not the scene's."""
    for _ in range(_SCENE_TRIES):
        scene = task.sample(rng, split, kinematics)
        for _ in range(_CAMERA_TRIES):
            cameras = sample_cameras(rng, camera_split or split, n_views, image_size)
            if everything_in_sight(task, scene, kinematics, cameras):
                return scene, cameras
    raise SimError(f"no cameras see a {task.name} scene in {_SCENE_TRIES} scenes x {_CAMERA_TRIES} tries")


def sample_seen_scene(task: Task, rng: np.random.Generator, split: Split, kinematics: ArmKinematics,
                      cameras: dict[str, PinholeCamera]) -> Scene:
    """A scene that these fixed cameras have wholly in sight. Raises SimError where their framing leaves none."""
    for _ in range(_SCENE_TRIES * _CAMERA_TRIES):
        scene = task.sample(rng, split, kinematics)
        if everything_in_sight(task, scene, kinematics, cameras):
            return scene
    raise SimError(f"the cameras {', '.join(cameras)} do not see a whole {task.name} scene; "
                   "move them back or widen their view")
