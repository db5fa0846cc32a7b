"""A small denoiser with random weights, as a model directory."""

import torch
from safetensors.torch import save_file

from action_images_ros.model.config import ConvCanvasConfig, ModelConfig
from action_images_ros.model.small import ConvCanvas

CONFIG = ModelConfig(chunk_size=4, image_size=(32, 32), action_size=(16, 16), modes=("policy", "joint"),
                     conv_canvas=ConvCanvasConfig(width=48, channels=16, blocks=1, heads=3))


def write_model(directory, config=CONFIG, seed=0):
    """A model directory with random weights, those that start at zero too."""
    torch.manual_seed(seed)
    model = ConvCanvas(config)
    with torch.no_grad():
        for value in model.parameters():
            if not value.any():
                value.normal_(0, 0.1)
    config.save(directory)
    save_file(model.state_dict(), directory / "model.safetensors")
    return directory
