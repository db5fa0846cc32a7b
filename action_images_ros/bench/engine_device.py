"""The device under test: what it is, how fast its matrix products really are, and time on its own clock."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import torch

_PEAK_SIZE = {"cuda": 8192, "cpu": 1024}
_PEAK_REPEATS = {"cuda": 20, "cpu": 3}


def facts(device: torch.device) -> dict:
    """Names and versions, for the report."""
    found: dict[str, object] = {
        "torch": torch.__version__, "python": platform.python_version(), "cores": os.cpu_count(),
        "processor": _processor(), "device": str(device)}
    if device.type == "cuda":
        p = torch.cuda.get_device_properties(device)
        found |= {"device": p.name, "memory_gib": round(p.total_memory / 2**30, 1), "cuda": torch.version.cuda,
                  "capability": f"{p.major}.{p.minor}", "multiprocessors": p.multi_processor_count,
                  "driver": _driver(), "cudnn": torch.backends.cudnn.version()}
    return found


def peaks(device: torch.device) -> dict[str, float]:
    """Precision -> FLOP/s of one large square matrix product on random data; only those that the device has."""
    n = _PEAK_SIZE[device.type]
    found = {}
    for name, dtype in (("bf16", torch.bfloat16), ("f32", torch.float32)):
        a, b = (torch.randn(n, n, device=device).to(dtype) for _ in range(2))
        found[name] = 2.0 * n**3 / seconds(lambda: a @ b, device, _PEAK_REPEATS[device.type])
    eighths = [torch.randn(n, n, device=device).to(torch.float8_e4m3fn) for _ in range(2)]
    one = torch.ones((), device=device)
    try:
        found["fp8"] = 2.0 * n**3 / seconds(
            lambda: torch._scaled_mm(eighths[0], eighths[1].t(), one, one, out_dtype=torch.bfloat16,
                                     use_fast_accum=True), device, _PEAK_REPEATS[device.type])
    except (RuntimeError, ValueError):
        pass
    return found


def seconds(call: Callable[[], object], device: torch.device, repeats: int, warm_up: int = 2) -> float:
    """Median seconds of one call, finished on the device."""
    for _ in range(warm_up):
        call()
    taken = []
    for _ in range(repeats):
        synchronise(device)
        began = time.perf_counter()
        call()
        synchronise(device)
        taken.append(time.perf_counter() - began)
    return sorted(taken)[len(taken) // 2]


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def reset_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def memory_gib(device: torch.device) -> float:
    """Largest allocation since `reset_memory`; on a CPU the process's largest resident set."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**30
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 2**20
    return float("nan")


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _driver() -> str:
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(query, capture_output=True, text=True, timeout=20).stdout.strip().splitlines()[0]
    except (OSError, subprocess.TimeoutExpired, IndexError):
        return "unknown"
