"""Small random transformers and inputs for them: sizes chosen so that no two axes can be swapped unnoticed."""

import numpy as np
import torch

from action_images_ros.geometry import PinholeCamera, se3_exp
from action_images_ros.model.canvas import CanvasLayout, Mode
from action_images_ros.model.wan.transformer import WanActionTransformer

SMALL = {"dim": 40, "ffn_dim": 56, "num_heads": 2, "num_layers": 2, "in_channels": 6, "out_channels": 6, "text_dim": 24,
         "freq_dim": 32}
HEIGHT, WIDTH, WORDS = 4, 6, 5


def randomise(model, seed=0):
    """Every parameter random and of a size at which each part of the network shows in the output."""
    generator = torch.Generator().manual_seed(seed)
    for name, p in model.named_parameters():
        fan_in = p[0].numel() if p.ndim > 1 and "modulation" not in name else 4
        p.data = torch.randn(p.shape, generator=generator) / fan_in ** 0.5
        if "norm" in name and name.endswith("weight"):
            p.data += 1.0
    return model.eval().requires_grad_(False)


def random_model(seed=0, **changes):
    return randomise(WanActionTransformer(**{**SMALL, **changes}), seed)


def random_inputs(frames=3, batch=2, seed=1, config=SMALL):
    """latents, timestep, camera, text of `forward`."""
    g = torch.Generator().manual_seed(seed)
    return (torch.randn(batch, config["in_channels"], frames, HEIGHT, WIDTH, generator=g),
            torch.tensor([999.6, 137.25, 640.0][:batch]),
            torch.randn(batch, frames, 96, HEIGHT, WIDTH, generator=g),
            torch.randn(batch, WORDS, config["text_dim"], generator=g))


def canvas_inputs(mode: Mode, views: int, latent_frames: int, seed: int):
    """A canvas of `mode`: clean frames hold data, the others noise at the sample's level; one camera a view."""
    layout = CanvasLayout.for_mode(mode, views, latent_frames, latent_frames)
    clean = torch.tensor((layout.clean_video + layout.clean_action) * views)
    g = torch.Generator().manual_seed(seed)
    data, noise = torch.randn(2, 1, SMALL["in_channels"], layout.frames, HEIGHT, WIDTH, generator=g).unbind(0)
    sigma = 0.05 + 0.9 * torch.rand(1, generator=g)
    latents = torch.where(clean[None, None, :, None, None], data, (1 - sigma) * data + sigma * noise)
    per_view = torch.randn(1, views, 1, 96, HEIGHT, WIDTH, generator=g)
    camera = per_view.expand(-1, -1, layout.frames // views, -1, -1, -1).flatten(1, 2)
    return latents, 1000 * sigma, camera, torch.randn(1, WORDS, SMALL["text_dim"], generator=g)


def relative_error(a, b) -> float:
    """Largest deviation as a share of the largest value."""
    return float((a.double() - b.double()).abs().max() / b.double().abs().max())


def random_camera(rng, image_size=(8, 6)):
    w, h = image_size
    K = np.array([[w * rng.uniform(0.7, 1.5), 0, w * rng.uniform(0.4, 0.6)],
                  [0, h * rng.uniform(0.7, 1.5), h * rng.uniform(0.4, 0.6)], [0, 0, 1]])
    return PinholeCamera(K, image_size, se3_exp(rng.normal(size=6)))
