"""The Wan VAE as a frame codec: causal, one segment after the other, and only the VAE that the model was made with."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from wan_directory import LATENTS, make_vae

from action_images_ros.errors import EngineError, ModelError
from action_images_ros.model.frames import make_frame_codecs, signal_of
from action_images_ros.model.wan.config import WanConfig
from action_images_ros.model.wan.vae import WanVaeCodec


@pytest.fixture(scope="module")
def codec():
    return WanVaeCodec(make_vae())


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, (2, 9, 32, 48, 3), dtype=np.uint8)


def test_latents_are_normalised_and_every_segment_stands_alone(codec, images):
    latents = codec.encode(images)
    assert latents.shape == (2, 3, 6, 2, 3) and latents.dtype == np.float32
    signal = torch.from_numpy(signal_of(images)).permute(0, 4, 1, 2, 3)
    plain = codec.vae.encode(signal).latent_dist.mode()
    for channel in range(6):
        mean, std = codec.vae.config.latents_mean[channel], codec.vae.config.latents_std[channel]
        np.testing.assert_allclose(latents[:, :, channel], (plain[:, channel].numpy() - mean) / std, atol=1e-5)
    np.testing.assert_array_equal(codec.encode(images[1]), latents[1])
    np.testing.assert_array_equal(codec.encode_signal(signal_of(images)), latents)


def test_the_first_frames_determine_the_first_latents(codec, images):
    np.testing.assert_allclose(codec.encode(images[:, :5]), codec.encode(images)[:, :2], atol=1e-5)
    np.testing.assert_allclose(codec.encode(images[:, :1]), codec.encode(images)[:, :1], atol=1e-5)


def test_decoding_inverts_the_normalisation(codec, images):
    latents = codec.encode(images)
    made = codec.decode(latents)
    assert made.shape == images.shape and made.dtype == np.uint8
    z = codec.vae.encode(torch.from_numpy(signal_of(images)).permute(0, 4, 1, 2, 3)).latent_dist.mode()
    plain = (codec.vae.decode(z).sample.permute(0, 2, 3, 4, 1).numpy() + 1) * 127.5
    assert np.abs(made - plain).max() < 0.51
    np.testing.assert_array_equal(codec.decode(latents[1]), made[1])


@pytest.mark.parametrize("shape", [(4, 32, 48, 3), (9, 40, 48, 3), (9, 32, 40, 3), (0, 32, 48, 3)])
def test_segments_that_the_vae_would_cut_are_refused(codec, shape):
    with pytest.raises(ModelError, match=f"got {shape[0]} frames of {shape[2]}x{shape[1]}"):
        codec.encode(np.zeros(shape, np.uint8))


def test_damaged_weights_do_not_become_pictures():
    vae = make_vae()
    vae.decoder.conv_out.weight.data[0] = torch.nan
    with pytest.raises(EngineError, match="NaN"):
        WanVaeCodec(vae).decode(np.zeros((1, 6, 2, 2), np.float32))


def test_only_the_vae_of_the_config_is_taken(tmp_path):
    make_vae().save_pretrained(tmp_path / "good" / "vae")
    codecs = make_frame_codecs(LATENTS, tmp_path / "good")
    assert codecs.video is codecs.action
    other = dataclasses.replace(LATENTS, wan=WanConfig(latent_channels=7))
    with pytest.raises(ModelError, match="6 latent channels, config.json says wan.latent_channels 7"):
        make_frame_codecs(other, tmp_path / "good")
    make_vae(patch_size=None, in_channels=3, out_channels=3).save_pretrained(tmp_path / "coarse" / "vae")
    with pytest.raises(ModelError, match="compresses 8 pixels and 4 frames a latent"):
        make_frame_codecs(LATENTS, tmp_path / "coarse")
    with pytest.raises(ModelError, match="has no vae/"):
        make_frame_codecs(LATENTS, tmp_path)


def test_missing_and_unknown_weights_are_refused(tmp_path):
    make_vae().save_pretrained(tmp_path / "vae")
    path = tmp_path / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    removed = weights.pop("decoder.conv_out.bias")
    save_file(weights, path)
    with pytest.raises(ModelError, match="decoder.conv_out.bias"):
        make_frame_codecs(LATENTS, tmp_path)
    save_file({**weights, "decoder.conv_out.bias": removed, "decoder.more": removed.clone()}, path)
    with pytest.raises(ModelError, match="decoder.more"):
        make_frame_codecs(LATENTS, tmp_path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ModelError, match="can not be read"):
        make_frame_codecs(LATENTS, tmp_path)
    shutil.rmtree(tmp_path / "vae")


def test_a_vae_without_memory_is_one_clear_engine_error():
    """Too little memory must drop a chunk, not end the process with a traceback."""

    class Starved(torch.nn.Module):
        def forward(self, x, *args, **kwargs):
            return torch.empty(1 << 60)

    vae = make_vae()
    vae.decoder = vae.encoder = Starved()
    codec = WanVaeCodec(vae)
    with pytest.raises(EngineError, match="out of memory on cpu"):
        codec.decode(np.zeros((1, 1, 6, 2, 2), np.float32))
    with pytest.raises(EngineError, match="out of memory on cpu"):
        codec.encode(np.zeros((1, 1, 32, 32, 3), np.uint8))
