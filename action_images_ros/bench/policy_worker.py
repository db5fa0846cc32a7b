"""One engine, measured in a process of its own, so that memory and threads are its own too."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..engines import EngineOptions
from ..model.denoiser import Conditioning, Denoiser
from ..policy import ActionImagePolicy
from ..types import ActionChunk
from .observations import Observation

_WARM_UP = 2


@dataclass(frozen=True)
class Job:
    """nice: added to the process's priority number, as the denoiser node does beside a control loop."""

    directory: Path
    engine: str
    options: EngineOptions
    observations: list[Observation]
    chunks: int
    nice: int = 0


@dataclass(frozen=True)
class Measured:
    """Seconds: load; per chunk: total, prepare (images, rays, first action frame, sampler), denoise, decode, and cpu
    (of all threads, which other processes disturb less than time by the clock); per denoising step: step. memory_mb:
    largest resident set of the process. made: one chunk an observation, of the same noise in every engine. failed: why
    there is nothing else."""

    load_s: float = 0.0
    total_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    prepare_s: list[float] = field(default_factory=list)
    denoise_s: list[float] = field(default_factory=list)
    step_s: list[float] = field(default_factory=list)
    decode_s: list[float] = field(default_factory=list)
    memory_mb: float = 0.0
    made: list[ActionChunk] = field(default_factory=list)
    failed: str = ""


class Timed:
    """A Denoiser that remembers how long each call took."""

    def __init__(self, denoiser: Denoiser) -> None:
        self.denoiser = denoiser
        self.seconds: list[float] = []

    def velocity(self, video: np.ndarray, action: np.ndarray, sigma: np.ndarray, conditioning: Conditioning):
        began = time.perf_counter()
        made = self.denoiser.velocity(video, action, sigma, conditioning)
        self.seconds.append(time.perf_counter() - began)
        return made


def measure(job: Job, on_ready: Callable[[], None]) -> Measured:
    """`on_ready` is called when the model is loaded and warm, before the chunks that count."""
    os.nice(job.nice)
    began = time.perf_counter()
    policy = ActionImagePolicy.from_pretrained(job.directory, job.engine, job.options)
    policy.pipeline.denoiser = timed = Timed(policy.pipeline.denoiser)
    result = Measured(load_s=time.perf_counter() - began)
    for seen in job.observations[:_WARM_UP]:
        policy.infer(seen.frames, seen.base_T_tcp, seen.openness, seen.instruction)
    on_ready()
    for number in range(max(job.chunks, len(job.observations))):
        chunk = _one_chunk(policy, timed, job.observations[number % len(job.observations)], number, result)
        if number < len(job.observations):
            result.made.append(chunk)
    return Measured(**{**vars(result), "memory_mb": _peak_memory_mb()})


def _one_chunk(policy: ActionImagePolicy, timed: Timed, seen: Observation, number: int,
               result: Measured) -> ActionChunk:
    timed.seconds.clear()
    began, worked = time.perf_counter(), time.process_time()
    images = policy.generate(seen.frames, seen.base_T_tcp, seen.openness, seen.instruction, seed=number)
    generated = time.perf_counter()
    chunk = policy.decode(images)
    ended = time.perf_counter()
    result.cpu_s.append(time.process_time() - worked)
    denoise = sum(timed.seconds)
    result.total_s.append(ended - began)
    result.prepare_s.append(generated - began - denoise)
    result.denoise_s.append(denoise)
    result.step_s.extend(timed.seconds)
    result.decode_s.append(ended - generated)
    return chunk


def _peak_memory_mb() -> float:
    """Not getrusage: its maximum is inherited from the parent process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return float("nan")
