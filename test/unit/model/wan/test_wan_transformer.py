"""The transformer as a diffusers model: sizes, storage, caching, training, refusals."""

import pytest
import torch
from instances import SMALL, random_inputs, random_model, relative_error

from action_images_ros.errors import ModelError
from action_images_ros.model.wan.rays import RayConvention
from action_images_ros.model.wan.transformer import WanActionTransformer


def test_defaults_are_the_published_full_size():
    with torch.device("meta"):
        model = WanActionTransformer()
    shapes = {n: tuple(p.shape) for n, p in model.named_parameters()}
    assert abs(sum(p.numel() for p in model.parameters()) / 1e9 - 6.42) < 0.005
    assert shapes["blocks.29.cam_encoder.2.weight"] == (3072, 12288)
    assert shapes["blocks.29.projector.weight"] == (3072, 3072)
    assert shapes["blocks.0.ffn.0.weight"] == (14336, 3072)
    assert shapes["text_embedding.0.weight"] == (3072, 4096)
    assert shapes["time_projection.1.weight"] == (6 * 3072, 3072)
    assert shapes["patch_embedding.weight"] == (3072, 48, 1, 2, 2)
    assert shapes["head.head.weight"] == (4 * 48, 3072)
    assert "blocks.30.modulation" not in shapes


def test_new_instance_ignores_cameras_and_predicts_nothing():
    model = WanActionTransformer(**SMALL).eval()
    latents, t, camera, text = random_inputs()
    assert model(latents, t, camera, text).abs().max() == 0
    torch.nn.init.normal_(model.head.head.weight)
    assert torch.equal(model(latents, t, camera, text), model(latents, t, 5 * camera, text))


def test_storage_round_trip_is_exact_and_keeps_the_ray_convention(tmp_path):
    model = random_model(ray_convention="release")
    model.save_pretrained(tmp_path)
    assert [p.name for p in tmp_path.glob("*.safetensors")] == ["diffusion_pytorch_model.safetensors"]
    again = WanActionTransformer.from_pretrained(tmp_path)
    inputs = random_inputs()
    assert torch.equal(again(*inputs), model(*inputs))
    assert again.ray_convention is RayConvention.RELEASE


def test_half_precision_keeps_the_time_path_in_float32_and_the_answer(tmp_path, model):
    model.save_pretrained(tmp_path)
    half = WanActionTransformer.from_pretrained(tmp_path, torch_dtype=torch.bfloat16)
    assert half.blocks[0].modulation.dtype == half.time_projection[1].weight.dtype == torch.float32
    assert half.blocks[0].self_attn.q.weight.dtype == torch.bfloat16
    inputs = random_inputs()
    got, want = half(*inputs), model(*inputs)
    assert got.dtype == torch.bfloat16
    assert torch.nn.functional.cosine_similarity(got.float().flatten(), want.flatten(), 0) > 0.999


def test_cache_gives_the_same_bits(model):
    latents, t, camera, text = random_inputs()
    cache = model.precompute(camera, text)
    want = model(latents, t, camera, text)
    assert torch.equal(model.forward_cached(latents, model.modulate(t), cache), want)


def test_one_cache_with_its_schedule_serves_a_batch_of_canvases(model):
    latents, _, camera, text = random_inputs(batch=2)
    schedule = torch.tensor([1000.0, 833.3, 12.5])
    cache = model.precompute(camera[:1], text[:1], schedule)
    for step, t in enumerate(schedule):
        want = model(latents, t.expand(2), camera[:1].expand(2, -1, -1, -1, -1), text[:1].expand(2, -1, -1))
        assert relative_error(model.forward_cached(latents, cache.modulation(step), cache), want) < 1e-6


def test_cache_of_another_canvas_or_step_is_refused(model):
    latents, _, camera, text = random_inputs(frames=3)
    cache = model.precompute(camera[:, :2], text, torch.tensor([1000.0]))
    with pytest.raises(ModelError, match=r"\(2, 2, 3\).*\(3, 2, 3\)"):
        model.forward_cached(latents, cache.modulation(0), cache)
    with pytest.raises(ModelError, match="step 1 .* 1 noise levels"):
        cache.modulation(1)


def test_gradient_checkpointing_gives_the_same_gradients_and_every_parameter_learns(model):
    model.requires_grad_(True)
    inputs = random_inputs()

    def gradients():
        model.zero_grad()
        (model(*inputs) ** 2).mean().backward()
        return {n: p.grad.clone() for n, p in model.named_parameters()}

    plain = gradients()
    model.enable_gradient_checkpointing()
    runs = []
    hook = model.blocks[0].ffn[0].register_forward_hook(lambda *_: runs.append(1))
    recomputed = gradients()
    hook.remove()
    assert len(runs) == 2, "the block must run again in the backward pass"
    assert all(g.abs().max() > 0 for g in plain.values())
    assert all(relative_error(recomputed[n], g) < 1e-5 for n, g in plain.items())


@pytest.mark.parametrize("size", [(16, 32, 32), (48, 16, 16), (96, 5, 7), (7, 33, 20)])
def test_camera_pooling_equals_adaptive_average_pooling(size):
    from action_images_ros.model.wan.camera import AveragePool

    x = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    want = torch.nn.functional.adaptive_avg_pool3d(x.flatten(0, 1), (48, 16, 16)).unflatten(0, (2, 3))
    assert relative_error(AveragePool((48, 16, 16))(x), want) < 1e-6


@pytest.mark.parametrize(("which", "change", "message"), [
    (0, lambda x: x[:, :, :2], r"latents .* expected \(2, 6, 3, 4, 6\)"),
    (1, lambda x: x[:1], r"timestep .* expected \(2,\)"),
    (2, lambda x: x[:, :, :6], r"camera .* expected \(B, F, 96"),
    (2, lambda x: x[..., :5], "multiples of the patch"),
    (3, lambda x: x[..., :9], r"text .* expected \(2, L, 24\)"),
])
def test_inputs_that_do_not_fit_are_named(model, which, change, message):
    inputs = list(random_inputs())
    inputs[which] = change(inputs[which])
    with pytest.raises(ModelError, match=message):
        model(*inputs)


@pytest.mark.parametrize(("change", "message"), [
    ({"num_heads": 3}, "dim 40 must split"),
    ({"patch_size": (2, 2, 2)}, "can not span two"),
    ({"freq_dim": 31}, "must be even"),
    ({"ray_convention": "opengl"}, "legal: project, release"),
])
def test_sizes_that_do_not_fit_are_named(change, message):
    with pytest.raises(ModelError, match=message):
        WanActionTransformer(**{**SMALL, **change})
