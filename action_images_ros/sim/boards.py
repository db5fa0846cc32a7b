"""Calibration boards in the simulated cell, and a lens and sensor in front of what the simulator renders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import cv2
import mujoco
import numpy as np

from ..calibration.boards import Board
from ..calibration.printing import board_image
from ..errors import SimError
from ..geometry import PinholeCamera
from ..geometry.se3 import quat_from_matrix
from .cell import SimCell, SimCellConfig
from .world import TCP_FROM_HAND_M

_THICKNESS_M = 0.003
_MARGIN_M = 0.010
_TEXTURE_PX_PER_M = 4500.0
_OVERSAMPLING = 2
_VIEW = "lens"


@dataclass(frozen=True, eq=False)
class PlacedBoard:
    """A board on the hand (parent_T_board in the TCP frame) or in the room (in the base frame). scale: of its print."""

    board: Board
    on_gripper: bool
    parent_T_board: np.ndarray
    scale: float = 1.0


def boards_extension(boards: Mapping[str, PlacedBoard]) -> Callable[[mujoco.MjSpec], None]:
    """What SimCell's `extend` takes to have these boards in the cell; nothing collides with them."""

    def extend(spec: mujoco.MjSpec) -> None:
        for name, placed in boards.items():
            _add_board(spec, f"board_{name}", placed)

    return extend


def _add_board(spec: mujoco.MjSpec, name: str, placed: PlacedBoard) -> None:
    image, used = _texture(placed.board)
    texture = spec.add_texture(
        name=name, type=mujoco.mjtTexture.mjTEXTURE_2D, width=image.shape[1], height=image.shape[0], nchannel=3
    )
    texture.data = np.repeat(image[..., None], 3, 2).tobytes()
    material = spec.add_material(name=name, specular=0.0, shininess=0.0, reflectance=0.0)
    material.textures[mujoco.mjtTextureRole.mjTEXROLE_RGB] = name
    per_m = round(_TEXTURE_PX_PER_M * placed.board.pitch_m) / placed.board.pitch_m / placed.scale
    width, height = used * image.shape[::-1] / per_m
    vertices, faces, uv = _plate(width, height, used)
    spec.add_mesh(name=name, uservert=vertices.ravel(), userface=faces.ravel(), usertexcoord=uv.ravel())
    T = placed.parent_T_board
    parent, offset = (
        (spec.body("hand"), np.array([0, 0, TCP_FROM_HAND_M])) if placed.on_gripper else (spec.worldbody, np.zeros(3))
    )
    body = parent.add_body(
        name=name, pos=T[:3, 3] + offset, quat=quat_from_matrix(T[:3, :3])[[3, 0, 1, 2]], gravcomp=1.0
    )
    body.add_geom(type=mujoco.mjtGeom.mjGEOM_MESH, meshname=name, material=name, contype=0, conaffinity=0, mass=1e-3)


def _texture(board: Board) -> tuple[np.ndarray, np.ndarray]:
    """The board in the corner of a picture with powers of two as sides, and the part of it that it fills.

    Smaller versions of other sizes, from which the renderer samples, drop rows and so shrink the pattern by parts in
    a thousand.
    """
    image = board_image(board, _TEXTURE_PX_PER_M, _MARGIN_M)
    sides = [1 << int(side - 1).bit_length() for side in image.shape]
    canvas = np.full(sides, 255, np.uint8)
    canvas[: image.shape[0], : image.shape[1]] = image
    return canvas, np.array([image.shape[1] / sides[1], image.shape[0] / sides[0]])


def _plate(width: float, height: float, used: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A thin box whose face at z = 0 shows the whole texture, upright as seen from -z; the other faces show its
    margin."""
    x, y = width / 2, height / 2
    front = np.array([[-x, -y, 0], [x, -y, 0], [x, y, 0], [-x, y, 0]])
    vertices = np.concatenate([front, front, front + [0, 0, _THICKNESS_M]])
    faces = [[0, 2, 1], [0, 3, 2], [8, 9, 10], [8, 10, 11]]
    for i in range(4):
        a, b = 4 + i, 4 + (i + 1) % 4
        faces += [[a, b, b + 4], [a, b + 4, a + 4]]
    uv = np.full((12, 2), 0.002)
    uv[:4] = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * used
    return vertices, np.array(faces), uv


@dataclass(frozen=True)
class Sensor:
    """blur_px: standard deviation of a Gaussian blur; noise: of white noise, grey levels of 255."""

    blur_px: float = 0.6
    noise: float = 2.0


class LensCell:
    """A cell whose pictures come through lenses: any intrinsics, distortion, blur and noise.

    The simulator renders only centred pinholes: a wide picture at twice the resolution is rendered and
    resampled through the lens.
    """

    def __init__(
        self,
        boards: Mapping[str, PlacedBoard],
        image_size: tuple[int, int],
        sensor: Sensor = Sensor(),
        spare: float = 1.2,
    ):
        self._size, self._sensor = image_size, sensor
        width, height = (int(np.ceil(side * _OVERSAMPLING * spare / 2) * 2) for side in image_size)
        self._wide = (width, height)
        self.cell = SimCell(SimCellConfig((_VIEW,), self._wide), boards_extension(boards))
        self._maps: dict[tuple, tuple[np.ndarray, np.ndarray]] = {}

    def render(self, camera: PinholeCamera, rng: np.random.Generator) -> np.ndarray:
        """uint8 (H, W, 3) RGB of the cell as it stands, through this camera's lens. Raises SimError for a lens too
        wide."""
        if camera.image_size != tuple(self._size):
            raise SimError(f"camera is for {camera.image_size}; this cell makes pictures of {self._size}")
        f = float(np.sqrt(camera.K[0, 0] * camera.K[1, 1])) * _OVERSAMPLING
        w, h = self._wide
        K = np.array([[f, 0, (w - 1) / 2], [0, f, (h - 1) / 2], [0, 0, 1.0]])
        self.cell.place_cameras({_VIEW: PinholeCamera(K, self._wide, camera.base_T_camera)})
        fine = cv2.remap(self.cell.render(_VIEW), *self._map(camera, K), cv2.INTER_LINEAR)
        image: np.ndarray = cv2.resize(fine, self._size, interpolation=cv2.INTER_AREA).astype(np.float32)
        if self._sensor.blur_px > 0:
            image = cv2.GaussianBlur(image, (0, 0), self._sensor.blur_px)
        image += self._sensor.noise * rng.standard_normal(image.shape, np.float32)
        return np.rint(np.clip(image, 0, 255)).astype(np.uint8)

    def _map(self, camera: PinholeCamera, K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where in the wide picture each fine pixel comes from, kept by lens."""
        d = np.zeros(8) if camera.distortion is None else camera.distortion
        key = (camera.K.tobytes(), d.tobytes())
        if key not in self._maps:
            w, h = (side * _OVERSAMPLING for side in self._size)
            uv = (np.stack(np.meshgrid(np.arange(w), np.arange(h)), -1).reshape(-1, 1, 2) + 0.5) / _OVERSAMPLING - 0.5
            criteria = (cv2.TERM_CRITERIA_EPS + cv2.TERM_CRITERIA_MAX_ITER, 40, 1e-9)
            xy = (
                cv2.undistortPointsIter(uv, camera.K, d, np.eye(3), np.eye(3), criteria)
                if hasattr(cv2, "undistortPointsIter")
                else cv2.undistortPoints(uv, camera.K, d, criteria=criteria)
            )
            at = (xy.reshape(h, w, 2) * K[0, 0] + K[:2, 2]).astype(np.float32)
            if at.min() < 0 or np.any(at > np.array(self._wide) - 1):
                raise SimError("this lens looks past the rendered picture; give LensCell more `spare`")
            self._maps[key] = (np.ascontiguousarray(at[..., 0]), np.ascontiguousarray(at[..., 1]))
        return self._maps[key]

    def close(self) -> None:
        self.cell.close()
