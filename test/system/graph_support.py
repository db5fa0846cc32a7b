"""What the system tests share: a cell, an untrained model, eyes on the graph, an expert's player.

The player stands in place of a denoiser, to test the plumbing around it; it knows the scene, as no shipped node does.
"""

from __future__ import annotations

import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from sensor_msgs.msg import CameraInfo, Image, JointState

from action_images_ros.cell import Calibration, Cell, View, WorkspaceBox
from action_images_ros.codec import encode
from action_images_ros.control import Fr3Kinematics
from action_images_ros.model.config import ConvCanvasConfig, ModelConfig
from action_images_ros.model.frames import model_camera
from action_images_ros.ros import qos
from action_images_ros.ros.messages import JointStateReader, image_message, stamp_to_ns, tile_actions
from action_images_ros.ros.node_spec import NodeSpec
from action_images_ros.ros.operator import Operator
from action_images_ros.ros.runner import GraphRunner
from action_images_ros.sim.cell import SimCell
from action_images_ros.sim.episodes import episode_rng, sample_seen_scene, sample_setting
from action_images_ros.sim.split import Split
from action_images_ros.sim.tasks import make_task
from action_images_ros.types import RobotState

MAX_WIDTH_M = 0.08
TASK = "reach_target"
SEED = 3
START_S = 60.0
PATIENT = {
    "watchdog.states_s": 2.0,
    "watchdog.frames_s": 5.0,
    "watchdog.command_s": 1.0,
    "watchdog.clock_jump_s": 1.0,
    "watchdog.tracking_rad": 0.0,
}
"""Watchdog of a test on a machine that other work may occupy: what a busy processor delays is no fault here."""


def test_cell() -> Cell:
    task, rng = make_task(TASK), episode_rng(SEED, 0, Split.TEST)
    _, cameras = sample_setting(task, rng, Split.TEST, SimCell().kinematics, 2, (320, 240))
    exact = Calibration("2026-05-26", "simulated", 0.0)
    views = tuple(View(n, f"/camera/{n}", f"sim-{n}", c, exact) for n, c in cameras.items())
    return Cell("test", views, WorkspaceBox((0.2, -0.5, 0.0), (0.8, 0.5, 0.8)))


test_cell.__test__ = False


def tiny_model(directory: Path) -> ModelConfig:
    """Write config.json and weights as they come from initialisation."""
    from safetensors.torch import save_file

    from action_images_ros.model.small import ConvCanvas

    config = ModelConfig(conv_canvas=ConvCanvasConfig(width=32, channels=16, blocks=1, heads=2))
    config.save(directory)
    weights = {k: v.contiguous() for k, v in ConvCanvas(config).state_dict().items()}
    save_file(weights, directory / "model.safetensors")
    return config


def node(name: str, cell_file: Path, **parameters: object) -> NodeSpec:
    return NodeSpec(name, name, parameters={"cell": str(cell_file), **parameters})


def sim_node(cell_file: Path, **parameters: object) -> NodeSpec:
    return node("sim_cell", cell_file, seed=SEED, **parameters)


def expert_of(episode: int, cell: Cell):
    """The scripted expert of the scene that sim_cell draws for this episode."""
    task = make_task(TASK)
    cameras = {v.name: v.camera for v in cell.views}
    rng = episode_rng(SEED, episode, Split.TEST)
    return task.expert(sample_seen_scene(task, rng, Split.TEST, SimCell().kinematics, cameras))


class Watch:
    """Joint states with their monotonic arrival, camera stamps by view, command counts."""

    def __init__(self, operator: Operator, cell: Cell) -> None:
        self.states: list[tuple[float, RobotState]] = []
        self.infos: dict[str, list[CameraInfo]] = {v.name: [] for v in cell.views}
        self._reader = JointStateReader(cell.arm.joints, cell.arm.fingers)
        create = operator.node.create_subscription
        create(JointState, "/joint_states", self._on_state, qos.STATE)
        for view in cell.views:
            create(CameraInfo, view.info_topic, self.infos[view.name].append, qos.STATE)

    def _on_state(self, msg: JointState) -> None:
        state = self._reader.read(msg)
        if state is not None:
            self.states.append((time.monotonic(), state))

    @property
    def state(self) -> RobotState | None:
        return self.states[-1][1] if self.states else None

    @property
    def camera_stamp_ns(self) -> int:
        """The newest exposure that every view has."""
        return min((stamp_to_ns(i[-1].header.stamp) if i else 0) for i in self.infos.values())

    def at(self, stamp_ns: int) -> RobotState:
        return min((s for _, s in self.states[-300:]), key=lambda s: abs(s.stamp_ns - stamp_ns))

    def travel_rad(self, since_s: float) -> float:
        """How far any joint has moved since a monotonic time."""
        q = np.array([s.q for t, s in self.states if t >= since_s])
        return float(np.ptp(q, axis=0).max()) if len(q) else 0.0

    def resting(self, for_s: float = 0.3, within_rad: float = 2e-3) -> bool:
        now_s = time.monotonic()
        recent = [t for t, _ in self.states if t >= now_s - for_s]
        return len(recent) > 5 and self.travel_rad(now_s - for_s) < within_rad


class ExpertPlayer:
    """Publishes `action_images` for the newest exposure every period_s while it has an expert."""

    def __init__(
        self, operator: Operator, watch: Watch, cell: Cell, config: ModelConfig, period_s: float = 0.4
    ) -> None:
        self._watch, self._config = watch, config
        self._cameras = [model_camera(c, config.image_size).resized(config.action_size) for c in cell.cameras]
        self._kinematics = Fr3Kinematics()
        self._publisher = operator.node.create_publisher(Image, "action_images", qos.TARGETS)
        self.expert, self.played = None, 0
        operator.node.create_timer(period_s, self._play)

    def _play(self) -> None:
        stamp_ns, c = self._watch.camera_stamp_ns, self._config
        if self.expert is None or not stamp_ns or not self._watch.states:
            return
        state = self._watch.at(stamp_ns)
        openness = float(np.clip(state.gripper_width_m / MAX_WIDTH_M, 0.0, 1.0))
        chunk = self.expert.chunk(self._kinematics.fk(state.q), openness, c.chunk_size, c.dt_s)
        tiles = tile_actions(encode(chunk.base_T_tcps, chunk.openness, self._cameras, c.encoding))
        self._publisher.publish(image_message(tiles, "rgb8", stamp_ns, "action_images"))
        self.played += 1


def begin_episode(operator: Operator) -> int:
    """Next scene, controller enabled. Returns the episode's number."""
    import json

    operator.trigger("stop")
    answer = operator.trigger("sim_cell/reset_scene")
    assert answer.ok, answer.message
    episode = json.loads(answer.message)["episode"]
    enable(operator)
    return episode


def enable(operator: Operator) -> None:
    """Enable, once the controller has joint states and rests; a fault is reset first."""
    deadline_s = time.monotonic() + 20.0
    while not (answer := operator.enable()).ok:
        assert time.monotonic() < deadline_s, answer.message
        if "fault" in answer.message:
            operator.trigger("reset")
        operator.spin_for(0.1)


def controller_state(operator: Operator) -> str:
    return operator.diagnostics.get("controller: control", {}).get("state", "")


@contextmanager
def running_graph(cell_file, model_directory, log_dir, more: tuple[NodeSpec, ...] = (), **controller):
    """Yields (runner, operator, watch, player, cell) of a graph whose nodes, but for `more`, are all active."""
    cell, config = Cell.load(cell_file), ModelConfig.load(model_directory)
    graph = [
        sim_node(cell_file),
        node("decoder", cell_file, model=str(model_directory)),
        node("controller", cell_file, speed_factor=1.0, **(PATIENT | controller)),
        *more,
    ]
    with GraphRunner(graph, log_dir) as runner, Operator(on_wait=runner.require_running) as operator:
        watch = Watch(operator, cell)
        player = ExpertPlayer(operator, watch, cell, config)
        for report in ("sim_cell: cell", "decoder: decode", "controller: control"):
            operator.until(lambda r=report: operator.active(r), report, START_S)
        operator.until(lambda: watch.camera_stamp_ns > 0, "cameras", START_S)
        yield runner, operator, watch, player, cell


def play(parts) -> int:
    _, operator, _, player, cell = parts
    player.expert = None
    episode = begin_episode(operator)
    player.expert = expert_of(episode, cell)
    return episode


def verdict_of(operator, episode: int, timeout_s: float = 60.0):
    """The cell's verdict. A machine too busy to keep the controller's deadlines ends in FAULT, as it must; the operator
    then goes on."""

    def decided() -> bool:
        if controller_state(operator) == "fault" and operator.trigger("reset").ok:
            operator.enable()
        verdict = operator.verdict
        return verdict is not None and verdict.episode == episode and verdict.outcome != "pending"

    operator.until(decided, f"the verdict of episode {episode}", timeout_s)
    return operator.verdict
