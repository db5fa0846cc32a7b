"""Every folder of tests may hold helper modules, imported by name; property tests repeat themselves in CI."""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

HERE = Path(__file__).resolve().parent


def _helpers() -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in sorted(HERE.rglob("*.py")):
        if path.name.startswith("test_") or path.name == "conftest.py":
            continue
        if path.stem in found:
            raise pytest.UsageError(f"{path} and {found[path.stem]} have one name; rename one")
        found[path.stem] = path
    return found


for folder in {path.parent for path in _helpers().values()}:
    sys.path.append(str(folder))

# examples take as long as the machine is busy; CI tries the same examples every time, a developer new ones
settings.register_profile("developer", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "developer")
