"""`action-images eval` on a real, untrained model: everything but skill."""

import argparse
import json

import pytest

from action_images_ros.cli import eval as eval_cli
from action_images_ros.errors import SimError

torch = pytest.importorskip("torch")
pytest.importorskip("wordllama")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from safetensors.torch import save_file

    from action_images_ros.model.config import ConvCanvasConfig, ModelConfig
    from action_images_ros.model.small.conv_canvas import ConvCanvas

    directory = tmp_path_factory.mktemp("untrained")
    config = ModelConfig(conv_canvas=ConvCanvasConfig(width=32, channels=16, blocks=1, heads=2))
    config.save(directory)
    torch.set_num_threads(1)  # spinning worker threads are slow on a busy machine
    torch.manual_seed(0)
    save_file(ConvCanvas(config).state_dict(), directory / "model.safetensors")
    return directory


def run(*arguments):
    parser = argparse.ArgumentParser()
    eval_cli.add_arguments(parser)
    return eval_cli.run(parser.parse_args([str(a) for a in arguments]))


def test_report_table_and_videos_of_failures(model, tmp_path, capsys):
    common = ("--model", model, "--engine", "torch", "--episodes", 1, "--timeout", 3, "--seed", 4, "--out", tmp_path)
    assert run(*common, "--columns", "closed_loop", "replay", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["columns"]["closed_loop"]["successes"] == 0 and report["columns"]["replay"]["rate"] == 1.0
    assert report == json.loads((tmp_path / "eval.json").read_text())
    assert [p.name for p in tmp_path.glob("*.mp4")] == ["failure_closed_loop_0000.mp4"]
    assert run(*common, "--open-loop") == 0
    table = capsys.readouterr().out
    assert "open_loop" in table and "0/1" in table and "replay" not in table


def test_an_unknown_column_names_the_legal_ones(model):
    with pytest.raises(SimError, match="closed_loop"):
        run("--model", model, "--columns", "best_loop")
