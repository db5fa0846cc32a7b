"""Published checkpoints in, our layout out: exact, complete, and nothing dropped in silence."""

import json
import pickle

import pytest
import torch
from instances import SMALL, random_inputs, random_model
from safetensors.torch import load_file, save_file

from action_images_ros.errors import ModelError
from action_images_ros.model.wan.convert import CheckpointKind, convert
from action_images_ros.model.wan.load import load_transformer
from action_images_ros.model.wan.naming import NamingStyle
from action_images_ros.model.wan.rays import RayConvention


@pytest.fixture
def weights(model):
    return {k: v.clone() for k, v in model.state_dict().items()}


def plain(weights):
    return {k: v for k, v in weights.items() if ".cam_encoder." not in k and ".projector." not in k}


def test_released_torch_file_keeps_every_weight_and_its_convention(tmp_path, model, weights):
    wrapped = {"model": {f"pipe.dit.{k}": v for k, v in weights.items()}, "optimizer": {"lr": 0.1}, "step": 7}
    torch.save(wrapped, tmp_path / "release.pt")
    shards = []
    report = convert(tmp_path / "release.pt", tmp_path / "out", heads=2, shard_bytes=300_000,
                     on_shard=lambda done, total: shards.append((done, total)))
    assert (report.kind, report.style) == (CheckpointKind.RELEASED, NamingStyle.ORIGINAL)
    assert report.tensors_read == len(weights) and report.tensors_created == 0
    assert report.parameters == sum(v.numel() for v in weights.values())
    assert report.left_out == ("optimizer", "step")
    assert report.shards > 2 and shards == [(i + 1, report.shards) for i in range(report.shards)]
    loaded = load_transformer(tmp_path / "out")
    assert loaded.ray_convention is report.ray_convention is RayConvention.RELEASE
    assert {k: v.tolist() for k, v in loaded.state_dict().items()} == {k: v.tolist() for k, v in weights.items()}
    assert torch.equal(loaded(*random_inputs()), model(*random_inputs()))


def test_no_file_holds_more_than_one_shard(tmp_path, weights):
    torch.save(weights, tmp_path / "release.pt")
    convert(tmp_path / "release.pt", tmp_path / "out", heads=2, shard_bytes=300_000)
    largest_tensor = max(v.nbytes for v in weights.values())
    sizes = [sum(v.nbytes for v in load_file(p).values()) for p in (tmp_path / "out").glob("*.safetensors")]
    assert max(sizes) <= max(300_000, largest_tensor)
    assert sum(sizes) == sum(v.nbytes for v in weights.values())


def test_plain_checkpoint_starts_with_cameras_that_change_nothing(tmp_path, weights):
    save_file(plain(weights), tmp_path / "wan.safetensors")
    report = convert(tmp_path / "wan.safetensors", tmp_path / "out", heads=2)
    assert report.kind is CheckpointKind.PLAIN and report.tensors_created == 4 * SMALL["num_layers"]
    loaded = load_transformer(tmp_path / "out")
    assert loaded.ray_convention is RayConvention.PROJECT
    assert loaded.blocks[1].cam_encoder[2].weight.abs().max() == 0
    assert torch.equal(loaded.blocks[1].projector.weight, torch.eye(SMALL["dim"]))
    latents, t, camera, text = random_inputs()
    assert torch.equal(loaded(latents, t, camera, text), loaded(latents, t, 0 * camera, text))


def test_sharded_folder_with_its_config_tells_the_heads(tmp_path, weights):
    names = sorted(weights)
    parts = {"a.safetensors": names[::2], "b.safetensors": names[1::2]}
    for file, held in parts.items():
        save_file({n: weights[n] for n in held}, tmp_path / file)
    index = {"weight_map": {n: file for file, held in parts.items() for n in held}}
    (tmp_path / "wan.safetensors.index.json").write_text(json.dumps(index))
    (tmp_path / "config.json").write_text(json.dumps({"dim": 40, "num_heads": 4, "eps": 1e-5}))
    report = convert(tmp_path, tmp_path / "out", RayConvention.PROJECT)
    assert report.config["num_heads"] == 4 and report.config["eps"] == 1e-5
    assert report.ray_convention is RayConvention.PROJECT
    (tmp_path / "b.safetensors").unlink()
    with pytest.raises(ModelError, match="truncated or missing"):
        convert(tmp_path, tmp_path / "out2")


def test_narrower_dtype_spares_the_time_path(tmp_path, weights):
    save_file(weights, tmp_path / "wan.safetensors")
    convert(tmp_path / "wan.safetensors", tmp_path / "out", heads=2, dtype=torch.bfloat16)
    stored = load_file(tmp_path / "out" / "diffusion_pytorch_model.safetensors")
    assert stored["blocks.0.ffn.0.weight"].dtype == torch.bfloat16
    assert stored["blocks.0.modulation"].dtype == stored["time_embedding.0.weight"].dtype == torch.float32
    loaded = load_transformer(tmp_path / "out", torch.bfloat16)
    assert loaded.blocks[0].ffn[0].weight.dtype == torch.bfloat16


def test_every_unknown_missing_and_misshapen_tensor_is_named_and_nothing_is_left(tmp_path, weights):
    weights["blocks.0.img_attn.q.weight"] = torch.zeros(3)
    del weights["blocks.1.cross_attn.norm_q.weight"], weights["blocks.0.projector.bias"]
    weights["text_embedding.2.weight"] = torch.zeros(40, 41)
    save_file(weights, tmp_path / "wan.safetensors")
    with pytest.raises(ModelError) as error:
        convert(tmp_path / "wan.safetensors", tmp_path / "out", heads=2)
    for text in ("unknown tensors 1: blocks.0.img_attn.q.weight",
                 "missing tensors 2: blocks.0.projector.bias, blocks.1.cross_attn.norm_q.weight",
                 "text_embedding.2.weight is (40, 41), expected (40, 40)"):
        assert text in str(error.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["wan.safetensors"]


def test_weights_of_other_networks_beside_the_transformer_are_named(tmp_path, weights):
    stored = {f"dit.{k}": v for k, v in weights.items()}
    stored["vae.encoder.conv1.weight"] = torch.zeros(2)
    save_file(stored, tmp_path / "all.safetensors")
    with pytest.raises(ModelError, match=r"named dit\.\*; these are not: vae\.encoder\.conv1\.weight"):
        convert(tmp_path / "all.safetensors", tmp_path / "out", heads=2)


def test_heads_are_never_guessed(tmp_path, weights):
    save_file(weights, tmp_path / "wan.safetensors")
    with pytest.raises(ModelError, match="heads is not in the weights"):
        convert(tmp_path / "wan.safetensors", tmp_path / "out")
    (tmp_path / "config.json").write_text(json.dumps({"num_attention_heads": 2, "attention_head_dim": 64}))
    with pytest.raises(ModelError, match="belongs to another model"):
        convert(tmp_path / "wan.safetensors", tmp_path / "out")


def test_two_sets_of_weights_need_a_choice(tmp_path, weights):
    doubled = {k: 2 * v for k, v in weights.items()}
    torch.save({"model": weights, "ema": doubled}, tmp_path / "both.pt")
    with pytest.raises(ModelError, match=r"2 sets of weights \(model, ema\)"):
        convert(tmp_path / "both.pt", tmp_path / "out", heads=2)
    report = convert(tmp_path / "both.pt", tmp_path / "out", heads=2, section="ema")
    assert report.left_out == ("model",)
    assert torch.equal(load_transformer(tmp_path / "out").head.modulation, doubled["head.modulation"])


class Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_a_torch_file_that_would_run_code_is_refused_unrun(tmp_path, weights):
    torch.save({"model": weights, "x": Payload(str(tmp_path / "ran"))}, tmp_path / "evil.pt")
    with pytest.raises(ModelError, match="not a plain torch checkpoint"):
        convert(tmp_path / "evil.pt", tmp_path / "out", heads=2)
    assert not (tmp_path / "ran").exists() and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["cut.pt", "cut.safetensors"])
def test_truncated_files_are_refused(tmp_path, weights, name):
    path = tmp_path / name
    (torch.save if path.suffix == ".pt" else save_file)(weights, path)
    path.write_bytes(path.read_bytes()[:-5000])
    with pytest.raises(ModelError, match="truncated"):
        convert(path, tmp_path / "out", heads=2)


def test_other_files_and_old_pickles_are_refused(tmp_path, weights):
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(ModelError, match=r"ends in '\.txt'; legal: \.safetensors"):
        convert(tmp_path / "notes.txt", tmp_path / "out")
    with pytest.raises(ModelError, match="does not exist"):
        convert(tmp_path / "nothing.pt", tmp_path / "out")
    (tmp_path / "old.pt").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ModelError, match=r"old\.pt"):
        convert(tmp_path / "old.pt", tmp_path / "out")
    torch.save({k: v.to(torch.float8_e4m3fn) for k, v in weights.items()}, tmp_path / "fp8.pt")
    with pytest.raises(ModelError, match="unquantised"):
        convert(tmp_path / "fp8.pt", tmp_path / "out")


def test_damaged_values_and_existing_targets_are_refused(tmp_path, weights):
    weights["blocks.1.ffn.2.weight"][3, 4] = float("nan")
    save_file(weights, tmp_path / "wan.safetensors")
    with pytest.raises(ModelError, match=r"NaN or infinity in blocks\.1\.ffn\.2\.weight"):
        convert(tmp_path / "wan.safetensors", tmp_path / "out", heads=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["wan.safetensors"]
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelError, match="exists already"):
        convert(tmp_path / "wan.safetensors", tmp_path / "out", heads=2)


@pytest.fixture
def folder(tmp_path):
    random_model().save_pretrained(tmp_path)
    return tmp_path


def edit(folder, change):
    path = folder / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)


@pytest.mark.parametrize("change", [
    lambda w: w.pop("blocks.0.projector.bias"),
    lambda w: w.update({"blocks.0.projector.bias": torch.zeros(3)}),
    lambda w: w.update({"blocks.0.projector.bias": torch.full((40,), float("inf"))}),
], ids=["missing", "shape", "infinite"])
def test_loading_refuses_what_diffusers_would_let_pass(folder, change):
    edit(folder, change)
    with pytest.raises(ModelError, match=r"blocks\.0\.projector\.bias"):
        load_transformer(folder)


def test_loading_refuses_leftovers_and_foreign_configs(folder):
    edit(folder, lambda w: w.update({"blocks.0.extra": torch.zeros(3)}))
    with pytest.raises(ModelError, match=r"blocks\.0\.extra"):
        load_transformer(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "heads": 3}))
    with pytest.raises(ModelError, match="unknown key heads; legal: .*num_heads"):
        load_transformer(folder)
    (folder / "config.json").write_text(json.dumps({"_class_name": "WanTransformer3DModel"}))
    with pytest.raises(ModelError, match="has to go through"):
        load_transformer(folder)
