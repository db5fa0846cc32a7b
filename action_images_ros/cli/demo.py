"""Run the whole graph on the simulated cell and judge the outcome.

Separate processes over DDS: sim_cell (cameras never seen in training), denoiser, decoder, controller, the recorder
and the operator's page with its stop button. This program is the operator: it sets up each episode, gives the
instruction on its topic, enables the controller and waits for the cell's own verdict. Exit status 0 only if every
episode succeeded.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import ConfigError, SimError, TransportError

_IMAGE_SIZE = (320, 240)
_FILM_HZ = 5.0
_START_S = 120.0
_ENABLE_S = 10.0
_RESULT_SLACK_S = 20.0
_PROGRESS_S = 1.0
_SHEET_ROWS = 4
_SERVED_PATIENCE = 5.0  # an episode's time is the cell's, which a busy machine serves more slowly than real time
_AFTER_S = 1.0
_ROLE = {
    "sim_cell: cell": "the simulated cell",
    "denoiser: generate": "the denoiser (loading the model)",
    "decoder: decode": "the decoder",
    "controller: control": "the controller",
    "franka_arm: arm": "the arm's driver",
    "recorder: record": "the recorder",
}
_EXTRAS = ("console", "recorder")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", default="reach_target", help="task of the cell (%(default)s)")
    parser.add_argument("--episodes", type=int, default=1, help="episodes, one after the other (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of cameras, scenes and noise (%(default)s)")
    parser.add_argument("--speed", type=float, default=1.0, help="playback speed of the policy's motion (%(default)s)")
    parser.add_argument("--model", default="models/reach", help="model directory (%(default)s)")
    parser.add_argument("--engine", default="auto", help="inference engine (%(default)s)")
    parser.add_argument("--instruction", help="say this instead of the episode's own instruction")
    parser.add_argument("--command-interface", default="joint_trajectory", help="see `up policy --show-args`")
    parser.add_argument("--arm", default="topics", help="libfranka: the arm moves by its real protocol (%(default)s)")
    parser.add_argument("--timeout", type=float, default=40.0, help="seconds an episode may take (%(default)s)")
    parser.add_argument("--keep-open", action="store_true", help="leave the graph running afterwards, until Ctrl-C")
    parser.add_argument("--console", action="store_true", help="keep the operator's live page open: --keep-open")
    parser.add_argument("--console-port", type=int, help="of that page, and the next (first two free from 8080)")
    parser.add_argument("--without", nargs="+", choices=_EXTRAS, default=[], metavar="PART",
                        help=f"leave out {' or '.join(_EXTRAS)}")
    parser.add_argument("--out", type=Path, help="directory for cell file, film, pictures, logs (runs/<time>)")
    parser.add_argument("--verbose", action="store_true", help="show the nodes' output")


@dataclass(frozen=True)
class EpisodeResult:
    episode: int
    instruction: str
    outcome: str
    reason: str
    seconds: float
    chunks: int
    faults: int


def run(args: argparse.Namespace) -> int:
    from ..model.config import ModelConfig
    from ..ros.paths import config_file
    from ..ros.runner import separate_graph

    _check(args)
    model = config_file(args.model)
    config = ModelConfig.load(model)
    out = args.out or Path("runs") / time.strftime("%Y%m%d-%H%M%S")
    out.mkdir(parents=True, exist_ok=True)
    cell_file = out / "cell.yaml"
    _write_cell(cell_file, args, config.views)
    separate_graph()
    return _Demo(args, model, config, cell_file, out).run()


def _check(args: argparse.Namespace) -> None:
    from ..sim.tasks import make_task

    make_task(args.task)
    if args.episodes < 1 or args.seed < 0 or args.timeout <= 0:
        raise ConfigError(
            f"--episodes {args.episodes} (>= 1), --seed {args.seed} (>= 0), --timeout {args.timeout} (> 0)"
        )
    if not 0.01 <= args.speed <= 3.0:
        raise ConfigError(f"--speed is {args.speed}; legal: 0.01 to 3")
    if args.console and "console" in args.without:
        raise ConfigError("--console asks for the page that --without console leaves out; give one of them")


def _free_port() -> int:
    """The first of two free TCP ports in a row of this machine, from 8080."""
    for port in range(8080, 8180, 2):
        try:
            for number in (port, port + 1):
                with socket.create_server(("127.0.0.1", number)):
                    pass
            return port
        except OSError:
            continue
    raise ConfigError("no two free TCP ports between 8080 and 8179 for the page; give --console-port, "
                      "or --without console")


def _write_cell(path: Path, args: argparse.Namespace, n_views: int) -> None:
    """A cell whose cameras are drawn from poses and lenses that training never saw."""
    from ..cell import Calibration, Cell, View, WorkspaceBox
    from ..sim.cell import SimCell
    from ..sim.episodes import episode_rng, sample_setting
    from ..sim.split import Split
    from ..sim.tasks import make_task

    rng = episode_rng(args.seed, 0, Split.TEST)
    kinematics = SimCell().kinematics
    _, cameras = sample_setting(make_task(args.task), rng, Split.TEST, kinematics, n_views, _IMAGE_SIZE)
    exact = Calibration(time.strftime("%Y-%m-%d"), "simulated: exact by construction", 0.0)
    views = tuple(View(name, f"/camera/{name}", f"sim-{name}", camera, exact) for name, camera in cameras.items())
    Cell("simulated", views, WorkspaceBox((0.2, -0.5, 0.0), (0.8, 0.5, 0.8))).save(path)


class _Demo:
    def __init__(self, args: argparse.Namespace, model: Path, config, cell_file: Path, out: Path) -> None:
        from ..cell import Cell

        self._args, self._model, self._config, self._out = args, model, config, out
        self._cell, self._cell_file = Cell.load(cell_file), cell_file
        self._served = args.arm == "libfranka"
        self._patience = _SERVED_PATIENCE if self._served else 1.0
        self._page, self._records = "console" not in args.without, "recorder" not in args.without
        self._port = (args.console_port or _free_port()) if self._page else 0

    def run(self) -> int:
        from ..ros.drive import ArmDrive
        from ..ros.operator import Operator
        from ..ros.runner import GraphRunner
        from ..ros.witness import Witness

        graph, show = self._graph(), self._print_line if self._args.verbose else None
        with (
            GraphRunner(graph, self._out / "log", show) as runner,
            Operator(on_wait=runner.require_running) as operator,
        ):
            print(
                f"{len(graph) - len(runner.left_out)} processes; everything about this run is in {self._out}",
                flush=True,
            )
            if self._page:
                print(f"  live page: http://localhost:{self._port}/", flush=True)
            witness = Witness(operator.node, self._cell, self._config, _FILM_HZ)
            drive = ArmDrive(operator, self._cell.arm, self._args.command_interface) if self._served else None
            for report, role in _ROLE.items():
                if report.split(":")[0] not in {n.name for n in graph}:
                    continue
                operator.until(partial(operator.active, report), f"{role} to become active", _START_S)
                print(f"  {role.split(' (')[0]} is up", flush=True)
            results = [self._episode(operator, witness, drive) for _ in range(self._args.episodes)]
            self._conclude(operator, results)
            if self._args.keep_open or self._args.console:
                self._stay(operator)
        return 0 if all(r.outcome == "success" for r in results) else 1

    def _graph(self):
        from ..ros.graph import policy_graph, record_graph, with_parameters

        a = self._args
        level = {"warning": "warn"}.get(a.log_level, a.log_level or "info")
        graph = policy_graph({
            "sim": "true", "model": str(self._model), "engine": a.engine, "cell": str(self._cell_file),
            "speed_factor": str(a.speed), "command_interface": a.command_interface,
            "arm": a.arm, "console": "web" if self._page else "none", "console_port": str(self._port),
            "log_level": level,
        })  # fmt: skip
        if self._records:
            graph += record_graph({"cell": str(self._cell_file), "model": str(self._model), "pre_roll_s": "0",
                                   "log_level": level,
                                   "out": str((self._out / "recordings").absolute())})  # fmt: skip
        cell = {"task": a.task, "seed": a.seed, "split": "test", "timeout_s": float(a.timeout)}
        return tuple(
            n for n in with_parameters(graph, {"sim_cell": cell, "denoiser": {"seed": a.seed}}) if not n.optional
        )

    def _episode(self, operator, witness, drive) -> EpisodeResult:
        reset = operator.trigger("sim_cell/reset_scene")
        if not reset.ok:
            raise SimError(f"the cell could not set up an episode: {reset.message}")
        scene = json.loads(reset.message)
        instruction = self._args.instruction or scene["instruction"]
        print(f"episode {scene['episode']}: {instruction!r}", flush=True)
        if drive is not None:  # its arm does not jump to where an episode begins
            drive.go_to(scene["q_start"])
        witness.restart()
        if self._records:
            _must(operator, "recorder/start")
        operator.instruct(instruction)
        faults, began_s = self._enable(operator), time.monotonic()
        last_s = began_s
        while not self._decided(operator, scene["episode"]):
            if time.monotonic() - began_s > self._patience * self._args.timeout + _RESULT_SLACK_S:
                raise TransportError("the simulated cell gave no verdict in time; see its log")
            operator.spin_for(0.1)
            if time.monotonic() - last_s > _PROGRESS_S:
                last_s = time.monotonic()
                faults += self._progress(operator, witness, last_s - began_s)
        operator.spin_for(_AFTER_S)
        operator.trigger("stop")
        verdict = operator.verdict
        result = EpisodeResult(scene["episode"], instruction, verdict.outcome, verdict.reason,
                               verdict.time_s, witness.chunks, faults)  # fmt: skip
        print(f"  {verdict.outcome}: {verdict.reason} ({verdict.time_s:.1f} s, {witness.chunks} chunks)", flush=True)
        if self._records:
            _must(operator, f"recorder/{verdict.outcome}")
            _must(operator, "recorder/stop")
        self._keep(witness, result)
        return result

    @staticmethod
    def _decided(operator, episode: int) -> bool:
        v = operator.verdict
        return v is not None and v.episode == episode and v.outcome != "pending"

    def _enable(self, operator) -> int:
        """Enable, after a reset where the controller is in fault. Returns the number of faults that were reset."""
        faults, end_s = 0, time.monotonic() + _ENABLE_S
        while True:
            answer = operator.enable()
            if answer.ok:
                return faults
            if "fault" in answer.message:
                faults += operator.trigger("reset").ok
            if time.monotonic() > end_s:
                raise TransportError(f"the controller could not be enabled: {answer.message}")
            operator.spin_for(0.2)

    def _progress(self, operator, witness, seconds: float) -> int:
        """Print one line; put a controller in fault back to work. Returns the number of faults."""
        control = operator.diagnostics.get("controller: control", {})
        state, why = control.get("state", "?"), control.get("fault", "")
        if state in ("ready", "holding"):
            why = control.get("last_refusal", "") or why
        latency_ms = operator.value("controller: control", "latency_mean_ms")
        accepted = int(operator.value("controller: control", "chunks_accepted"))
        print(
            f"  {seconds:5.1f} s  {state}{f' ({why})' if why else ''}, {witness.chunks} chunks ({accepted} accepted "
            f"in all), latency {latency_ms:.0f} ms, cell: {operator.verdict.outcome}",
            flush=True,
        )
        return self._enable(operator) if state == "fault" else 0

    def _keep(self, witness, result: EpisodeResult) -> None:
        """Film and contact sheet of an episode."""
        import cv2

        from ..overlay import stacked
        from ..sim.video import write_mp4

        if not witness.moments:
            print("  no pictures came: nothing to film", flush=True)
            return
        title = f"episode {result.episode}: {result.instruction}"
        frames = [witness.picture(m, f"{title}  {m.time_s:.1f} s") for m in witness.moments]
        told = [
            f for f, m in zip(frames, witness.moments) if m.chunk is not None and m.action_images is not None
        ] or frames
        chosen = np.unique(np.linspace(0, len(told) - 1, _SHEET_ROWS).round().astype(int))
        sheet = stacked([told[k] for k in chosen])
        name = f"episode_{result.episode:02d}_{result.outcome}"
        height, width = (max(f.shape[axis] for f in frames) for axis in (0, 1))
        write_mp4(
            self._out / f"{name}.mp4", [_padded(f, height + height % 2, width + width % 2) for f in frames], _FILM_HZ
        )
        cv2.imwrite(str(self._out / f"{name}.png"), np.ascontiguousarray(sheet[..., ::-1]))
        print(f"  {self._out / name}.mp4, .png", flush=True)

    def _conclude(self, operator, results: list[EpisodeResult]) -> None:
        operator.spin_for(1.5)
        done = sum(r.outcome == "success" for r in results)
        print(f"{done} of {len(results)} episodes succeeded, by the cell's own check")
        control, generate, v = "controller: control", "denoiser: generate", operator.value
        p50, p99, worst = (v(control, f"period_error_{k}_ms") for k in ("p50", "p99", "max"))
        engine = operator.diagnostics.get(generate, {}).get("engine", "?")
        print(f"control loop: period error p50 {p50:.2f} ms, p99 {p99:.2f} ms, max {worst:.2f} ms (last 1000 periods)")
        print(
            f"denoiser ({engine}): {v(generate, 'generate_p50_ms'):.0f} ms a chunk, "
            f"p99 {v(generate, 'generate_p99_ms'):.0f}; decoder {v('decoder: decode', 'decode_p50_ms'):.0f} ms; "
            f"observation to controller {v(control, 'latency_mean_ms'):.0f} ms; "
            f"cell at {v('sim_cell: cell', 'real_time_factor'):.2f} of real time",
            flush=True,
        )
        summary = {"episodes": [vars(r) for r in results], "diagnostics": operator.diagnostics}
        (self._out / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")

    def _stay(self, operator) -> None:
        domain = os.environ["ROS_DOMAIN_ID"]
        print(f"the graph stays up (ROS_DOMAIN_ID={domain}); Ctrl-C ends it", flush=True)
        try:
            while True:
                operator.spin_for(1.0)
        except KeyboardInterrupt:
            print("ending", flush=True)

    @staticmethod
    def _print_line(name: str, line: str) -> None:
        print(f"    [{name}] {line}", flush=True)


def _must(operator, service: str) -> None:
    answer = operator.trigger(service)
    if not answer.ok:
        raise TransportError(f"{service}: {answer.message}")


def _padded(image: np.ndarray, height: int, width: int) -> np.ndarray:
    return np.pad(image, ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)), constant_values=32)
