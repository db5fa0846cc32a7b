"""The transformer against two implementations that share no code with it."""

import pytest
import torch
from instances import SMALL, canvas_inputs, random_inputs, random_model, randomise, relative_error
from reference import reference_forward

from action_images_ros.model.canvas import Mode
from action_images_ros.model.wan.convert import convert
from action_images_ros.model.wan.load import load_transformer


@pytest.mark.parametrize("views", [2, 3, 4])
@pytest.mark.parametrize("mode", list(Mode), ids=lambda m: m.value)
def test_equals_the_naive_reference_on_every_modes_canvas(mode, views):
    model = random_model(seed=views)
    latents, timestep, camera, text = canvas_inputs(mode, views, latent_frames=2, seed=views)
    got = model(latents, timestep, camera, text)[0]
    want = reference_forward(model.state_dict(), latents[0], float(timestep), camera[0], text[0], SMALL["num_heads"])
    assert relative_error(got, want) < 1e-4


def test_each_sample_of_a_batch_is_its_own_canvas(model):
    inputs = random_inputs(frames=4, batch=3)
    got = model(*inputs)
    for i in range(3):
        latents, timestep, camera, text = (x[i] for x in inputs)
        want = reference_forward(model.state_dict(), latents, float(timestep), camera, text, SMALL["num_heads"])
        assert relative_error(got[i], want) < 1e-4


@pytest.mark.parametrize("name", [
    "blocks.1.cam_encoder.2.weight", "blocks.0.projector.bias", "blocks.1.modulation",
    "blocks.0.self_attn.norm_k.weight", "blocks.1.cross_attn.v.weight", "head.modulation"])
def test_the_comparison_notices_a_wrong_weight(model, name):
    inputs = random_inputs(batch=1)
    weights = {k: v.clone() for k, v in model.state_dict().items()}
    weights[name] += 0.02 * torch.randn(weights[name].shape, generator=torch.Generator().manual_seed(0))
    latents, timestep, camera, text = (x[0] for x in inputs)
    wrong = reference_forward(weights, latents, float(timestep), camera, text, SMALL["num_heads"])
    assert relative_error(model(*inputs)[0], wrong) > 1e-3


@pytest.mark.parametrize("timestep", [1000.0, 500.0, 3.0])
def test_a_plain_checkpoint_equals_diffusers_whatever_the_cameras(tmp_path, timestep):
    from diffusers import WanTransformer3DModel

    theirs = randomise(WanTransformer3DModel(
        patch_size=(1, 2, 2), num_attention_heads=2, attention_head_dim=20, in_channels=6, out_channels=6, text_dim=24,
        freq_dim=32, ffn_dim=56, num_layers=2))
    theirs.save_pretrained(tmp_path / "theirs")
    convert(tmp_path / "theirs", tmp_path / "ours")
    ours = load_transformer(tmp_path / "ours")
    latents, _, camera, text = random_inputs(frames=5)
    t = torch.full((2,), timestep)
    want = theirs(latents, t, text, return_dict=False)[0]
    assert relative_error(ours(latents, t, camera, text), want) < 1e-4
    assert torch.equal(ours(latents, t, camera, text), ours(latents, t, -3 * camera, text))
