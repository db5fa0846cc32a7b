"""The policy without ROS: images, pose and instruction in, a chunk of calibrated 7-DoF targets out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .codec import decode
from .engines import EngineOptions, load_engine
from .geometry import PinholeCamera
from .model.canvas import Mode
from .model.config import ModelConfig
from .model.frames import model_camera
from .model.pipeline import Given, Pipeline
from .types import ActionChunk, ActionImages, SyncedFrames


@dataclass(frozen=True)
class Generation:
    """What one request made, all T action steps, given frames included.

    action_images: None in mode video. video (T, V, H, W, 3) uint8 at the model's image size, None in mode policy;
    video_cameras: the V cameras of such frames. chunk: the decoded targets, in mode world those given, None in
    mode video.
    """

    action_images: ActionImages | None
    video: np.ndarray | None
    video_cameras: tuple[PinholeCamera, ...]
    chunk: ActionChunk | None


class ActionImagePolicy:
    """Canvas, engine and decoder of one model directory. Not thread-safe; one per thread."""

    def __init__(self, config: ModelConfig, pipeline: Pipeline, engine: str) -> None:
        self.config, self.pipeline, self.engine = config, pipeline, engine

    @classmethod
    def from_pretrained(
        cls, directory: str | Path, engine: str = "auto", options: EngineOptions = EngineOptions()
    ) -> ActionImagePolicy:
        """directory: config.json and the weights (models/README.md says which files). engine: a name of
        `engines.ENGINES`, or auto.

        Raises ModelError or EngineError where anything is missing or does not fit.
        """
        directory = Path(directory)
        config = ModelConfig.load(directory)
        name, denoiser = load_engine(engine, directory, config, options)
        return cls(config, Pipeline.from_directory(directory, config, denoiser), name)

    def action_cameras(self, cameras: Sequence[PinholeCamera]) -> tuple[PinholeCamera, ...]:
        """Live cameras -> the cameras in which the action images are drawn."""
        return self.pipeline.action_cameras(cameras)

    def generate(
        self,
        frames: SyncedFrames,
        base_T_tcp: np.ndarray,
        openness: float,
        instruction: str,
        committed: ActionChunk | None = None,
        seed: int = 0,
    ) -> ActionImages:
        """One chunk of action images.

        base_T_tcp (4, 4) m and openness [0, 1] at frames.stamp_ns; committed: targets at k dt_s after that stamp, k
        = 1...,
        which the arm will execute in any case and which the chunk continues. Raises ModelError where the frames are not
        the model's views, EngineError where the engine fails.
        """
        poses, opens = base_T_tcp[None], np.array([openness], float)
        if committed is not None and len(committed):
            keep = min(len(committed), self.config.chunk_size - 2)
            poses = np.concatenate([poses, committed.base_T_tcps[:keep]])
            opens = np.concatenate([opens, committed.openness[:keep]])
        given = Given(self.pipeline.model_images(frames.images), poses, opens, instruction)
        made = self.pipeline.run(Mode.POLICY, given, frames.cameras, np.random.default_rng(seed))
        assert made.action_images is not None, "Mode.POLICY generates them"
        return ActionImages(
            made.action_images, frames.views, self.action_cameras(frames.cameras), frames.stamp_ns, self.config.dt_s
        )

    def decode(self, images: ActionImages) -> ActionChunk:
        """Targets in the robot base frame, stamped with the observation's time."""
        chunk = decode(images.images, images.cameras, self.config.encoding, self.config.decode)
        return chunk.stamped(images.stamp_ns, images.dt_s)

    def infer(
        self,
        frames: SyncedFrames,
        base_T_tcp: np.ndarray,
        openness: float,
        instruction: str,
        committed: ActionChunk | None = None,
        seed: int = 0,
    ) -> ActionChunk:
        """`generate` then `decode`."""
        return self.decode(self.generate(frames, base_T_tcp, openness, instruction, committed, seed))

    def generate_mode(
        self,
        mode: Mode,
        frames: Sequence[SyncedFrames],
        base_T_tcps: np.ndarray,
        openness: np.ndarray,
        instruction: str,
        seed: int = 0,
    ) -> Generation:
        """Any mode of the model.

        frames: one set, or in mode label chunk_size sets dt_s apart, oldest first, from the same cameras. base_T_tcps
        (K, 4, 4) m and openness (K,): the pose at frames[0] and what is already committed (K >= 1), or in mode world
        all chunk_size steps. Raises ModelError where these do not fit the mode or the model was not trained for it.
        """
        first = frames[0]
        video = np.concatenate([self.pipeline.model_images(f.images) for f in frames])
        given = Given(video, np.asarray(base_T_tcps, float), np.asarray(openness, float), instruction)
        made = self.pipeline.run(mode, given, first.cameras, np.random.default_rng(seed))
        seen = tuple(model_camera(camera, self.config.image_size) for camera in first.cameras)
        if made.action_images is None:
            return Generation(None, made.video, seen, None)
        coarse, dt_s = self.action_cameras(first.cameras), self.config.dt_s
        drawn = ActionImages(made.action_images, first.views, coarse, first.stamp_ns, dt_s)
        if mode is Mode.WORLD:
            chunk = ActionChunk.from_poses(given.base_T_tcps, given.openness, first.stamp_ns, dt_s)
            return Generation(drawn, made.video, seen, chunk)
        return Generation(drawn, made.video, seen, self.decode(drawn))
