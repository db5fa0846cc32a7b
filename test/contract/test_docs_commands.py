"""What README and docs tell people to type: each is a command that exists, with arguments that it takes.

`action-images` commands go through the real argument parsers, launch arguments through the graphs' own checks.
"""

import importlib
import re
import shlex
from pathlib import Path

import pytest

from action_images_ros import cli
from action_images_ros.errors import ActionImagesError
from action_images_ros.ros.graph import GRAPHS, read_arguments

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("models/**/*.md"), *ROOT.glob("*.md")])
PROGRAM = re.compile(r"(\./run|action-images|ros2 (launch|run) action_images_ros)(?= |$)")
PLACEHOLDER = re.compile(r"\.\.\.?(?= |$)|…|<[^>]*>|\b(NAME|SUBCOMMAND|PROFILE|ARGS)\b")


def commands() -> list[tuple[str, str]]:
    """(page, command) of every line of code and every span of code; prose around a span is not part of it."""
    found = []
    for page in dict.fromkeys(PAGES):
        for line in re.sub(r"\\\n\s*", "", page.read_text(encoding="utf-8")).splitlines():
            spans = re.findall(r"`([^`]+)`", line) if not line.startswith("    ") else [line.split("  #")[0]]
            if not spans and not line.startswith(("|", "#")):
                spans = [line.split("  #")[0]]
            for span in spans:
                text = span.strip().removeprefix("$ ")
                if PROGRAM.match(text):
                    found.append((str(page.relative_to(ROOT)), text))
    return list(dict.fromkeys(found))


COMMANDS = commands()


def parse_cli(words: list[str]) -> None:
    parser, subparsers = cli._root_parser()
    known = set(cli.subcommands())
    name = words[0]
    assert name in known, f"there is no subcommand {name}; there are {', '.join(sorted(known))}"
    module = importlib.import_module(f"action_images_ros.cli.{name}")
    module.add_arguments(subparsers[name])
    parser.parse_args(words)
    if name == "bench" and len(words) > 1:
        benchmark, own = importlib.import_module(f"action_images_ros.bench.{words[1]}"), cli.OneLineParser()
        benchmark.add_arguments(own)
        own.parse_args(words[2:])
    if name == "up":
        arguments = dict(word.split(":=", 1) for word in words[2:] if ":=" in word)
        read_arguments(GRAPHS[words[1]][0], arguments)


def check_launch(file: str, given: list[str]) -> None:
    path = ROOT / "launch" / file
    assert path.is_file(), f"there is no launch/{file}"
    built_by = re.search(r"import \w+, (\w+_graph)", path.read_text()).group(1)
    arguments = next(arguments for arguments, build in GRAPHS.values() if build.__name__ == built_by)
    read_arguments(arguments, dict(word.split(":=", 1) for word in given))


def check_run(words: list[str]) -> None:
    legal = re.findall(r"^        (\w+)\) .*(?:ensure|exec)", (ROOT / "run").read_text(), re.MULTILINE) + ["cli"]
    assert words[0] in legal, f"./run has no {words[0]}; it has {', '.join(legal)}"
    if words[0] == "demo":
        parse_cli(words)
    elif words[0] == "cli" and len(words) > 1:
        parse_cli(words[1:])


def check(text: str) -> None:
    """Raise unless `text` is a command that is accepted; a program's bare name is a mention, not a command."""
    words = shlex.split(text)
    if words[0] == "ros2" and words[1] == "launch":
        check_launch(words[3], [word for word in words[4:] if ":=" in word])
    elif words[0] == "ros2":
        assert (ROOT / f"action_images_ros/nodes/{words[3]}.py").is_file(), f"there is no node {words[3]}"
    elif words[0] == "./run":
        check_run(words[1:] or ["shell"])
    elif len(words) > 2:
        parse_cli(words[1:])
    elif len(words) == 2 and not words[1].startswith("-"):
        assert words[1] in cli.subcommands(), f"there is no subcommand {words[1]}"


def test_there_are_commands_to_check():
    assert len(COMMANDS) > 30


@pytest.mark.parametrize("page, text", COMMANDS, ids=[f"{page}: {text[:60]}" for page, text in COMMANDS])
def test_a_command_in_the_docs_is_one_that_exists(page, text):
    pattern = PLACEHOLDER.search(text)
    if pattern:  # its beginning must be right all the same
        words = shlex.split(text[:pattern.start()].rsplit(" ", 1)[0])
        text = " ".join(["action-images", words[2]] if words[:2] == ["./run", "cli"] and len(words) > 2
                        else words[:2] if words[0] == "action-images" else words)
    try:
        check(text)
    except SystemExit as e:
        assert not e.code, f"{page}: {text!r} is not accepted"
    except ActionImagesError as e:
        pytest.fail(f"{page}: {text!r}: {e}")
