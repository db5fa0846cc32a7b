"""The configuration that training is tested with."""

from action_images_ros.model.config import ConvCanvasConfig, ModelConfig

CONFIG = ModelConfig(chunk_size=5, image_size=(32, 32), action_size=(16, 16),
                     conv_canvas=ConvCanvasConfig(width=48, channels=16, blocks=1, heads=3))
