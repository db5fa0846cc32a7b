"""config.json: what is written is read, and nothing else is."""

import json

import pytest

from action_images_ros.codec import ActionEncoding
from action_images_ros.errors import ActionImagesError, ModelError
from action_images_ros.model.config import ConvCanvasConfig, ModelConfig, SamplerConfig, TextConfig

OTHER = ModelConfig(views=3, chunk_size=5, dt_s=0.25, image_size=(64, 64), action_size=(32, 32), modes=("policy",),
                    ray_frame="first_view",
                    encoding=ActionEncoding(axis_length_m=0.07, green_axis="-x", blue_axis="+z"),
                    text=TextConfig(max_tokens=9), conv_canvas=ConvCanvasConfig(width=64, heads=2),
                    sampler=SamplerConfig(7, 3.0, by_mode={"label": 9}))


@pytest.mark.parametrize("config", [ModelConfig(), OTHER])
def test_saved_configuration_is_loaded_again(config, tmp_path):
    config.save(tmp_path)
    assert ModelConfig.load(tmp_path) == config


def edited(tmp_path, change):
    raw = json.loads(ModelConfig().to_json())
    change(raw)
    (tmp_path / "config.json").write_text(json.dumps(raw))
    return tmp_path


@pytest.mark.parametrize(("change", "message"), [
    (lambda c: c.update(chunk=9), "unknown key 'chunk'; legal: .*chunk_size"),
    (lambda c: c["sampler"].update(steps=3), "sampler: unknown key 'steps'; legal: .*denoising_steps, .*shift"),
    (lambda c: c.update(format_version=2), "format_version is 2; this version reads 1"),
    (lambda c: c.update(denoiser="unet"), "denoiser is 'unet'; legal: conv_canvas, wan"),
    (lambda c: c.update(frame_codec="jpeg"), "frame_codec is 'jpeg'; legal: pixels, wan_vae"),
    (lambda c: c.update(ray_frame="world"), "ray_frame is 'world'; legal: base, first_view"),
    (lambda c: c["text"].update(encoder="bert"), "text.encoder is 'bert'; legal: .*wordllama_256"),
    (lambda c: c["encoding"].update(blue_axis="-x"), "must be perpendicular"),
    (lambda c: c["conv_canvas"].update(heads=5), "must be a multiple of heads 5"),
    (lambda c: c.update(views=1), "views 1"),
    (lambda c: c.update(dt_s=0.0), "dt_s 0.0"),
    (lambda c: c.update(image_size=[100, 100]), "must be a whole multiple of action_size"),
    (lambda c: c.update(text=["wordllama_256"]), "text: expected an object, got list"),
    (lambda c: c.update(views="two"), "config.json"),
])
def test_configuration_that_does_not_fit_names_what_is_wrong(change, message, tmp_path):
    with pytest.raises(ActionImagesError, match=message):
        ModelConfig.load(edited(tmp_path, change))


def test_directory_without_configuration_says_how_to_get_one(tmp_path):
    with pytest.raises(ModelError, match="no config.json.*action-images train"):
        ModelConfig.load(tmp_path)


def test_truncated_configuration_is_refused(tmp_path):
    (tmp_path / "config.json").write_text(ModelConfig().to_json()[:100])
    with pytest.raises(ModelError, match="not valid JSON"):
        ModelConfig.load(tmp_path)


@pytest.mark.parametrize("by_mode", [{"fly": 1}, {"label": 0}, {"label": 1.5}, [2]])
def test_senseless_steps_of_a_mode_are_refused(tmp_path, by_mode):
    with pytest.raises(ModelError, match="mode"):
        ModelConfig.load(edited(tmp_path, lambda raw: raw["sampler"].update(by_mode=by_mode)))
