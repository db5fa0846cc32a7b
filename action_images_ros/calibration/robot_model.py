"""The arm's surface from a URDF: triangle meshes of its links, placed by joint angles. STL meshes and boxes; numpy
only."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as xml
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import CalibrationError
from ..geometry.se3 import make, so3_exp, transform

_WELD_M = 1e-5


@dataclass(frozen=True, eq=False)
class LinkMesh:
    """vertices (N, 3) m in the link's frame, faces (F, 3) outward by the right hand; edges (E, 2) vertex indices
    with the two faces (E, 2) that share each."""

    link: str
    vertices: np.ndarray
    faces: np.ndarray
    edges: np.ndarray
    edge_faces: np.ndarray


@dataclass(frozen=True)
class _Joint:
    parent: str
    child: str
    origin: np.ndarray
    axis: np.ndarray | None
    name: str


class RobotModel:
    """Meshes of a serial arm with seven revolute joints; other joints (fingers) are left out with what hangs on them.

    joints: their names, base to tip. base: the link that is the base frame. Raises CalibrationError naming what the
    file lacks.
    """

    def __init__(self, meshes: list[LinkMesh], joints: list[_Joint], names: tuple[str, ...], base: str):
        self.meshes, self._names = meshes, names
        by_child = {j.child: j for j in joints}
        self._chains = {m.link: self._chain(m.link, by_child, base) for m in meshes}

    @classmethod
    def from_urdf(
        cls,
        path: str | Path,
        joints: tuple[str, ...] = tuple(f"fr3_joint{i}" for i in range(1, 8)),
        base: str = "fr3_link0",
    ) -> RobotModel:
        """The collision geometry of a URDF file; `package://NAME/` in mesh names is looked up beside the file."""
        path = Path(path)
        try:
            root = xml.parse(path).getroot()
        except (OSError, xml.ParseError) as e:
            raise CalibrationError(f"{path} is no URDF that can be read: {e}") from e
        moving = [_joint(j) for j in root.findall("joint")]
        moving = [j for j in moving if j.axis is None or j.name in joints]
        missing = set(joints) - {j.name for j in moving}
        if missing:
            raise CalibrationError(
                f"{path} has no joints {', '.join(sorted(missing))}; name the arm's joints as its URDF does"
            )
        tree = {j.child: j for j in moving}
        meshes = [
            mesh
            for link in root.findall("link")
            if _hangs_on(link.get("name", ""), tree, base)
            for mesh in _link_meshes(link, path.parent)
        ]
        if not meshes:
            raise CalibrationError(f"{path} has no collision meshes (STL) or boxes on the links of {base}")
        return cls(meshes, moving, joints, base)

    def _chain(self, link: str, by_child: dict[str, _Joint], base: str) -> list[_Joint]:
        chain = []
        while link != base:
            chain.append(by_child[link])
            link = by_child[link].parent
        return chain[::-1]

    def place(self, q: np.ndarray) -> list[np.ndarray]:
        """Vertices (N, 3) m of each mesh in the base frame for joint angles q (7,) rad."""
        angle = dict(zip(self._names, np.asarray(q, float)))
        placed = []
        for mesh in self.meshes:
            T = np.eye(4)
            for joint in self._chains[mesh.link]:
                T = T @ joint.origin
                if joint.axis is not None:
                    T = T @ make(so3_exp(joint.axis * angle[joint.name]), np.zeros(3))
            placed.append(transform(T, mesh.vertices))
        return placed


def _hangs_on(link: str, tree: dict[str, _Joint], base: str) -> bool:
    while link != base:
        if link not in tree:
            return False
        link = tree[link].parent
    return True


def _vector(element, attribute: str, default: str = "0 0 0") -> np.ndarray:
    text = default if element is None else element.get(attribute, default)
    return np.array([float(v) for v in text.split()])


def _origin(element) -> np.ndarray:
    roll, pitch, yaw = _vector(element, "rpy")
    R = so3_exp(np.array([0, 0, yaw])) @ so3_exp(np.array([0, pitch, 0])) @ so3_exp(np.array([roll, 0, 0]))
    return make(R, _vector(element, "xyz"))


def _joint(element) -> _Joint:
    kind = element.get("type")
    axis = None if kind == "fixed" else _vector(element.find("axis"), "xyz", "1 0 0")
    return _Joint(
        element.find("parent").get("link"),
        element.find("child").get("link"),
        _origin(element.find("origin")),
        axis,
        element.get("name"),
    )


def _link_meshes(link, folder: Path) -> list[LinkMesh]:
    found = []
    for collision in link.findall("collision"):
        T, geometry = _origin(collision.find("origin")), collision.find("geometry")
        mesh, box = geometry.find("mesh"), geometry.find("box")
        if mesh is not None and mesh.get("filename", "").lower().endswith(".stl"):
            triangles = _read_stl(_mesh_file(mesh.get("filename"), folder)) * _vector(mesh, "scale", "1 1 1")
        elif box is not None:
            triangles = _box(_vector(box, "size"))
        else:
            continue
        found.append(_welded(link.get("name"), transform(T, triangles.reshape(-1, 3)).reshape(-1, 3, 3)))
    return found


def _mesh_file(name: str, folder: Path) -> Path:
    for prefix in ("package://", "file://"):
        name = name.removeprefix(prefix)
    candidates = [folder / name, Path(name), folder / name.partition("/")[2], folder.parent / name.partition("/")[2]]
    for path in candidates:
        if path.is_file():
            return path
    raise CalibrationError(
        f"mesh {name} is not found beside the URDF (looked for {', '.join(str(c) for c in candidates[:2])})"
    )


def _read_stl(path: Path) -> np.ndarray:
    """Triangles (F, 3, 3) of a binary STL file."""
    raw = path.read_bytes()
    count = struct.unpack("<I", raw[80:84])[0] if len(raw) >= 84 else -1
    if len(raw) != 84 + 50 * count:
        raise CalibrationError(f"{path} is no binary STL file; convert it")
    rows = np.frombuffer(raw, np.uint8, offset=84).reshape(count, 50)
    return rows[:, 12:48].copy().view("<f4").reshape(count, 3, 3).astype(float)


def _box(size: np.ndarray) -> np.ndarray:
    corner = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * size / 2
    quads = [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    return np.array([corner[[q[0], q[i], q[i + 1]]] for q in quads for i in (1, 2)])


def _welded(link: str, triangles: np.ndarray) -> LinkMesh:
    """Triangles (F, 3, 3) as an indexed mesh whose edges know their two faces; edges of another number are left out."""
    keys = np.round(triangles.reshape(-1, 3) / _WELD_M).astype(np.int64)
    _, first, index = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    vertices, faces = triangles.reshape(-1, 3)[first], index.reshape(-1, 3)
    faces = faces[(faces[:, 0] != faces[:, 1]) & (faces[:, 1] != faces[:, 2]) & (faces[:, 2] != faces[:, 0])]
    sides = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    owner = np.tile(np.arange(len(faces)), 3)
    order = np.lexsort(sides.T)
    sides, owner = sides[order], owner[order]
    edges, start, count = np.unique(sides, axis=0, return_index=True, return_counts=True)
    pair = count == 2
    return LinkMesh(link, vertices, faces, edges[pair], np.stack([owner[start[pair]], owner[start[pair] + 1]], 1))
