"""Which engine runs, and that none of it needs torch on the robot."""

import subprocess
import sys

import pytest
from engine_models import CONFIG

from action_images_ros.engines import EngineOptions, Precision, load_engine
from action_images_ros.engines.base import GRAPH_ENGINES
from action_images_ros.errors import EngineError

WITHOUT = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Block())
import importlib.util
found = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name in BLOCKED else found(name, *rest)
"""

INFER = """
import numpy as np
from action_images_ros.engines import EngineOptions
from action_images_ros.geometry import PinholeCamera
from action_images_ros.policy import ActionImagePolicy
from action_images_ros.types import SyncedFrames
K = np.array([[40.0, 0, 15.5], [0, 40, 15.5], [0, 0, 1]])
poses = [np.diag([1.0, -1, -1, 1]), np.array([[0, 0, -1.0, 1], [-1, 0, 0, 0], [0, 1, 0, 0.3], [0, 0, 0, 1]])]
poses[0][:3, 3] = 0.4, 0, 1
cameras = tuple(PinholeCamera(K, (32, 32), pose) for pose in poses)
policy = ActionImagePolicy.from_pretrained(sys.argv[1], options=EngineOptions(1))
images = tuple(np.zeros((32, 32, 3), np.uint8) for _ in cameras)
pose = np.diag([1.0, -1, -1, 1])
pose[:3, 3] = 0.4, 0, 0.3
made = policy.generate(SyncedFrames(("a", "b"), images, cameras, (0, 0)), pose, 1.0, "reach the red ball")
assert made.images.shape == (4, 2, 16, 16, 3) and made.images.any()
assert not {"torch", "onnx", "onnxscript"} & set(sys.modules)
print(policy.engine)
"""


@pytest.mark.parametrize(("absent", "engine"), [((), "openvino"), (("openvino",), "onnxruntime")])
def test_a_chunk_is_made_without_torch(exported, absent, engine):
    blocked = {"torch", "onnx", "onnxscript", *absent}
    code = f"BLOCKED = {blocked!r}\n{WITHOUT}\n{INFER}"
    done = subprocess.run([sys.executable, "-c", code, str(exported)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [engine]


def test_auto_takes_the_first_of_its_preference(exported):
    assert load_engine("auto", exported, CONFIG, EngineOptions(1))[0] == GRAPH_ENGINES[0] == "openvino"


def test_auto_takes_torch_where_nothing_was_exported(trained):
    assert load_engine("auto", trained, CONFIG, EngineOptions(1))[0] == "torch"


@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_an_engine_that_was_asked_for_is_not_replaced(trained, name):
    with pytest.raises(EngineError, match=f"{name}: .* has no exported graph.*run `action-images export"):
        load_engine(name, trained, CONFIG, EngineOptions(1))


def test_unknown_engine_names_the_legal_ones(exported):
    with pytest.raises(EngineError, match="engine is 'cuda'; legal: auto, onnxruntime, openvino, tensorrt, .*, torch"):
        load_engine("cuda", exported, CONFIG)


def test_a_precision_that_an_engine_lacks_is_refused(exported):
    with pytest.raises(EngineError, match="onnxruntime: it has no precision bf16; legal: auto, f32"):
        load_engine("onnxruntime", exported, CONFIG, EngineOptions(1, Precision.BF16))
    assert load_engine("auto", exported, CONFIG, EngineOptions(1, Precision.BF16))[0] == "openvino"
    with pytest.raises(EngineError, match="precision is 'int4'; legal: auto, f32, bf16, f16, fp8"):
        Precision.parse("int4")


def test_threads_must_be_positive():
    with pytest.raises(EngineError, match="threads is 0"):
        EngineOptions(0)
