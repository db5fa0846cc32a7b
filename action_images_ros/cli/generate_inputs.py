"""What `action-images generate` is asked to work on: pictures, videos or a recorded episode."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ..cell import Cell
from ..errors import ConfigError, DatasetError
from ..geometry.se3 import make, matrix_from_quat
from ..model.canvas import Mode
from ..model.config import ModelConfig
from ..pictures.video_file import read_at
from ..trajectory_csv import read_trajectory
from ..types import ActionChunk, SyncedFrames

_SPACING_SLACK = 0.05


@dataclass(frozen=True)
class Request:
    """One request of a mode. frames: one set, or chunk_size sets in mode label; base_T_tcps (K, 4, 4), openness (K,) as
    ActionImagePolicy.generate_mode wants them. Of a recorded episode also what really followed: truth, and
    truth_video, chunk_size sets."""

    frames: tuple[SyncedFrames, ...]
    base_T_tcps: np.ndarray
    openness: np.ndarray
    instruction: str
    truth: ActionChunk | None = None
    truth_video: tuple[SyncedFrames, ...] = ()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    source = parser.add_argument_group("input, one of")
    source.add_argument("--images", nargs="+", metavar="VIEW=PATH", help="one picture of every view of the cell")
    source.add_argument("--video", nargs="+", metavar="VIEW=PATH", help="one video of every view of the cell")
    source.add_argument("--episode", metavar="DIR:INDEX[:FRAME]",
                        help="an episode of a shard directory (action-images sim collect), from FRAME on; brings "
                             "cameras, instruction and actions with it")
    given = parser.add_argument_group("what goes with pictures and videos")
    given.add_argument("--cell", type=Path, help="cell file with the calibration of every view")
    given.add_argument("--start", type=float, default=0.0, metavar="S",
                       help="time of the observation in the videos (%(default)s)")
    given.add_argument("--pose", nargs=7, type=float, metavar=("X", "Y", "Z", "QX", "QY", "QZ", "QW"),
                       help="tool pose in the base frame at the observation, metres and quaternion")
    given.add_argument("--openness", type=float, default=1.0,
                       help="gripper at the observation, 0 closed to 1 open (%(default)s)")
    given.add_argument("--actions", type=Path, metavar="CSV",
                       help="mode world: the whole trajectory, in the columns of trajectory.csv")
    given.add_argument("--instruction", help="what the robot is told to do")


def read_request(args: argparse.Namespace, mode: Mode, config: ModelConfig) -> Request:
    """Raises an ActionImagesError naming the option that is missing or wrong."""
    asked = [name for name in ("images", "video", "episode") if getattr(args, name) is not None]
    if len(asked) != 1:
        raise ConfigError(f"give exactly one of --images, --video and --episode; got {len(asked)}")
    if args.episode is not None:
        return _from_episode(args, mode, config)
    if args.cell is None or not args.instruction:
        raise ConfigError("--images and --video need --cell (the calibration) and --instruction")
    cell = Cell.load(args.cell)
    frames = _from_images(args.images, cell) if args.video is None else _from_video(args, mode, config, cell)
    if mode is Mode.LABEL and len(frames) != config.chunk_size:
        raise ConfigError(f"mode label labels a video; give --video or --episode ({config.chunk_size} frames, "
                          f"{config.dt_s:g} s apart), not --images")
    poses, openness = _actions(args, mode, config)
    return Request(frames, poses, openness, args.instruction)


def _actions(args: argparse.Namespace, mode: Mode, config: ModelConfig) -> tuple[np.ndarray, np.ndarray]:
    if mode is Mode.WORLD:
        if args.actions is None:
            raise ConfigError("mode world shows what given actions do; give them with --actions FILE.csv")
        times, poses, openness = read_trajectory(args.actions)
        off = np.abs(np.diff(times) / config.dt_s - 1.0)
        if len(times) != config.chunk_size or off.max() > _SPACING_SLACK:
            raise DatasetError(f"{args.actions} has {len(times)} rows; this model needs {config.chunk_size}, "
                               f"{config.dt_s:g} s apart, the first at the observation")
        return poses, openness
    if mode is Mode.VIDEO:
        return np.eye(4)[None], np.ones(1)  # this mode has no actions and does not look at it
    if args.pose is None:
        raise ConfigError(f"mode {mode.value} starts from the robot's state; give --pose X Y Z QX QY QZ QW "
                          "(and --openness)")
    if not 0.0 <= args.openness <= 1.0:
        raise ConfigError(f"--openness is {args.openness:g}; legal: 0 (closed) to 1 (open)")
    pose = make(matrix_from_quat(np.array(args.pose[3:])), np.array(args.pose[:3]))
    return pose[None], np.array([args.openness])


def _paths(pairs: Sequence[str], cell: Cell, option: str) -> list[Path]:
    """VIEW=PATH words -> the paths in the order of the cell's views."""
    found = {}
    for pair in pairs:
        view, equals, path = pair.partition("=")
        if not equals or view not in cell.view_names or view in found:
            raise ConfigError(f"{option} {pair!r}: expected VIEW=PATH, each view of the cell once: "
                              f"{', '.join(cell.view_names)}")
        found[view] = Path(path)
    missing = [name for name in cell.view_names if name not in found]
    if missing:
        raise ConfigError(f"{option} lacks view {', '.join(missing)}; the cell has {', '.join(cell.view_names)}")
    return [found[name] for name in cell.view_names]


def _from_images(pairs: Sequence[str], cell: Cell) -> tuple[SyncedFrames, ...]:
    images = []
    for path in _paths(pairs, cell, "--images"):
        image = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if image is None:
            raise DatasetError(f"{path} is not a readable picture; give a PNG or JPEG file")
        images.append(np.ascontiguousarray(image[..., ::-1]))
    return (SyncedFrames(cell.view_names, tuple(images), cell.cameras, (0,) * len(images)),)


def _from_video(args: argparse.Namespace, mode: Mode, config: ModelConfig, cell: Cell) -> tuple[SyncedFrames, ...]:
    if args.start < 0:
        raise ConfigError(f"--start is {args.start:g}; it must not be negative")
    times = args.start + config.dt_s * np.arange(config.chunk_size if mode is Mode.LABEL else 1)
    views = [read_at(path, times) for path in _paths(args.video, cell, "--video")]
    stamps = [round(t * 1e9) for t in times]
    return tuple(SyncedFrames(cell.view_names, images, cell.cameras, (stamp,) * len(images))
                 for images, stamp in zip(zip(*views), stamps))


def _from_episode(args: argparse.Namespace, mode: Mode, config: ModelConfig) -> Request:
    from ..sim.cameras import view_names
    from ..training.data import load_episodes

    directory, index, start = _parse_episode(args.episode)
    episodes = load_episodes(directory, index + 1)
    if index >= len(episodes):
        raise DatasetError(f"--episode {args.episode!r}: {directory} has {len(episodes)} episodes, numbered from 0")
    episode = episodes[index]
    if start >= len(episode.images):
        raise DatasetError(f"--episode {args.episode!r}: it has {len(episode.images)} frames, numbered from 0")
    rows = np.minimum(start + np.arange(config.chunk_size), len(episode.images) - 1)
    views = view_names(len(episode.cameras))
    stamps = [round(k * config.dt_s * 1e9) for k in range(len(rows))]
    video = tuple(SyncedFrames(views, tuple(episode.images[row]), episode.cameras, (stamp,) * len(views))
                  for row, stamp in zip(rows, stamps))
    poses, openness = episode.base_T_tcps[rows], episode.openness[rows]
    known = len(rows) if mode is Mode.WORLD else 1
    return Request(video if mode is Mode.LABEL else video[:1], poses[:known], openness[:known],
                   args.instruction or episode.instructions[0], ActionChunk.from_poses(poses, openness), video)


def _parse_episode(text: str) -> tuple[Path, int, int]:
    parts = text.split(":")
    numbers = parts[1:]
    if not parts[0] or not 1 <= len(numbers) <= 2 or not all(n.isdecimal() for n in numbers):
        raise ConfigError(f"--episode is {text!r}; expected DIR:INDEX or DIR:INDEX:FRAME, numbered from 0")
    return Path(parts[0]), int(numbers[0]), int(numbers[1]) if len(numbers) == 2 else 0
