"""The number of processes changes nothing of what is learned."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_run import STEPS, train
from tiny_training import CONFIG

from action_images_ros.errors import ConfigError
from action_images_ros.training.loop import TrainConfig, Trainer

HERE = Path(__file__).parent
NAMES = ("model.safetensors", "resume/model.safetensors", "resume/average.safetensors")


@pytest.fixture(scope="module")
def runs(source, shards, tmp_path_factory):
    """Of the same steps: one process, and two replicated and in shards."""
    out = tmp_path_factory.mktemp("runs")
    torch.set_num_threads(1)
    train(source, out / "one")
    launched = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
         str(HERE / "tiny_run.py"), str(shards), str(out)],
        capture_output=True, text=True, timeout=600, cwd=HERE,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(HERE.parents[2]), str(HERE)])})
    assert launched.returncode == 0, launched.stdout[-2000:] + launched.stderr[-4000:]
    return out


@pytest.mark.parametrize("kind", ["replicated", "sharded"])
def test_two_processes_learn_what_one_does(runs, kind):
    for name in NAMES:
        one, two = load_file(runs / "one" / name), load_file(runs / kind / name)
        assert one.keys() == two.keys()
        assert max(float((one[k] - two[k]).abs().max()) for k in one) < 2e-4 * STEPS["learning_rate"] * 100, name
    logs = [[json.loads(line) for line in (runs / k / "log.jsonl").read_text().splitlines()] for k in ("one", kind)]
    assert [row["samples"] for row in logs[1]] == [12, 24], "one process writes"
    for a, b in zip(*logs):
        assert b["total"] == pytest.approx(a["total"], rel=1e-4)


def test_another_number_of_processes_goes_on_with_a_sharded_run(runs, source):
    made = Trainer(source, CONFIG, TrainConfig(**(STEPS | {"samples": 28})), runs / "sharded", clock=lambda: 0.0)
    made.resume()
    assert made.samples == 24
    stored = load_file(runs / "one" / "resume" / "model.safetensors")
    assert max(float((v.detach() - stored[k]).abs().max()) for k, v in made.model.state_dict().items()) < 2e-5
    made.run(lambda progress: None)
    assert made.samples == 28


def test_a_batch_that_cannot_be_shared_is_refused(source, tmp_path):
    with pytest.raises(ConfigError, match="batch_size 4 is not a multiple of 3 parts"):
        train(source, tmp_path, accumulate=3)
