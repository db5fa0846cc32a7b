"""The small denoiser: what must and what must not change its answer. Weights are random, zero-initialised ones too."""

from dataclasses import replace

import pytest
import torch

from action_images_ros.model.denoiser import Conditioning
from action_images_ros.model.small import ConvCanvas


@pytest.fixture(scope="module")
def model(tiny):
    torch.set_num_threads(1)
    torch.manual_seed(0)
    size = replace(tiny.conv_canvas, frame_channels=8)
    made = ConvCanvas(replace(tiny, conv_canvas=size)).eval()
    with torch.no_grad():
        for value in made.parameters():
            if not value.any():
                value.normal_(0, 0.1)
    return made


def canvas(config, video_frames, batch=2, seed=0):
    rng = torch.Generator().manual_seed(seed)
    w, h = config.action_size
    video = torch.randn(batch, config.views, video_frames, 3 * config.pixel_factor**2, h, w, generator=rng)
    action = torch.randn(batch, config.views, config.chunk_size, 3, h, w, generator=rng)
    rays = torch.randn(batch, config.views, 6, h, w, generator=rng)
    text = torch.randn(batch, config.text.max_tokens, config.text.width, generator=rng)
    mask = torch.arange(config.text.max_tokens).repeat(batch, 1) < 5
    return video, action, torch.tensor([0.8, 0.3])[:batch], rays, text, mask


def predict(model, inputs):
    with torch.inference_mode():
        action, video = model(*inputs)
    return action if video is None else torch.cat([action.flatten(2), video.flatten(2)], 2)


@pytest.mark.parametrize("frames", [1, 4])
def test_views_in_another_order_come_out_in_that_order(model, tiny, frames):
    video, action, sigma, rays, text, mask = canvas(tiny, frames)
    out = predict(model, (video, action, sigma, rays, text, mask))
    swapped = predict(model, (video.flip(1), action.flip(1), sigma, rays.flip(1), text, mask))
    assert (out.flip(1) - swapped).abs().max() < 1e-5
    assert (out - swapped).abs().max() > 1e-2


def test_padding_tokens_have_no_influence(model, tiny):
    video, action, sigma, rays, text, mask = canvas(tiny, 1)
    out = predict(model, (video, action, sigma, rays, text, mask))
    spoiled = torch.where(mask[..., None], text, 100 * torch.randn_like(text))
    assert (predict(model, (video, action, sigma, rays, spoiled, mask)) - out).abs().max() < 1e-5


@pytest.mark.parametrize("part", ["video", "action", "sigma", "rays", "text", "text_mask"])
def test_everything_that_is_given_matters(model, tiny, part):
    names = ("video", "action", "sigma", "rays", "text", "text_mask")
    inputs, other = (dict(zip(names, canvas(tiny, 4, seed=seed))) for seed in (0, 1))
    out = predict(model, inputs.values())
    changed = {"sigma": torch.tensor([0.5, 0.6]), "text_mask": inputs["text_mask"].roll(1, 1)}
    inputs[part] = changed.get(part, other[part])
    assert (predict(model, inputs.values()) - out).abs().max() > 1e-3


def test_one_view_is_read_for_the_other(model, tiny):
    """Attention is across views: the second view's picture changes the first view's action."""
    inputs = list(canvas(tiny, 1))
    out = predict(model, inputs)
    inputs[0] = inputs[0].clone()
    inputs[0][:, 1] += 1.0
    assert (predict(model, inputs)[:, 0] - out[:, 0]).abs().max() > 1e-3


def test_samples_of_a_batch_do_not_mix(model, tiny):
    inputs = canvas(tiny, 4)
    alone = predict(model, [x[1:] for x in inputs])
    assert (predict(model, inputs)[1:] - alone).abs().max() < 1e-4


def test_policy_and_joint_layouts_train_the_same_weights(model, tiny):
    """Every weight that one future frame does not need is trained by the policy canvas too."""
    def trained(frames):
        model.zero_grad()
        made = model(*canvas(tiny, frames))
        sum((x**2).mean() for x in made if x is not None).backward()
        return {n for n, p in model.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}

    policy, joint = trained(1), trained(4)
    assert joint == {n for n, _ in model.named_parameters()}
    assert {n.split(".")[0] for n in joint - policy} == {"see_future", "frames", "frame_heads"}


def test_first_video_frame_is_passed_through(model, tiny):
    inputs = canvas(tiny, 4)
    with torch.inference_mode():
        assert torch.equal(model(*inputs)[1][:, :, 0], inputs[0][:, :, 0])


def test_velocity_leads_to_the_predicted_clean_sample(model, tiny):
    video, action, sigma, rays, text, mask = canvas(tiny, 4)
    with torch.inference_mode():
        clean_action, clean_video = model(video, action, sigma, rays, text, mask)
        v_video, v_action = model.velocity(video, action, sigma, Conditioning(rays, text, mask))
    s = sigma.reshape(-1, 1, 1, 1, 1, 1)
    assert (action - s * v_action - clean_action).abs().max() < 1e-5
    assert (video - s * v_video - clean_video).abs().max() < 1e-5


def test_untrained_network_predicts_nothing_yet(tiny):
    """An empty action, and a future that is nearly the present: what is painted over it hardly shows."""
    with torch.inference_mode():
        inputs = canvas(tiny, 4)
        action, video = ConvCanvas(tiny)(*inputs)
    assert not action.any()
    assert (video - inputs[0][:, :, :1]).abs().max() < 0.08 * inputs[0].abs().max()
