"""config.json: what fits together, what does not, and files of earlier models."""

import dataclasses
import json

import pytest

from action_images_ros.errors import ModelError
from action_images_ros.model.compression import Compression
from action_images_ros.model.config import ModelConfig, SamplerConfig, TextConfig
from action_images_ros.model.wan.config import WanConfig

FULL_SIZE = ModelConfig(
    chunk_size=41, image_size=(512, 512), action_size=(512, 512), modes=("policy", "joint", "world", "label", "video"),
    denoiser="wan", frame_codec="wan_vae", ray_frame="first_view", text=TextConfig("umt5_xxl", 512, 4096),
    sampler=SamplerConfig(50, 5.0, 5.0))
EARLIER = {
    "views": 2, "chunk_size": 9, "dt_s": 0.4, "image_size": [96, 96], "action_size": [24, 24],
    "modes": ["policy", "joint", "world", "label"], "denoiser": "conv_canvas", "frame_codec": "pixels",
    "ray_frame": "base",
    "encoding": {"axis_length_m": 0.1, "green_axis": "+x", "blue_axis": "-z", "sigma_fraction": 0.05, "pedestal": 0.25},
    "text": {"encoder": "wordllama_256", "max_tokens": 16, "width": 256},
    "conv_canvas": {"width": 192, "channels": 64, "blocks": 5, "heads": 3, "mlp_ratio": 4},
    "sampler": {"denoising_steps": 4, "shift": 1.0}, "format_version": 1,
}


def test_the_full_size_model_of_the_method_is_legal():
    """Method, section 4: 41 frames are 11 latent frames."""
    assert FULL_SIZE.latent_frames == 11
    assert FULL_SIZE.wan.transformer_arguments(4096)["camera_channels"] == 96


def test_a_config_without_the_newer_keys_loads_unchanged(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(EARLIER))
    assert ModelConfig.load(tmp_path) == ModelConfig()
    assert ModelConfig().latent_frames == 9


@pytest.mark.parametrize("config", [ModelConfig(), FULL_SIZE])
def test_what_is_stored_comes_back_and_holds_one_denoiser(tmp_path, config):
    config.save(tmp_path)
    assert ModelConfig.load(tmp_path) == config
    assert len({"wan", "conv_canvas"} & set(json.loads((tmp_path / "config.json").read_text()))) == 1


@pytest.mark.parametrize(("base", "change", "message"), [
    (ModelConfig(), {"frame_codec": "wan_vae"}, "set it to 'pixels'"),
    (ModelConfig(), {"modes": ("policy", "video")}, "legal: policy, joint, world, label"),
    (ModelConfig(), {"modes": ("polciy",)}, "mode is 'polciy'"),
    (ModelConfig(), {"modes": ()}, "modes is empty"),
    (ModelConfig(), {"image_size": (100, 100)}, "whole multiple"),
    (ModelConfig(), {"image_size": (96, 48), "action_size": (24, 12)}, "square"),
    (FULL_SIZE, {"chunk_size": 40}, "4 q \\+ 1 frames, such as 37 or 41"),
    (FULL_SIZE, {"action_size": (128, 128)}, r"action_size \(128, 128\) must equal image_size \(512, 512\)"),
    (FULL_SIZE, {"image_size": (528, 528), "action_size": (528, 528)}, "must be a multiple of 32"),
    (FULL_SIZE, {"ray_frame": "base"}, "set it to 'first_view'"),
    (FULL_SIZE, {"frame_codec": "pixels"}, "latent_channels is 48; plain pixels have 3"),
    (ModelConfig(), {"continued_steps": 8}, "continued_steps is 8; legal: 0 to 7"),
    (FULL_SIZE, {"denoiser": "unet"}, "legal: conv_canvas, wan"),
])
def test_values_that_do_not_fit_each_other_are_named(base, change, message):
    with pytest.raises(ModelError, match=message):
        dataclasses.replace(base, **change)


@pytest.mark.parametrize(("part", "change", "message"), [
    (WanConfig, {"ray_convention": "opengl"}, "legal: project, release"),
    (WanConfig, {"layers": 0}, "must be positive"),
    (WanConfig, {"camera_pool": (48, 16)}, "three sizes"),
    (SamplerConfig, {"guidance_scale": 0.5}, r"guidance_scale 0.5 \(1..100\)"),
])
def test_sections_name_what_is_out_of_range(part, change, message):
    with pytest.raises(ModelError, match=message):
        part(**change)


def test_unknown_keys_of_a_section_are_named(tmp_path):
    raw = json.loads(FULL_SIZE.to_json())
    raw["wan"]["depth"] = 30
    (tmp_path / "config.json").write_text(json.dumps(raw))
    with pytest.raises(ModelError, match="wan: unknown key 'depth'; legal: .*layers"):
        ModelConfig.load(tmp_path)


@pytest.mark.parametrize(("frames", "latents"), [(1, 1), (4, 1), (5, 2), (8, 2), (9, 3), (41, 11)])
def test_only_whole_groups_of_frames_make_a_latent_frame(frames, latents):
    assert Compression(16, 4).latent_frames(frames) == latents
    assert Compression(16, 4).frames(latents) == 4 * latents - 3
    assert Compression(1, 1).latent_frames(frames) == frames == Compression(1, 1).frames(frames)
    assert Compression(16, 4).frames(0) == Compression(1, 1).frames(0) == 0
