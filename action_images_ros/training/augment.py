"""Augmentation that keeps the calibration true: what changes a picture changes its camera, and the action images are
drawn anew from poses and cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from ..errors import ConfigError
from ..geometry import PinholeCamera, so3_exp
from ..geometry.se3 import make

_MIRROR = np.diag([1.0, -1.0, 1.0])
_SIDED = ("left", "right")


@dataclass(frozen=True, eq=False)
class Scene:
    """What a window shows: images (T, V, H, W, 3) uint8, their cameras, poses (T, 4, 4) in the base frame."""

    images: np.ndarray
    cameras: tuple[PinholeCamera, ...]
    base_T_tcps: np.ndarray


@dataclass(frozen=True)
class Augment:
    """What changes from window to window; 0 or False leaves a thing as it is.

    shuffle_views: random order of the views. brightness, contrast: largest relative change, drawn per view (as two
    cameras differ). committed_m: standard deviation of the shift of committed poses, which decays to nothing over the
    rest of the chunk, so that the model learns to continue from where the arm will really be. no_instruction: share of
    canvases without an instruction, which guidance needs. relabel: whether canvases without a future video show each
    picture under two of the instructions that its scene allows. early: exponent that favours windows from the beginning
    of an episode, where the instruction alone tells what is meant.

    mirror: share of windows in which the whole cell is mirrored left to right (see `mirrored`). crop: largest part of a
    side that is cut away, the rest scaled up again, per view. turn_deg: largest turn of a camera about its own centre,
    which moves the picture by a homography; per view.
    """

    shuffle_views: bool = True
    brightness: float = 0.15
    contrast: float = 0.15
    committed_m: float = 0.008
    no_instruction: float = 0.0
    relabel: bool = True
    early: float = 1.5
    mirror: float = 0.0
    crop: float = 0.0
    turn_deg: float = 0.0

    def __post_init__(self) -> None:
        if not (0 <= self.mirror <= 1 and 0 <= self.crop < 0.5 and 0 <= self.turn_deg <= 20):
            raise ConfigError(f"augment: mirror {self.mirror} (0..1), crop {self.crop} (0 to 0.5), turn_deg "
                              f"{self.turn_deg} (0..20)")

    def scene(self, scene: Scene, instructions: Sequence[str], rng: np.random.Generator) -> Scene:
        """Mirrored, cropped, turned. Words that name a side forbid mirroring."""
        if self.mirror and rng.random() < self.mirror and not _names_a_side(instructions):
            scene = mirrored(scene)
        for v in range(len(scene.cameras)):
            if self.crop:
                keep = 1.0 - self.crop * rng.random()
                scene = cropped(scene, v, keep, rng.random(2))
            if self.turn_deg:
                scene = turned(scene, v, np.deg2rad(self.turn_deg) * rng.uniform(-1, 1, 3))
        return scene

    def colour(self, images: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(T, V, H, W, 3) uint8 -> the same, one brightness and contrast per view."""
        if not (self.brightness or self.contrast):
            return images
        shape = (1, images.shape[1], 1, 1, 1)
        gain = (1 + self.contrast * rng.uniform(-1, 1, shape)).astype(np.float32)
        lift = (127.5 * self.brightness * rng.uniform(-1, 1, shape)).astype(np.float32)
        return np.clip((images - np.float32(127.5)) * gain + 127.5 + lift, 0, 255).astype(np.uint8)

    def shift_committed(self, poses: np.ndarray, committed: int, rng: np.random.Generator) -> np.ndarray:
        """poses (T, 4, 4) -> the same with poses 1..committed shifted, the rest eased back."""
        if not self.committed_m or committed < 1 or committed >= len(poses) - 1:
            return poses
        k = np.arange(len(poses))
        up = k / committed
        down = (len(poses) - 1 - k) / (len(poses) - 1 - committed)
        out = poses.copy()
        out[:, :3, 3] += np.minimum(up, down)[:, None] * rng.normal(0, self.committed_m, 3)
        return out


NO_AUGMENT = Augment(shuffle_views=False, brightness=0.0, contrast=0.0, committed_m=0.0, relabel=False, early=1.0)


def mirrored(scene: Scene) -> Scene:
    """The cell reflected at its plane y = 0.

    A reflection M = diag(1, -1, 1) turns rotations into reflections; each is made proper again by a second one that
    changes nothing that is seen. The gripper is its own mirror image at its plane y = 0, so R' = M R M; the encoded
    points p + l R e_x and p - l R e_z are mirrored with it, as the reflection fixes e_x and e_z of the tool. A picture
    flipped left to right is that of a camera whose x axis is reversed: R' = M R diag(-1, 1, 1), cx' = W - 1 - cx.
    """
    poses = scene.base_T_tcps.copy()
    poses[:, :3, :3] = _MIRROR @ poses[:, :3, :3] @ _MIRROR
    poses[:, :3, 3] = poses[:, :3, 3] @ _MIRROR
    images = np.ascontiguousarray(scene.images[:, :, :, ::-1])
    return Scene(images, tuple(_mirrored_camera(c) for c in scene.cameras), poses)


def _mirrored_camera(camera: PinholeCamera) -> PinholeCamera:
    K, T = camera.K.copy(), camera.base_T_camera.copy()
    K[0, 2] = camera.image_size[0] - 1 - K[0, 2]
    K[0, 1] = -K[0, 1]
    T[:3, :3] = _MIRROR @ T[:3, :3] @ np.diag([-1.0, 1.0, 1.0])
    T[:3, 3] = _MIRROR @ T[:3, 3]
    if camera.distortion is None:
        return PinholeCamera(K, camera.image_size, T)
    flipped = camera.distortion.copy()
    flipped[3] = -flipped[3]  # p2 pushes along x
    return PinholeCamera(K, camera.image_size, T, flipped)


def cropped(scene: Scene, view: int, keep: float, at: np.ndarray) -> Scene:
    """A view cut to `keep` of its sides and scaled up to its old size. at (2,) in [0, 1]: where the cut-out lies."""
    camera = scene.cameras[view]
    width, height = camera.image_size
    cut = (max(1, round(keep * width)), max(1, round(keep * height)))
    x, y = (int(round(float(a) * (whole - part))) for a, whole, part in zip(at, (width, height), cut))
    images = [cv2.resize(image[y:y + cut[1], x:x + cut[0]], (width, height), interpolation=cv2.INTER_LINEAR)
              for image in scene.images[:, view]]
    return _replaced(scene, view, np.stack(images), camera.cropped(x, y, *cut).resized((width, height)))


def turned(scene: Scene, view: int, turn_rad: np.ndarray) -> Scene:
    """A camera turned about its own centre by a rotation vector (3,) of its own frame; what comes into sight at the
    edges repeats them. Exact without lens distortion, which must have been taken out."""
    camera = scene.cameras[view]
    if camera.distortion is not None:
        raise ConfigError("a camera with lens distortion cannot be turned by a homography; set turn_deg to 0")
    R = so3_exp(np.asarray(turn_rad, float))
    old_from_new = camera.K @ R @ np.linalg.inv(camera.K)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    images = [cv2.warpPerspective(image, old_from_new, camera.image_size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
              for image in scene.images[:, view]]
    pose = camera.base_T_camera @ make(R, np.zeros(3))
    return _replaced(scene, view, np.stack(images), PinholeCamera(camera.K, camera.image_size, pose))


def _replaced(scene: Scene, view: int, images: np.ndarray, camera: PinholeCamera) -> Scene:
    every = scene.images.copy()
    every[:, view] = images
    return Scene(every, tuple(camera if v == view else c for v, c in enumerate(scene.cameras)), scene.base_T_tcps)


def _names_a_side(instructions: Sequence[str]) -> bool:
    return any(word in text.lower() for text in instructions for word in _SIDED)
