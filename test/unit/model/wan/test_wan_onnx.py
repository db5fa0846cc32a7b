"""The exported graph computes what torch computes."""

import numpy as np
import pytest
from instances import random_inputs, relative_error

from action_images_ros.model.wan.graph import INPUTS, export_onnx, graph_inputs

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")


def test_onnx_runtime_agrees_with_torch(tmp_path, model):
    import torch

    latents, t, camera, text = random_inputs(frames=3)
    cache = model.precompute(camera, text)
    export_onnx(model, graph_inputs(latents, model.modulate(t), cache), tmp_path / "wan.onnx", opset=18)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(tmp_path / "wan.onnx"), options, providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == list(INPUTS)
    for seed, time in ((5, 900.0), (6, 15.5)):
        latents, _, camera, text = random_inputs(frames=3, seed=seed)
        timestep = torch.full((2,), time)
        cache = model.precompute(camera, text)
        values = graph_inputs(latents, model.modulate(timestep), cache)
        got = session.run(None, {k: v.numpy() for k, v in zip(INPUTS, values)})[0]
        assert got.dtype == np.float32
        assert relative_error(torch.from_numpy(got), model(latents, timestep, camera, text)) < 1e-4
