"""Either denoiser trains through one loss and one loop; here the Wan-style one, tiny."""

import dataclasses
import itertools

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the training extra")
diffusers = pytest.importorskip("diffusers", reason="the Wan-style transformer needs the training extra")
torch.set_num_threads(1)

from action_images_ros.codec import encode  # noqa: E402
from action_images_ros.engines import EngineOptions  # noqa: E402
from action_images_ros.engines.torch_eager import load_denoiser  # noqa: E402
from action_images_ros.errors import ConfigError, ModelError  # noqa: E402
from action_images_ros.geometry import PinholeCamera  # noqa: E402
from action_images_ros.model.canvas import CanvasLayout, Mode, pack, restore_clean  # noqa: E402
from action_images_ros.model.config import ConvCanvasConfig, ModelConfig, SamplerConfig, TextConfig  # noqa: E402
from action_images_ros.model.denoiser import Conditioning, Prediction  # noqa: E402
from action_images_ros.model.factory import build_denoiser, copy_frozen_parts  # noqa: E402
from action_images_ros.model.wan.config import WanConfig  # noqa: E402
from action_images_ros.model.wan.rays import RayConvention, camera_rays  # noqa: E402
from action_images_ros.policy import ActionImagePolicy  # noqa: E402
from action_images_ros.training.augment import NO_AUGMENT, Augment  # noqa: E402
from action_images_ros.training.data import CanvasSource, Episode, draw_layout  # noqa: E402
from action_images_ros.training.loop import TrainConfig, Trainer  # noqa: E402
from action_images_ros.training.loss import LevelWeight, LossConfig, canvas_loss  # noqa: E402

ONE_THREAD = EngineOptions(threads=1)
TEXT = TextConfig("wordllama_256", 6, 256)
PIXELS = ModelConfig(
    chunk_size=3, image_size=(16, 16), action_size=(16, 16), modes=("policy", "joint", "world", "label", "video"),
    denoiser="wan", ray_frame="first_view", text=TEXT, sampler=SamplerConfig(2),
    wan=WanConfig(32, 48, heads=2, layers=2, latent_channels=3, patch=4, freq_dim=16, camera_pool=(6, 4, 4)))
LATENTS = dataclasses.replace(PIXELS, chunk_size=5, image_size=(32, 32), action_size=(32, 32), frame_codec="wan_vae",
                              wan=dataclasses.replace(PIXELS.wan, latent_channels=6, patch=1))
SMALL = ModelConfig(chunk_size=3, image_size=(16, 16), action_size=(16, 16), text=TEXT,
                    conv_canvas=ConvCanvasConfig(width=32, channels=16, blocks=1, heads=2))


def episode(config, frames=6):
    side, rng = config.image_size[0], np.random.default_rng(0)
    K = np.array([[1.4 * side, 0, side / 2 - 0.5], [0, 1.4 * side, side / 2 - 0.5], [0, 0, 1]])
    cameras = []
    for x in (-0.3, 0.35):
        pose = np.eye(4)
        turn = np.array([[np.cos(x), 0, np.sin(x)], [0, 1, 0], [-np.sin(x), 0, np.cos(x)]])
        pose[:3, :3] = turn @ np.diag([1, -1, -1])
        pose[:3, 3] = (x, 0, 1.0)
        cameras.append(PinholeCamera(K, config.image_size, pose))
    poses = np.tile(np.diag([1.0, -1, -1, 1]), (frames, 1, 1))
    poses[:, 0, 3] = np.linspace(-0.1, 0.1, frames)
    images = rng.integers(0, 256, (frames, 2, side, side, 3), dtype=np.uint8)
    return Episode(images, poses, np.ones(frames), tuple(cameras), ("reach the red ball",))


def source_for(config, directory=None):
    return CanvasSource([episode(config)], config, directory)


def layout_for(config, mode, committed=0):
    return CanvasLayout.for_mode(mode, config.views, config.latent_frames, config.latent_frames, committed)


def batch_of(config, mode, size=2, augment=NO_AUGMENT, seed=0, directory=None):
    return source_for(config, directory).batch(np.random.default_rng(seed), size, layout_for(config, mode), augment)


def randomised(config):
    """Not the zero output of a new one."""
    torch.manual_seed(0)
    model = build_denoiser(config)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    return model


def seeded():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("config", [PIXELS, SMALL], ids=["wan", "conv_canvas"])
def test_either_denoiser_learns_a_batch_by_heart(config):
    torch.manual_seed(0)
    model, batch, config = build_denoiser(config), batch_of(config, Mode.JOINT), LossConfig()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        loss = canvas_loss(model, batch, config, seeded())
        optimiser.zero_grad()
        loss["total"].backward()
        optimiser.step()
        losses.append(loss["total"].item())
    assert set(loss) == {"action", "video", "total"}
    assert losses[1] < losses[0] and losses[-1] < 0.7 * losses[0]


def test_every_part_of_the_wan_denoiser_is_taught():
    model = randomised(PIXELS)
    canvas_loss(model, batch_of(PIXELS, Mode.JOINT), LossConfig(), seeded())["total"].backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


def test_the_velocity_is_compared_with_noise_minus_data_over_what_is_not_given():
    model, config = randomised(PIXELS), LossConfig(full_noise_share=0.0, blob_weight=0.0, change_weight=0.0)
    batch, layout = batch_of(PIXELS, Mode.JOINT), layout_for(PIXELS, Mode.JOINT)
    got = canvas_loss(model, batch, config, seeded())
    g = seeded()
    sigma = torch.rand(2, generator=g).clamp_min(0.02)
    torch.rand(2, generator=g)
    video, action = torch.from_numpy(batch.video), torch.from_numpy(batch.action)
    noise = [torch.randn(x.shape, generator=g) for x in (video, action)]
    s = sigma.reshape(-1, 1, 1, 1, 1, 1)
    noisy = [restore_clean((1 - s) * x + s * n, x, layout.video_mask(x)) for x, n in zip((video, action), noise)]
    rays = torch.from_numpy(batch.rays)
    made = model.transformer(pack(*noisy).transpose(1, 2), 1000 * sigma, pack(rays, rays), torch.from_numpy(batch.text))
    target = pack(noise[0] - video, noise[1] - action).transpose(1, 2)
    error = ((made - target) ** 2).unflatten(2, (2, 2, 3))[:, :, :, :, 1:].mean(dim=(0, 1, 2, 4, 5, 6))
    assert got["video"].item() == pytest.approx(error[0].item(), rel=1e-4)
    assert got["action"].item() == pytest.approx(error[1].item(), rel=1e-4)


@pytest.mark.parametrize(("mode", "terms"), [
    (Mode.POLICY, {"action"}), (Mode.JOINT, {"action", "video"}), (Mode.WORLD, {"video"}), (Mode.LABEL, {"action"}),
    (Mode.VIDEO, {"video"})])
def test_each_mode_is_taught_what_it_generates(mode, terms):
    losses = canvas_loss(randomised(PIXELS), batch_of(PIXELS, mode), LossConfig(), seeded())
    assert set(losses) == terms | {"total"}
    assert all(torch.isfinite(x) and x > 0 for x in losses.values())


def test_the_bell_weights_the_middle_and_has_mean_one():
    model, batch = randomised(PIXELS), batch_of(PIXELS, Mode.POLICY, size=64)
    plain = LossConfig(full_noise_share=0.0, blob_weight=0.0)
    bell = dataclasses.replace(plain, level_weight=LevelWeight.BELL)
    with torch.no_grad():
        weighted, even = (canvas_loss(model, batch, config, seeded())["action"] for config in (bell, plain))
    ratio = weighted / even
    assert 0.7 < ratio < 1.3 and ratio != 1
    with pytest.raises(ConfigError, match="set it to 0"):
        LossConfig(level_weight=LevelWeight.BELL)


def test_camera_latents_follow_the_order_of_the_views():
    """Rays are relative to the first view, whichever camera that is."""
    one = episode(PIXELS)
    seen = set()
    for seed in range(6):
        batch = batch_of(PIXELS, Mode.POLICY, 1, Augment(brightness=0, contrast=0), seed)
        frames = one.images.transpose(1, 0, 4, 2, 3) / 127.5 - 1  # of either camera: which one is shown first?
        order = int(np.abs(batch.video[0, 0, 0] - frames).max((2, 3, 4)).min(1).argmin())
        cameras = [one.cameras[order], one.cameras[1 - order]]
        rays = camera_rays(cameras, RayConvention.PROJECT)
        rays[:, 3:] /= 3
        np.testing.assert_allclose(batch.rays[0], np.repeat(rays[:, None], 3, 1), atol=1e-6)
        drawn = encode(batch.base_T_tcps[0], batch.openness[0], cameras).transpose(1, 0, 4, 2, 3) / 127.5 - 1
        assert np.abs(batch.action[0] - drawn).max() < 1 / 127
        seen.add(order)
    assert seen == {0, 1}


def test_some_canvases_have_no_instruction():
    batch = batch_of(PIXELS, Mode.POLICY, 40, dataclasses.replace(NO_AUGMENT, no_instruction=0.5))
    empty = ~batch.text_mask.any(1)
    assert 8 < empty.sum() < 32 and not batch.text[empty].any()


def make_vae(directory):
    torch.manual_seed(0)
    diffusers.AutoencoderKLWan(
        base_dim=4, decoder_base_dim=4, z_dim=6, dim_mult=[1, 2, 2, 2], num_res_blocks=1, is_residual=True,
        patch_size=2, temperal_downsample=[False, True, True], in_channels=12, out_channels=12, scale_factor_spatial=16,
        latents_mean=[0.1] * 6, latents_std=[0.4] * 6).save_pretrained(directory / "vae")


def test_latents_of_a_vae_are_taught_frame_by_latent_frame(tmp_path):
    make_vae(tmp_path)
    batch = batch_of(LATENTS, Mode.JOINT, 2, directory=tmp_path)
    assert batch.video.shape == batch.action.shape == (2, 2, 2, 6, 2, 2)
    assert batch.rays.shape == (2, 2, 2, 12, 2, 2) and batch.base_T_tcps.shape == (2, 5, 4, 4)
    assert batch_of(LATENTS, Mode.POLICY, 1, directory=tmp_path).video.shape[2] == 1
    assert batch_of(LATENTS, Mode.VIDEO, 1, directory=tmp_path).action.shape == (1, 2, 0, 6, 2, 2)
    loss = canvas_loss(randomised(LATENTS), batch, LossConfig(), seeded())
    plain = canvas_loss(randomised(LATENTS), batch, LossConfig(blob_weight=0, change_weight=0), seeded())
    assert loss["total"].item() == plain["total"].item()  # weights of pixels mean nothing there
    with pytest.raises(ModelError, match="give the directory"):
        source_for(LATENTS)


def test_committed_latent_frames_leave_something_to_generate():
    nine = dataclasses.replace(LATENTS, chunk_size=9)
    rng = np.random.default_rng(0)
    drawn = {sum(draw_layout(nine, {Mode.POLICY: 1.0}, 0.5, rng).clean_action) for _ in range(40)}
    assert drawn == {1, 2}


def trainer(out, config=PIXELS, samples=8, source=None, start=None):
    clock = itertools.count(step=0.01)
    settings = TrainConfig(samples=samples, batch_size=2, warmup_samples=1, learning_rate=1e-3, average_decay=0.5,
                           mode_mix={"policy": 0.5, "joint": 0.5})
    return Trainer(source or source_for(config), config, settings, out, lambda: next(clock), start=start)


def test_a_run_writes_a_model_directory_that_the_policy_loads_and_a_run_resumes(tmp_path):
    first = trainer(tmp_path)
    assert first.model.predicts is Prediction.VELOCITY
    first.run(lambda _: None, every_samples=4)
    assert not (tmp_path / "model.safetensors").exists()
    assert ActionImagePolicy.from_pretrained(tmp_path, options=ONE_THREAD).config == PIXELS
    stored = load_denoiser(tmp_path, PIXELS).state_dict()
    assert all(torch.equal(stored[k], v) for k, v in first.average.items())
    again = trainer(tmp_path, samples=16)
    again.resume()
    assert again.samples == 8 and all(torch.equal(again.average[k], v) for k, v in first.average.items())
    again.run(lambda _: None)
    assert again.samples == 16 and any(not torch.equal(again.average[k], v) for k, v in first.average.items())


def test_training_starts_from_a_model_and_takes_its_frozen_parts_along(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    make_vae(old)
    source = source_for(LATENTS, old)
    trainer(old, LATENTS, 2, source).run(lambda _: None)
    second = trainer(new, LATENTS, 2, source, old)
    assert second.new_names == []
    stored = load_denoiser(old, LATENTS).state_dict()
    assert all(torch.equal(v, stored[k]) for k, v in second.model.state_dict().items())
    second.run(lambda _: None)
    copy_frozen_parts(old, new)
    policy = ActionImagePolicy.from_pretrained(new, options=ONE_THREAD)
    assert policy.config == LATENTS
    video = Conditioning(*(torch.from_numpy(x) for x in (np.zeros((1, 2, 2, 12, 2, 2), np.float32),
                                                         np.zeros((1, 6, 256), np.float32), np.zeros((1, 6), bool))))
    x = torch.zeros(1, 2, 2, 6, 2, 2)
    with torch.no_grad():
        got = second.averaged().velocity(x, x, torch.ones(1), video)[1].numpy()
    made = policy.pipeline.denoiser.velocity(x.numpy(), x.numpy(), np.ones(1, np.float32), Conditioning(
        *(v.numpy() for v in (video.rays, video.text, video.text_mask))))[1]
    np.testing.assert_allclose(made, got, atol=1e-6)
