"""The one pipeline with the Wan-style denoiser: against a hand-made sampler, through the policy, and its refusals."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan
from wan_directory import LATENTS, PIXELS, Pictures, cell_cameras, poses_along, write_model

from action_images_ros.codec import encode
from action_images_ros.engines import EngineOptions
from action_images_ros.engines.torch_eager import TorchEager, load_denoiser
from action_images_ros.errors import ModelError
from action_images_ros.geometry import PinholeCamera
from action_images_ros.model.canvas import Mode
from action_images_ros.model.config import ModelConfig
from action_images_ros.model.frames import FrameCodecs, make_frame_codecs, model_camera
from action_images_ros.model.pipeline import Given, Pipeline
from action_images_ros.model.text import make_text_encoder
from action_images_ros.model.wan.rays import RayConvention, camera_rays
from action_images_ros.model.wan.transformer import WanActionTransformer
from action_images_ros.policy import ActionImagePolicy
from action_images_ros.types import ActionChunk, SyncedFrames

CAMERAS = cell_cameras()
INSTRUCTION = "reach the red ball"


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {"pixels": write_model(root / "pixels", PIXELS), "latents": write_model(root / "latents", LATENTS)}


@pytest.fixture(scope="module")
def pipelines(directories):
    made = {}
    for name, directory in directories.items():
        config = ModelConfig.load(directory)
        made[name] = Pipeline.from_directory(directory, config, TorchEager(load_denoiser(directory, config)))
    return made


def given_for(pipeline, mode, poses=1, cameras=CAMERAS, instruction=INSTRUCTION):
    T = pipeline.config.chunk_size
    pictures = Pictures.random(T if mode is Mode.LABEL else 1, cameras[0].image_size[1])
    known = T if mode is Mode.WORLD else poses
    return Given(np.concatenate([pipeline.model_images(p) for p in pictures.images]), poses_along(T)[:known],
                 np.ones(known), instruction)


def run(pipeline, mode, given=None, cameras=CAMERAS, seed=3):
    return pipeline.run(mode, given or given_for(pipeline, mode), cameras, np.random.default_rng(seed))


class ByHand:
    """The method with nothing but diffusers' VAE and the transformer's plain forward: one sequence, no cache."""

    def __init__(self, directory):
        self.config = ModelConfig.load(directory)
        self.transformer = WanActionTransformer.from_pretrained(directory / "transformer").eval()
        self.vae = None
        if self.config.frame_codec == "wan_vae":
            self.vae = AutoencoderKLWan.from_pretrained(directory / "vae").eval().requires_grad_(False)
            self.mean, self.std = (torch.tensor(x).reshape(1, -1, 1, 1, 1)
                                   for x in (self.vae.config.latents_mean, self.vae.config.latents_std))
        self.text = make_text_encoder(self.config.text, directory)
        self.seen = [model_camera(c, self.config.image_size) for c in CAMERAS]
        rays = camera_rays(self.seen, RayConvention(self.config.wan.ray_convention)).transpose(0, 2, 3, 1)
        parts = [(r[..., :3], r[..., 3:] / 3) for r in rays]
        T = self.config.chunk_size
        self.cameras = [torch.cat([self.encode(np.repeat(part[None], T, 0)) for part in pair]) for pair in parts]

    def encode(self, signal):
        """(T, H, W, 3) in [-1, 1] -> (C, F, h, w)."""
        x = torch.tensor(np.asarray(signal), dtype=torch.float32).permute(3, 0, 1, 2)[None]
        if self.vae is not None:
            x = (self.vae.encode(x).latent_dist.mode() - self.mean) / self.std
        return x[0]

    def decode(self, latents):
        """(C, F, h, w) -> (T, H, W, 3) uint8."""
        x = latents[None]
        if self.vae is not None:
            x = self.vae.decode(x * self.std + self.mean).sample
        return np.rint((x[0].clamp(-1, 1).permute(1, 2, 3, 0).numpy() + 1) * 127.5).astype(np.uint8)

    @torch.no_grad()
    def run(self, mode, given, seed):
        """-> action segment and video segment of every view (C, F, h, w), each None where there is none."""
        config, V = self.config, self.config.views
        channels, whole, *size = self.cameras[0].shape
        drawn = encode(given.base_T_tcps, given.openness, self.seen, config.encoding)
        known = len(drawn) if self.vae is None or mode is Mode.WORLD else 4 * ((len(drawn) - 1) // 4) + 1
        segments, cameras_of = [], []  # in packed order: (kind, view, latent frames, clean latents)
        for v in range(V):
            clean = self.encode(given.video[:, v] / 127.5 - 1)
            segments.append(("video", v, 1 if mode is Mode.POLICY else whole, clean))
            cameras_of.append(self.cameras[v][:, : segments[-1][2]])
            if mode is not Mode.VIDEO:
                segments.append(("action", v, whole, self.encode(drawn[:known, v] / 127.5 - 1)))
                cameras_of.append(self.cameras[v])
        rng, noise = np.random.default_rng(seed), {}
        for kind in ("video", "action"):
            mine = [s for s in segments if s[0] == kind]
            if mine:
                drawn_noise = rng.standard_normal((1, V, mine[0][2], channels // 2, *size), np.float32)[0]
                noise |= {(kind, v): torch.from_numpy(drawn_noise[v]).transpose(0, 1) for v in range(V)}
        x = torch.cat([noise[kind, v] for kind, v, _, _ in segments], 1)[None]
        text = torch.from_numpy(self.text(given.instruction)[0])[None]
        camera = torch.cat(cameras_of, 1).transpose(0, 1)[None]
        s = torch.linspace(1, 0, config.sampler.denoising_steps + 1, dtype=torch.float64)
        levels = (5 * s / (1 + 4 * s)).float()
        for level, after in zip(levels[:-1], levels[1:]):
            self._restore(x, segments)
            x = x + (after - level) * self.transformer(x, 1000 * level[None], camera, text)
        self._restore(x, segments)
        parts = dict(zip([(k, v) for k, v, _, _ in segments], x[0].split([n for _, _, n, _ in segments], 1)))
        return [[parts[kind, v] for v in range(V)] if (kind, 0) in parts else None for kind in ("action", "video")]

    @staticmethod
    def _restore(x, segments):
        at = 0
        for _, _, frames, clean in segments:
            x[0, :, at:at + clean.shape[1]] = clean
            at += frames


@pytest.fixture(scope="module")
def hands(directories):
    return {name: ByHand(directory) for name, directory in directories.items()}


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("name", ["pixels", "latents"])
def test_every_mode_is_the_method_done_by_hand(pipelines, hands, name, mode):
    pipeline, T = pipelines[name], pipelines[name].config.chunk_size
    given = given_for(pipeline, mode, poses=T - 2 if mode in (Mode.JOINT, Mode.POLICY) else 1)
    made = run(pipeline, mode, given)
    by_hand = hands[name]
    action, video = by_hand.run(mode, given, 3)
    clean = 1 + (T - 3 if name == "pixels" else 4 * ((T - 3) // 4)) if len(given.base_T_tcps) > 1 else 1
    if mode is Mode.VIDEO:
        assert made.action_images is None
    else:
        compare(made.action_images, [by_hand.decode(x) for x in action], T if mode is Mode.WORLD else clean)
    if mode is Mode.POLICY:
        assert made.video is None
    else:
        compare(made.video, [by_hand.decode(x) for x in video], T if mode is Mode.LABEL else 1)


def compare(made, expected, given_frames):
    """Generated frames: the same to rounding. The given ones come back as given and are compared elsewhere."""
    expected = np.stack(expected, 1)
    assert made.shape == expected.shape and made.dtype == np.uint8
    if given_frames < len(made):
        assert made[given_frames:].std() > 5
        assert np.abs(made[given_frames:].astype(int) - expected[given_frames:]).max() <= 1


@pytest.mark.parametrize("name", ["pixels", "latents"])
def test_what_is_given_comes_back_as_it_was_given(pipelines, name):
    pipeline = pipelines[name]
    T, cameras = pipeline.config.chunk_size, pipeline.action_cameras(CAMERAS)
    drawn = encode(poses_along(T), np.ones(T), cameras)
    label = given_for(pipeline, Mode.LABEL)
    np.testing.assert_array_equal(run(pipeline, Mode.LABEL, label).video, label.video)
    world = run(pipeline, Mode.WORLD)
    np.testing.assert_array_equal(world.action_images, drawn)
    np.testing.assert_array_equal(world.video[:1], given_for(pipeline, Mode.WORLD).video)
    joint = run(pipeline, Mode.JOINT, given_for(pipeline, Mode.JOINT, poses=T - 1))
    clean = T - 1 if name == "pixels" else T - 4
    np.testing.assert_array_equal(joint.action_images[:clean], drawn[:clean])
    assert (joint.action_images[clean:] != drawn[clean:]).any(axis=(1, 2, 3, 4)).all()


def test_committed_poses_count_when_they_fill_a_latent_frame(pipelines):
    pipeline = pipelines["latents"]
    made = [run(pipeline, Mode.POLICY, given_for(pipeline, Mode.POLICY, poses=k)).action_images for k in (1, 4, 5, 8)]
    np.testing.assert_array_equal(made[0], made[1])  # 4 poses: one latent frame and a part
    np.testing.assert_array_equal(made[2], made[3])  # 5 to 8: two latent frames
    assert (made[0][5:] != made[2][5:]).mean() > 0.2  # the rest of the chunk takes note of them
    with pytest.raises(ModelError, match="committed_frames is 2; legal: 0 to 1"):
        run(pipeline, Mode.POLICY, given_for(pipeline, Mode.POLICY, poses=9))


@pytest.mark.parametrize("name", ["pixels", "latents"])
def test_instruction_cameras_observation_and_seed_all_show_in_the_chunk(pipelines, name):
    pipeline = pipelines[name]
    base = run(pipeline, Mode.POLICY).action_images
    given = given_for(pipeline, Mode.POLICY)
    dark = dataclasses.replace(given, video=given.video // 2)
    moved = PinholeCamera(CAMERAS[1].K, CAMERAS[1].image_size, poses_along(1)[0] @ CAMERAS[1].base_T_camera)
    changed = {
        "instruction": run(pipeline, Mode.POLICY, dataclasses.replace(given, instruction="reach the blue ball")),
        "observation": run(pipeline, Mode.POLICY, dark),
        "cameras": run(pipeline, Mode.POLICY, given, (CAMERAS[0], moved)),
        "seed": run(pipeline, Mode.POLICY, seed=4),
    }
    for what, made in changed.items():
        assert (made.action_images[1:] != base[1:]).mean() > 0.01, what
    np.testing.assert_array_equal(run(pipeline, Mode.POLICY).action_images, base)


class Counting(WanActionTransformer):
    """The real transformer; how often it did what need not be done for every chunk."""

    def precompute(self, *args):
        self.precomputed = getattr(self, "precomputed", 0) + 1
        return super().precompute(*args)

    def modulate(self, timestep):
        self.modulated = getattr(self, "modulated", 0) + 1
        return super().modulate(timestep)


def counting_pipeline(config, directory):
    denoiser = load_denoiser(directory, config)
    denoiser.transformer.__class__ = Counting
    return Pipeline.from_directory(directory, config, TorchEager(denoiser)), denoiser


def test_conditions_are_computed_once_a_calibration_and_instruction(directories):
    pipeline, denoiser = counting_pipeline(PIXELS, directories["pixels"])
    counts = lambda: (denoiser.transformer.precomputed, denoiser.transformer.modulated)  # noqa: E731
    first = run(pipeline, Mode.POLICY).action_images
    assert counts() == (1, PIXELS.sampler.denoising_steps)
    same = tuple(PinholeCamera(c.K.copy(), c.image_size, c.base_T_camera.copy()) for c in CAMERAS)
    run(pipeline, Mode.POLICY, cameras=same, seed=9)
    assert counts() == (1, PIXELS.sampler.denoising_steps)
    run(pipeline, Mode.JOINT)  # other segments, the same noise levels
    assert counts() == (2, PIXELS.sampler.denoising_steps)
    run(pipeline, Mode.POLICY, dataclasses.replace(given_for(pipeline, Mode.POLICY), instruction="now"))
    assert counts() == (3, PIXELS.sampler.denoising_steps)
    np.testing.assert_array_equal(run(pipeline, Mode.POLICY).action_images, first)
    assert counts() == (3, PIXELS.sampler.denoising_steps)


def test_new_weights_are_never_mixed_with_old_conditions(directories):
    pipeline, denoiser = counting_pipeline(PIXELS, directories["pixels"])
    run(pipeline, Mode.POLICY)
    state = {k: v * 1.3 for k, v in denoiser.state_dict().items()}
    denoiser.load_state_dict(state)
    made = run(pipeline, Mode.POLICY).action_images
    assert denoiser.transformer.precomputed == 2
    fresh, other = counting_pipeline(PIXELS, directories["pixels"])
    other.load_state_dict(state)
    np.testing.assert_array_equal(run(fresh, Mode.POLICY).action_images, made)


def test_guidance_moves_away_from_no_instruction_and_caches_both(directories):
    def made(scale, instruction=INSTRUCTION):
        config = dataclasses.replace(PIXELS, sampler=dataclasses.replace(PIXELS.sampler, guidance_scale=scale))
        pipeline, denoiser = counting_pipeline(config, directories["pixels"])
        given = dataclasses.replace(given_for(pipeline, Mode.POLICY), instruction=instruction)
        return run(pipeline, Mode.POLICY, given).action_images.astype(int), denoiser.transformer.precomputed

    plain, once = made(1.0)
    guided, twice = made(1.5)
    assert (once, twice) == (1, 2)
    assert np.abs(guided - plain).mean() > 0.05


@pytest.mark.parametrize("name", ["pixels", "latents"])
def test_policy_from_a_directory_gives_stamped_chunks_in_every_mode(directories, name):
    policy = ActionImagePolicy.from_pretrained(directories[name], options=EngineOptions(threads=1))
    T = policy.config.chunk_size
    sets = [SyncedFrames(("left", "right"), tuple(p), CAMERAS, (7_000_000,) * 2) for p in Pictures.random(T).images]
    committed = ActionChunk.from_poses(poses_along(T)[1:], np.ones(T - 1), 7_000_000, policy.config.dt_s)
    chunk = policy.infer(sets[0], poses_along(1)[0], 1.0, INSTRUCTION, committed)
    assert policy.engine == "torch" and len(chunk) == T and chunk.stamp_ns == 7_000_000
    clean = T - 1 if name == "pixels" else T - 4  # steps that were given to the model decode to what they were
    assert chunk.credible[:clean].all() and not chunk.credible[clean:].any()
    assert np.linalg.norm(chunk.base_T_tcps[:clean, :3, 3] - poses_along(T)[:clean, :3, 3], axis=-1).max() < 2e-3
    for mode in Mode:
        poses = poses_along(T if mode is Mode.WORLD else 1)
        seen = sets if mode is Mode.LABEL else sets[:1]
        made = policy.generate_mode(mode, seen, poses, np.ones(len(poses)), INSTRUCTION)
        assert (made.chunk is None) == (made.action_images is None) == (mode is Mode.VIDEO)
        assert (made.video is None) == (mode is Mode.POLICY)


class CountedCodec:
    """Videos that pass through a frame codec, by direction, with their frames."""

    def __init__(self, codec):
        self.codec, self.encoded, self.decoded = codec, [], []

    def encode(self, images):
        self.encoded += [images.shape[-4]] * (images.size // images[0].size)
        return self.codec.encode(images)

    def encode_signal(self, signal):
        self.encoded.append("rays")
        return self.codec.encode_signal(signal)

    def decode(self, latents):
        self.decoded += [latents.shape[-4]] * len(latents)
        return self.codec.decode(latents)


@pytest.mark.parametrize(("mode", "encoded", "decoded"), [
    (Mode.POLICY, [1, 1, 1, 1], [3, 3]), (Mode.JOINT, [1, 1, 1, 1], [3] * 4), (Mode.VIDEO, [1, 1, 1, 1], [3, 3]),
    (Mode.WORLD, [1, 1, 9, 9], [3, 3]), (Mode.LABEL, [9, 9, 1, 1], [3, 3])])
def test_only_what_is_needed_goes_through_the_vae(pipelines, directories, mode, encoded, decoded):
    """Given: first frames, or whole given segments. Generated: whole segments that the mode makes. Cameras: once."""
    pipeline = Pipeline.from_directory(directories["latents"], LATENTS, pipelines["latents"].denoiser)
    counted = CountedCodec(pipeline.codecs.video)
    pipeline.codecs = pipeline.conditioner.codecs = FrameCodecs(counted, counted)
    run(pipeline, mode)
    assert counted.encoded.count("rays") > 0
    counted.encoded.clear(), counted.decoded.clear()
    run(pipeline, mode, seed=4)
    assert sorted(counted.encoded) == sorted(encoded) and counted.decoded == decoded


def test_requests_that_do_not_fit_are_named(pipelines):
    pipeline = pipelines["pixels"]
    with pytest.raises(ModelError, match="2 views; got 1"):
        run(pipeline, Mode.POLICY, cameras=CAMERAS[:1])
    with pytest.raises(ModelError, match="mode label needs 5 video frames"):
        run(pipeline, Mode.LABEL, given_for(pipeline, Mode.POLICY))
    with pytest.raises(ModelError, match="mode world needs 1 video frames and 5 to 5 poses"):
        run(pipeline, Mode.WORLD, given_for(pipeline, Mode.POLICY))
    with pytest.raises(ModelError, match="instruction is empty"):
        run(pipeline, Mode.POLICY, given_for(pipeline, Mode.POLICY, instruction=" "))
    with pytest.raises(ModelError, match="at most 6: shorten"):
        run(pipeline, Mode.POLICY, given_for(pipeline, Mode.POLICY, instruction="reach the red ball " * 4))
    policy_only = dataclasses.replace(PIXELS, modes=("policy",))
    with pytest.raises(ModelError, match="not trained for mode 'joint'; legal: policy"):
        run(Pipeline(policy_only, pipeline.denoiser), Mode.JOINT)


def test_directories_that_are_not_whole_are_named(directories, tmp_path):
    for part in ("transformer", "vae", "text_encoder", "tokenizer"):
        broken = tmp_path / part
        shutil.copytree(directories["latents"], broken)
        shutil.rmtree(broken / part)
        with pytest.raises(ModelError, match=f"has no {part}/"):
            ActionImagePolicy.from_pretrained(broken, options=EngineOptions(threads=1))
    with pytest.raises(ModelError, match="give the directory"):
        make_frame_codecs(LATENTS)
    with pytest.raises(ModelError, match="give the directory"):
        make_text_encoder(LATENTS.text)


@pytest.mark.parametrize(("section", "key", "value", "message"), [
    ("wan", "dim", 48, "dim is 24, config.json says 48"),
    ("wan", "ray_convention", "project", "ray_convention is release, config.json says project"),
    ("text", "width", 24, "text_dim is 16, config.json says 24"),
])
def test_a_config_of_another_transformer_is_refused(directories, tmp_path, section, key, value, message):
    shutil.copytree(directories["latents"] / "transformer", tmp_path / "transformer")
    raw = json.loads(LATENTS.to_json())
    raw[section][key] = value
    (tmp_path / "config.json").write_text(json.dumps(raw))
    with pytest.raises(ModelError, match=message):
        load_denoiser(tmp_path, ModelConfig.load(tmp_path))
