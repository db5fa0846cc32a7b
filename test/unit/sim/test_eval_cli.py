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
    config = ModelConfig(conv_canvas=ConvCanvasConfig(width=32, channels=16, blocks=1, heads=2), continued_steps=3)
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
    assert report["committed_steps"] == 3
    assert [p.name for p in tmp_path.glob("*.mp4")] == ["failure_closed_loop_0000.mp4"]
    assert run(*common, "--open-loop", "--committed-steps", 1) == 0
    assert json.loads((tmp_path / "eval.json").read_text())["committed_steps"] == 1
    table = capsys.readouterr().out
    assert "open_loop" in table and "0/1" in table and "replay" not in table


def test_an_unknown_column_names_the_legal_ones(model):
    with pytest.raises(SimError, match="closed_loop"):
        run("--model", model, "--columns", "best_loop")


def test_two_models_meet_on_the_same_episodes_of_a_given_cell(model, tmp_path, capsys):
    """An untrained model against itself: episode by episode the same, and the cameras are those of the cell file."""
    from pathlib import Path

    cell = Path(__file__).resolve().parents[3] / "config" / "cell.yaml"
    common = ("--model", model, "--engine", "torch", "--episodes", 2, "--timeout", 2, "--cell", cell)
    assert run(*common, "--against", model, "--columns", "closed_loop", "replay", "--out", tmp_path) == 0
    text = capsys.readouterr().out
    report = json.loads((tmp_path / "eval.json").read_text())
    assert report["cell"] == str(cell) and list(report["paired"]) == ["closed_loop"]
    assert report["paired"]["closed_loop"] == {
        "both": 0, "first_only": 0, "second_only": 0, "neither": 2, "difference": 0.0,
        "interval_95": pytest.approx([-0.658, 0.658], abs=0.001), "mcnemar_p": 1.0}
    keys = ("instruction", "outcome", "final_distance_m")
    one, other = ([{k: e[k] for k in keys} for e in r["episodes"]] for r in (report, report["against"]))
    assert one == other
    assert "McNemar" in text and "p" in text.splitlines()[-2]


def test_a_comparison_counts_who_won_where():
    def report(outcomes):
        return {"columns": {"closed_loop": {}, "replay": {}},
                "episodes": [{"column": c, "outcome": o} for o in outcomes for c in ("closed_loop", "replay")]}

    won, lost = "success", "failure"
    paired = eval_cli.compare(report([won] * 12 + [lost] * 4), report([won] * 2 + [lost] * 14))["closed_loop"]
    assert (paired["both"], paired["first_only"], paired["second_only"], paired["neither"]) == (2, 10, 0, 4)
    assert paired["difference"] == 0.625 and paired["mcnemar_p"] == pytest.approx(2 / 2**10)
