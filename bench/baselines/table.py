"""What came out, as one table and one JSON file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

CAMERAS = {"train": "seen cameras", "test": "unseen cameras"}


def main() -> None:
    """OUT NAME=TRAINED.json ...: the judgements lie in OUT/NAME_train.json and OUT/NAME_test.json."""
    out, rows = Path(sys.argv[1]), []
    for name, _, trained in (argument.partition("=") for argument in sys.argv[2:]):
        facts = json.loads(Path(trained).read_text()) if trained else {}
        judged = {cameras: json.loads((out / f"{name}_{cameras}.json").read_text()) for cameras in CAMERAS}
        rows.append({"name": name, "trained": facts, **judged})
    for line in lines(rows):
        print(line)
    (out / "baselines.json").write_text(json.dumps(rows, indent=1) + "\n")


def lines(rows: list[dict]) -> list[str]:
    head = f"{'policy':12s} {'processor time':>15s} {'samples':>8s} {'held-out chunk ends':>22s}"
    made = [head + "".join(f" {title:>30s}" for title in CAMERAS.values())]
    for row in rows:
        facts = row["trained"]
        cost = f"{facts['processor_s'] / 60:11.1f} min" if facts else "much more"
        ends = f"{facts['val_first_mm']:4.0f} mm, {facts['val_first_hit']:4.0%} hit" if "val_first_mm" in facts else "-"
        made.append(f"{row['name']:12s} {cost:>15s} {facts.get('samples', '-'):>8} {ends:>22s}"
                    + "".join(f" {_rate(row[cameras]):>30s}" for cameras in CAMERAS))
    return made


def _rate(judged: dict) -> str:
    low, high = judged["wilson_95"]
    return (f"{judged['successes']}/{judged['n']} {judged['successes'] / judged['n']:.0%} ({low:.0%} to {high:.0%}) "
            f"{judged['median_final_distance_m'] * 1e3:.0f} mm")


if __name__ == "__main__":
    main()
