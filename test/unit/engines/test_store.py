"""Engine files are code: run only from where nobody else writes, unchanged, for this model and machine, verified."""

import hashlib
import json
import os
from dataclasses import replace

import pytest
from engine_models import CONFIG, write_model

from action_images_ros.engines import EngineOptions, Precision
from action_images_ros.engines.manifest import config_sha256
from action_images_ros.engines.store import (
    EngineManifest,
    Plan,
    folder_of,
    make_root,
    model_fingerprint,
    read_plan,
    require_match,
    trusted_root,
)
from action_images_ros.errors import EngineError

PLAN = b"what a builder wrote"
HERE = {"tensorrt": "11.4.0", "gpu": "NVIDIA RTX 4090", "capability": 89, "driver": "580.1"}
MANIFEST = EngineManifest("tensorrt", "bf16", "m" * 64, config_sha256(CONFIG), HERE,
                          (Plan(1, 4, "a.plan", hashlib.sha256(PLAN).hexdigest()),), checks={"cosine": 0.9999})


@pytest.fixture
def stored(tmp_path):
    """(root, folder) with one whole engine."""
    root = tmp_path / "engines"
    make_root(root)
    folder = folder_of(root, MANIFEST.model, MANIFEST.engine, Precision.BF16)
    folder.mkdir(parents=True, mode=0o700)
    for path in (folder, folder.parent):
        path.chmod(0o700)
    (folder / "a.plan").write_bytes(PLAN)
    (folder / "a.plan").chmod(0o600)
    MANIFEST.save(folder)
    return root, folder


def test_what_was_stored_comes_back(stored):
    root, folder = stored
    manifest = EngineManifest.load(folder)
    assert manifest == MANIFEST and read_plan(root, folder, manifest.plans[0]) == PLAN
    require_match(manifest, MANIFEST.model, CONFIG, HERE, "build")


@pytest.mark.parametrize("what", ["root", "folder", "file"])
def test_a_place_that_others_can_write_to_is_not_trusted(stored, what):
    root, folder = stored
    path = {"root": root, "folder": folder, "file": folder / "a.plan"}[what]
    path.chmod(0o777)
    with pytest.raises(EngineError, match="can be written to by others: an engine is code.*chmod go-w"):
        read_plan(root, folder, MANIFEST.plans[0])


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_not_trusted(stored):
    root, folder = stored
    os.chown(folder / "a.plan", 12345, 12345)
    with pytest.raises(EngineError, match="belongs to user 12345, not to you"):
        read_plan(root, folder, MANIFEST.plans[0])


def test_a_changed_missing_or_foreign_file_is_refused(stored, tmp_path):
    root, folder = stored
    (folder / "a.plan").write_bytes(PLAN + b"!")
    with pytest.raises(EngineError, match="changed or damaged after it was built"):
        read_plan(root, folder, MANIFEST.plans[0])
    (tmp_path / "elsewhere.plan").write_bytes(PLAN)
    (folder / "a.plan").unlink()
    with pytest.raises(EngineError, match="a.plan is missing"):
        read_plan(root, folder, MANIFEST.plans[0])
    (folder / "a.plan").symlink_to(tmp_path / "elsewhere.plan")
    with pytest.raises(EngineError, match="outside of the trusted directory"):
        read_plan(root, folder, MANIFEST.plans[0])


@pytest.mark.parametrize(("change", "message"), [
    ({"gpu": "NVIDIA H200"}, "built for gpu NVIDIA RTX 4090, here is NVIDIA H200"),
    ({"capability": 90}, "built for capability 89, here is 90"),
    ({"driver": "570.2"}, "built for driver 580.1, here is 570.2"),
    ({"tensorrt": "10.9.0"}, "built for tensorrt 11.4.0, here is 10.9.0"),
])
def test_an_engine_of_another_machine_is_refused_and_not_rebuilt(change, message):
    with pytest.raises(EngineError, match=f"{message}.*never rebuilt by itself: build it"):
        require_match(MANIFEST, MANIFEST.model, CONFIG, HERE | change, "build it")


def test_an_engine_for_several_gpus_serves_each_of_them_and_no_other():
    manifest = replace(MANIFEST, built_for={"capability": [86, 89]})
    require_match(manifest, MANIFEST.model, CONFIG, {"capability": 86}, "build it")
    with pytest.raises(EngineError, match="for capability 86 or 89, here is 90"):
        require_match(manifest, MANIFEST.model, CONFIG, {"capability": 90}, "build it")


def test_an_engine_of_another_model_is_refused():
    with pytest.raises(EngineError, match="built from other weights"):
        require_match(MANIFEST, "n" * 64, CONFIG, HERE, "build it")
    with pytest.raises(EngineError, match="built for another config.json"):
        require_match(MANIFEST, MANIFEST.model, replace(CONFIG, chunk_size=5), HERE, "build it")


@pytest.mark.parametrize(("checks", "message"), [({}, "never verified on a GPU: build it --verify-only"),
                                                 ({"cosine": 0.99}, "differs from torch: cosine 0.99"),
                                                 ({"cosine": float("nan")}, "differs from torch")])
def test_an_engine_that_was_not_verified_or_failed_is_refused(checks, message):
    with pytest.raises(EngineError, match=message):
        require_match(replace(MANIFEST, checks=checks), MANIFEST.model, CONFIG, HERE, "build it")


@pytest.mark.parametrize("change", [lambda m: m.pop("plans"), lambda m: m.update(plans=[]), lambda m: m.update(x=1),
                                    lambda m: m.update(format_version=2),
                                    lambda m: m["plans"][0].update(file="../../a.plan")])
def test_a_spoiled_manifest_is_one_clear_line(stored, change):
    _, folder = stored
    raw = json.loads((folder / "engine.json").read_text())
    change(raw)
    (folder / "engine.json").write_text(json.dumps(raw))
    with pytest.raises(EngineError, match="build the engine again") as caught:
        EngineManifest.load(folder)
    assert "\n" not in str(caught.value)


def test_the_fingerprint_is_of_the_weights(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = (model_fingerprint(write_model(tmp_path / name, seed=seed)) for name, seed in (("a", 0), ("b", 1)))
    assert one != other and one == model_fingerprint(write_model(tmp_path / "b", seed=0))


def test_where_engines_are_trusted(monkeypatch, tmp_path):
    monkeypatch.setenv("ACTION_IMAGES_ENGINES", str(tmp_path / "named"))
    assert trusted_root(EngineOptions()) == tmp_path / "named"
    assert trusted_root(EngineOptions(engine_dir=tmp_path)) == tmp_path
