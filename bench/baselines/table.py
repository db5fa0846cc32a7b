"""What came out, as one table and one JSON file: OUT is the folder of bench/baselines.sh."""

from __future__ import annotations

import json
import sys
from pathlib import Path

CAMERAS = {"train": "seen cameras", "test": "unseen cameras"}
NAMES = ("act", "diffusion", "ours", "shipped")


def main() -> None:
    out, rows = Path(sys.argv[1]), []
    for name in NAMES:
        judged = {cameras: _read(out / f"{name}_{cameras}.json") for cameras in CAMERAS}
        rows.append({"name": name, "trained": _facts(out, name), "chunks": _read(out / f"{name}_chunks.json"),
                     "closed_loop": judged})
    for line in lines(rows):
        print(line)
    (out / "baselines.json").write_text(json.dumps(rows, indent=1) + "\n")


def _read(path: Path) -> dict:
    return json.loads(path.read_text()) if path.exists() else {}


def _facts(out: Path, name: str) -> dict:
    """Of this project's trainer they are in its log."""
    log = out / name / "log.jsonl"
    if not log.exists():
        return _read(out / name / "trained.json")
    last = json.loads(log.read_text().splitlines()[-1])
    return {"policy": name, "samples": last["samples"], "processor_s": last["elapsed_s"], "loss": last["total"]}


def lines(rows: list[dict]) -> list[str]:
    titles = [f"{what}, {title}" for title in CAMERAS.values() for what in ("first chunks", "closed loop")]
    made = [f"{'policy':10s} {'trained':>22s}" + "".join(f" | {title:>34s}" for title in titles)]
    for row in rows:
        facts = row["trained"]
        cost = f"{facts['processor_s'] / 60:.1f} min, {facts['samples']}" if facts else "much longer"
        cells = [text for c in CAMERAS for text in (_chunks(row["chunks"].get(c)), _closed(row["closed_loop"][c]))]
        made.append(f"{row['name']:10s} {cost:>22s}" + "".join(f" | {text:>34s}" for text in cells))
    return made


def _chunks(of: dict | None) -> str:
    return f"{_rate(of['hits'], of)}, {of['median_last_mm']:.0f} mm" if of else "-"


def _closed(of: dict) -> str:
    return f"{_rate(of['successes'], of)}, {of['median_final_distance_m'] * 1e3:.0f} mm" if of else "-"


def _rate(successes: int, of: dict) -> str:
    low, high = of["wilson_95"]
    return f"{successes}/{of['n']} {successes / of['n']:.0%} ({low:.0%} to {high:.0%})"


if __name__ == "__main__":
    main()
