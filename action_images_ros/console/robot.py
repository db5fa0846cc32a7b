"""The arm as a URDF describes it: what each link looks like, and where it is for given joints."""

from __future__ import annotations

import importlib.util
import xml.etree.ElementTree as xml
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ConfigError, pip_install
from ..geometry.se3 import make, so3_exp, transform

_MOVING = ("revolute", "continuous", "prismatic")
_FINEST_M = 0.003


@dataclass(frozen=True, eq=False)
class Part:
    """A mesh of one colour on a link. vertices (N, 3) m in the link's frame, faces (F, 3), colour RGB 0..255."""

    link: str
    vertices: np.ndarray
    faces: np.ndarray
    colour: tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class _Joint:
    name: str
    kind: str
    parent: str
    child: str
    origin: np.ndarray
    axis: np.ndarray
    follows: str


class UrdfRobot:
    """links: those that can be placed, from `base` outwards; parts: their meshes.

    meshes: "visual" or "collision". Raises ConfigError for a file that is no URDF, lacks `base` or a mesh.
    """

    def __init__(self, path: str | Path, base: str, meshes: str = "visual") -> None:
        path = Path(path)
        try:
            root = xml.parse(path).getroot()
        except (OSError, xml.ParseError) as e:
            raise ConfigError(f"{path} is no URDF that can be read: {e}; name the URDF of the arm") from e
        links = {link.get("name", ""): link for link in root.findall("link")}
        if base not in links:
            raise ConfigError(f"{path} has no link {base!r}; it has {', '.join(links)}")
        joints = [_joint(j) for j in root.findall("joint")]
        self._order = _outwards(base, joints)
        self._base = base
        self.links = (base, *(j.child for j in self._order))
        self.joints = tuple(j.name for j in self._order if j.kind in _MOVING)
        self.parts = tuple(p for name in self.links for p in _parts(links[name], path.parent, meshes))

    def place(self, positions: Mapping[str, float]) -> dict[str, np.ndarray]:
        """base_T_link (4, 4) of every link. positions: rad or m by joint name; a joint that is not named stays at 0."""
        placed = {self._base: np.eye(4)}
        for j in self._order:
            x = positions.get(j.name, positions.get(j.follows, 0.0))
            motion = np.eye(4)
            if j.kind == "prismatic":
                motion = make(np.eye(3), j.axis * x)
            elif j.kind in _MOVING:
                motion = make(so3_exp(j.axis * x), np.zeros(3))
            placed[j.child] = placed[j.parent] @ j.origin @ motion
        return placed


def installed_fr3() -> Path | None:
    """The FR3's URDF out of the package franky-sim, where it is installed."""
    spec = importlib.util.find_spec("franky_sim")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "assets" / "fr3.urdf"
    return path if path.is_file() else None


def _outwards(base: str, joints: list[_Joint]) -> list[_Joint]:
    """Joints below `base`, each after the one that carries it."""
    order, carried = [], {base}
    while found := [j for j in joints if j.parent in carried and j.child not in carried]:
        order += found
        carried |= {j.child for j in found}
    return order


def _vector(element, attribute: str, default: str = "0 0 0") -> np.ndarray:
    return np.array([float(v) for v in (default if element is None else element.get(attribute, default)).split()])


def _origin(element) -> np.ndarray:
    roll, pitch, yaw = _vector(element, "rpy")
    R = so3_exp(np.array([0, 0, yaw])) @ so3_exp(np.array([0, pitch, 0])) @ so3_exp(np.array([roll, 0, 0]))
    return make(R, _vector(element, "xyz"))


def _joint(element) -> _Joint:
    mimic = element.find("mimic")
    return _Joint(
        element.get("name", ""),
        element.get("type", "fixed"),
        element.find("parent").get("link", ""),
        element.find("child").get("link", ""),
        _origin(element.find("origin")),
        _vector(element.find("axis"), "xyz", "1 0 0"),
        "" if mimic is None else mimic.get("joint", ""),
    )


def _parts(link, folder: Path, meshes: str) -> list[Part]:
    found = []
    for element in link.findall(meshes):
        mesh = element.find("geometry/mesh")
        if mesh is not None:
            path, scale = _mesh_file(mesh.get("filename", ""), folder), _vector(mesh, "scale", "1 1 1")
            found += _load(link.get("name", ""), path, _origin(element.find("origin")), scale)
    return found


def _load(link: str, path: Path, link_T_mesh: np.ndarray, scale: np.ndarray) -> list[Part]:
    try:
        import trimesh
    except ImportError as e:
        raise ConfigError(f"the console's scene needs trimesh; {pip_install('console')}") from e
    try:
        loaded = trimesh.load(path)
    except (ImportError, ValueError) as e:
        raise ConfigError(f"mesh {path} cannot be read: {e}; {pip_install('console')}") from e
    scene = loaded if isinstance(loaded, trimesh.Scene) else trimesh.Scene(loaded)
    parts = []
    for name in scene.graph.nodes_geometry:
        T, geometry = scene.graph[name]
        mesh = scene.geometry[geometry]
        material = getattr(mesh.visual, "material", None)
        red, green, blue = (int(c) for c in material.main_color[:3]) if material is not None else (225, 228, 232)
        vertices = transform(link_T_mesh, transform(np.asarray(T), np.asarray(mesh.vertices)) * scale)
        parts.append(Part(link, *coarsened(vertices, np.asarray(mesh.faces), _FINEST_M), (red, green, blue)))
    return parts


def coarsened(vertices: np.ndarray, faces: np.ndarray, grid_m: float) -> tuple[np.ndarray, np.ndarray]:
    """The mesh without detail finer than grid_m: vertices of one grid cell become their mean; faces that collapse or
    repeat are left out."""
    _, cell = np.unique(np.floor(vertices / grid_m).astype(np.int64), axis=0, return_inverse=True)
    cell = cell.ravel()
    sums = np.stack([np.bincount(cell, vertices[:, k]) for k in range(3)], axis=1)
    faces = cell[faces]
    a, b, c = faces.T
    faces = faces[(a != b) & (b != c) & (c != a)]
    _, first = np.unique(np.sort(faces, axis=1), axis=0, return_index=True)
    return sums / np.bincount(cell)[:, None], faces[np.sort(first)]


def _mesh_file(name: str, folder: Path) -> Path:
    for prefix in ("package://", "file://"):
        name = name.removeprefix(prefix)
    below = name.partition("/")[2]
    for path in (folder / name, Path(name), folder / below, folder.parent / below):
        if path.is_file():
            return path
    raise ConfigError(f"mesh {name} is not found beside the URDF in {folder}; keep the meshes where the URDF says")
