"""Where conversions run: here, in processes of this machine, or on a Ray cluster that is there already."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

from ..errors import ConfigError, DatasetError
from ..interrupts import deaf_children


class Executor(Protocol):
    """work(job) for every job, in any order; jobs, results and the function must be picklable."""

    def __call__(self, work: Callable[[Any], Any], jobs: Sequence[Any]) -> Iterator[Any]: ...


class Processes:
    """count: of this machine; 1 is this process itself."""

    def __init__(self, count: int) -> None:
        if count < 1:
            raise ConfigError(f"workers is {count}; at least 1 is needed")
        self._count = count

    def __call__(self, work: Callable[[Any], Any], jobs: Sequence[Any]) -> Iterator[Any]:
        if self._count == 1 or len(jobs) <= 1:
            yield from map(work, jobs)
            return
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(self._count, len(jobs)), context) as pool:
            try:
                with deaf_children():
                    submitted = [pool.submit(work, job) for job in jobs]
                for done in as_completed(submitted):
                    yield done.result()
            except (KeyboardInterrupt, GeneratorExit):
                for child in multiprocessing.active_children():
                    child.terminate()  # leaving the pool waits for them
                raise
            except BrokenProcessPool as e:
                raise DatasetError("a process was ended from outside, perhaps for lack of memory; run the same command "
                                   "again, it goes on there") from e  # fmt: skip


class RayCluster:
    """address: `auto` or host:port of a running cluster, whose machines must see the same files by the same names.

    Raises ConfigError where ray is not installed, DatasetError where no cluster answers.
    """

    def __init__(self, address: str, cpus: float = 1.0) -> None:
        try:
            import ray
        except ImportError as e:
            raise ConfigError("a Ray cluster needs ray, the cluster's version: pip install 'ray==...'") from e
        self._ray, self._cpus = ray, cpus
        try:
            if not ray.is_initialized():
                ray.init(address=address, log_to_driver=False)
        except Exception as e:  # noqa: BLE001 - Ray has many kinds
            raise DatasetError(f"no Ray cluster answers at {address!r} ({' '.join(str(e).split())[:160]}); start one "
                               "with `ray start --head`, or use --workers") from e  # fmt: skip

    def __call__(self, work: Callable[[Any], Any], jobs: Sequence[Any]) -> Iterator[Any]:
        remote = self._ray.remote(num_cpus=self._cpus)(work)
        waiting = [remote.remote(job) for job in jobs]
        while waiting:
            done, waiting = self._ray.wait(waiting)
            yield self._ray.get(done[0])
