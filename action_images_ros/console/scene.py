"""The 3D scene: arm, cameras with their live pictures, workspace, predicted and executed path. A viser server on
localhost only; the console's own server passes it on."""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..cell import Cell
from ..errors import ConfigError, pip_install
from ..geometry import PinholeCamera
from ..geometry.se3 import make, quat_from_matrix
from ..pictures.shapes import box_edges, ellipsoid, gripper_lines, time_colours, tube
from ..types import ActionChunk
from .robot import UrdfRobot

_FRUSTUM_M = 0.14
_TUBE_M = 0.004
_WIDEST_M = 0.12
_STILL = 1e-4  # m, and sine of an angle
_VIEW_M = 1.15
_GREEN, _RED, _GREY, _CYAN = (70, 200, 140), (235, 70, 70), (110, 118, 130), (80, 190, 255)
_OPEN, _CLOSED, _DOUBT = (245, 245, 250), (255, 200, 40), (130, 130, 140)


@dataclass(frozen=True)
class _Place:
    position: np.ndarray
    wxyz: np.ndarray


class Scene:
    """cell: cameras and workspace; robot: None draws no arm. port 0: any free one; see `port` for which.

    Raises ConfigError where viser is missing or the port is taken.
    """

    def __init__(self, cell: Cell, robot: UrdfRobot | None, port: int = 0) -> None:
        self._robot, self._cell = robot, cell
        self._server = _viser_server(port)
        self._s = self._server.scene
        self._server.initial_camera.position, self._server.initial_camera.look_at = _viewpoint(cell)
        self._place_ground(cell)
        self._frusta = {v.name: self._add_frustum(v.name, v.camera) for v in cell.views}
        self._links = self._add_robot()
        self._placed = np.full((len(self._links), 4, 4), np.nan)
        self._steps: list = []
        # what viser handed out for them, once drawn
        self._tube: Any = None
        self._fingers: Any = None
        self._trail: Any = None

    @property
    def port(self) -> int:
        return self._server.get_port()

    def close(self) -> None:
        self._server.stop()

    def show_arm(self, positions: Mapping[str, float]) -> None:
        """positions: rad and m by joint name."""
        if self._robot is None or not self._links:
            return
        placed = self._robot.place(positions)
        T = np.stack([placed[link] for link in self._links])
        moved = ~(np.abs(T - self._placed).max(axis=(1, 2)) < _STILL)
        self._placed[moved] = T[moved]
        wxyz = np.roll(quat_from_matrix(T[:, :3, :3]), 1, axis=1)
        with self._server.atomic():
            for k, link in enumerate(self._links.values()):
                if moved[k]:
                    link.wxyz, link.position = wxyz[k], T[k, :3, 3]

    def show_picture(self, view: str, picture: np.ndarray) -> None:
        """picture: (h, w, 3) uint8, small; into the view's frustum."""
        self._frusta[view].image = picture

    def show_trail(self, points: np.ndarray) -> None:
        """Where the TCP has been, (N, 3)."""
        lines = np.stack([points[:-1], points[1:]], axis=1) if len(points) > 1 else np.zeros((0, 2, 3))
        if self._trail is not None:
            self._trail.remove()
            self._trail = None
        if len(lines):
            self._trail = self._s.add_line_segments(
                "/executed path", lines, _CYAN, thickness=0.003, thickness_units="world"
            )

    def show_chunk(self, chunk: ActionChunk) -> None:
        """The predicted path, early amber to late magenta, through its credible steps; at every step the region of two
        standard deviations, cut at _WIDEST_M, white where the gripper is open, yellow where closed, grey where not
        credible."""
        sure = np.flatnonzero(chunk.credible)
        points = chunk.base_T_tcps[:, :3, 3]
        with self._server.atomic():
            self._show_tube(points[sure])
            while len(self._steps) < len(chunk):
                k = len(self._steps)
                self._steps.append(self._s.add_icosphere(f"/prediction/step {k}", 1.0, subdivisions=2, opacity=0.55,
                                                         cast_shadow=False))  # fmt: skip
            for k, handle in enumerate(self._steps):
                handle.visible = k < len(chunk)
                if k < len(chunk):
                    self._show_step(handle, chunk, k)
            if len(sure):
                k = int(sure[-1])
                lines = gripper_lines(chunk.base_T_tcps[k], chunk.openness[k])
                if self._fingers is None:
                    self._fingers = self._s.add_line_segments(
                        "/prediction/gripper", lines, _OPEN, thickness=0.005, thickness_units="world"
                    )
                self._fingers.points = lines.astype(np.float32)

    def _show_tube(self, points: np.ndarray) -> None:
        import trimesh

        if len(points) < 2:
            if self._tube is not None:
                self._tube.visible = False
            return
        vertices, faces, u = tube(points, _TUBE_M)
        mesh = trimesh.Trimesh(vertices, faces, vertex_colors=time_colours(u), process=False)
        if self._tube is not None:
            self._tube.remove()
        self._tube = self._s.add_mesh_trimesh("/prediction/path", mesh, cast_shadow=False)

    @staticmethod
    def _show_step(handle, chunk: ActionChunk, k: int) -> None:
        radii, axes = ellipsoid(chunk.covariance[k][:3, :3])
        place = _place(make(axes, chunk.base_T_tcps[k][:3, 3]))
        handle.position, handle.wxyz = place.position, place.wxyz
        handle.scale = tuple(float(r) for r in np.clip(radii, 1.6 * _TUBE_M, _WIDEST_M))
        handle.color = _DOUBT if not chunk.credible[k] else _OPEN if chunk.openness[k] > 0.5 else _CLOSED

    def _place_ground(self, cell: Cell) -> None:
        s, w = self._s, cell.workspace
        s.set_up_direction("+z")
        _light(s)
        z = 0.0 if w.table_z_m is None else w.table_z_m
        s.add_grid("/table", width=2.4, height=2.4, position=(0.4, 0.0, z), cell_size=0.1, section_size=0.5,
                   cell_color=(52, 58, 68), section_color=(76, 84, 98), plane_color=(24, 27, 33), plane_opacity=0.9,
                   shadow_opacity=0.0)  # fmt: skip
        s.add_frame("/base", axes_length=0.12, axes_radius=0.004)
        s.add_line_segments(
            "/workspace", box_edges(w.box_min_m, w.box_max_m), _GREEN, thickness=0.003, thickness_units="world"
        )
        for k, (low, high) in enumerate(w.keep_out_boxes_m):
            size, centre = np.subtract(high, low), np.add(high, low) / 2
            s.add_box(f"/keep out/{k}", dimensions=tuple(size), position=tuple(centre), color=_RED, opacity=0.35)
            s.add_line_segments(
                f"/keep out/{k} edges", box_edges(low, high), _RED, thickness=0.003, thickness_units="world"
            )

    def _add_frustum(self, name: str, camera: PinholeCamera):
        width, height = camera.image_size
        place = _place(camera.base_T_camera)
        self._s.add_label(f"/cameras/{name} label", name, position=tuple(place.position + [0, 0, 0.03]))
        return self._s.add_camera_frustum(
            f"/cameras/{name}", fov=float(2 * np.arctan2(height / 2, camera.K[1, 1])), aspect=width / height,
            scale=_FRUSTUM_M, color=_GREY, thickness=0.003, position=place.position, wxyz=place.wxyz,
            cast_shadow=False, format="jpeg", jpeg_quality=70,
        )  # fmt: skip

    def _add_robot(self) -> dict:
        if self._robot is None:
            return {}
        links = {}
        for k, part in enumerate(self._robot.parts):
            if part.link not in links:
                links[part.link] = self._s.add_frame(f"/arm/{part.link}", show_axes=False)
            self._s.add_mesh_simple(
                f"/arm/{part.link}/{k}", part.vertices, part.faces, color=part.colour, flat_shading=False
            )
        return links


def _light(s) -> None:
    """Three plain lamps. The page hides a scene until its environment map is decoded and filtered, and compiles every
    material again for it: half a minute where a busy processor draws."""
    s.configure_environment_map(None)
    s.configure_default_lights(enabled=False)
    s.add_light_hemisphere("/lamps/sky", sky_color=(255, 255, 255), ground_color=(90, 94, 104), intensity=1.3,
                           position=(0.0, 0.0, 1.0))  # fmt: skip
    s.add_light_directional("/lamps/front", intensity=1.4, position=(1.2, -1.0, 1.6))
    s.add_light_directional("/lamps/back", intensity=0.6, position=(-0.6, 1.4, 0.8))


def _place(T: np.ndarray) -> _Place:
    x, y, z, w = quat_from_matrix(T[:3, :3])
    return _Place(T[:3, 3].copy(), np.array([w, x, y, z]))


def _viewpoint(cell: Cell) -> tuple[np.ndarray, np.ndarray]:
    """Position and aim, base frame: from the front, where the fewest cameras stand in the way."""
    aim = np.array([0.33, 0.0, 0.36])
    beside = [v.camera.base_T_camera[:2, 3] - aim[:2] for v in cell.views if v.camera is not None]
    taken = np.array([np.arctan2(y, x) for x, y in beside])

    def clear(azimuth: float) -> float:
        apart = np.abs((taken - azimuth + np.pi) % (2 * np.pi) - np.pi)
        return float(apart.min(initial=np.pi)) - 0.3 * abs(azimuth)

    azimuth = max(np.radians((-60.0, -35.0, 35.0, 60.0, -100.0, 100.0)), key=clear)
    return aim + _VIEW_M * np.array([np.cos(azimuth), np.sin(azimuth), 0.5]), aim


def _viser_server(port: int):
    try:
        import viser
    except ImportError as e:
        raise ConfigError(f"the console needs viser ({e}); {pip_install('console')}") from e
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        server = viser.ViserServer(host="127.0.0.1", port=port, verbose=False)
    server.gui.configure_theme(dark_mode=True, show_logo=False, show_share_button=False, control_width="small")
    server.gui.main_panel.minimize()
    return server
