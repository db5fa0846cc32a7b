#!/usr/bin/env bash
# The data loop closes, in numbers: a cell whose cameras hang upside down, where the shipped model fails; demonstrations
# recorded through the ROS graph, converted, fine-tuned on, and both models judged on the same unseen episodes.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bench/data_loop.sh [--tiny] [--out DIR] [--cell FILE] [--episodes N] [--samples N] [--judged N]

  --tiny        a few episodes and steps: proves the pipe in minutes, and no model gets better
  --out DIR     recordings, data set, model, evaluation (default runs/data_loop); run again to go on where it stopped
  --cell FILE   the changed arrangement (default bench/upside_down.yaml)
  --episodes N  demonstrations (50)      --samples N  canvases of fine-tuning (12000)      --judged N  episodes (50)

  PYTHON   the interpreter (default: .venv/bin/python, else python3)
  EXTRA    more arguments of `action-images train`
Exit status 0 where the success rate rose by 30 points or more, with --tiny where everything ran.
TEXT
}

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
OUT="$PWD/runs/data_loop" CELL="$ROOT/bench/upside_down.yaml" EPISODES=50 SAMPLES=12000 JUDGED=50 TIMEOUT=20 GAP=0.5 TINY=""
PYTHON="${PYTHON:-$([ -x "$ROOT/.venv/bin/python" ] && echo "$ROOT/.venv/bin/python" || echo python3)}"
while [ $# -gt 0 ]; do
    case "$1" in
        --tiny) TINY=1 EPISODES=3 SAMPLES=64 JUDGED=2 TIMEOUT=3 GAP=10 ;;
        --out) OUT="${2:?--out needs a folder}"; shift ;;
        --cell) CELL="${2:?--cell needs a file}"; shift ;;
        --episodes) EPISODES="${2:?--episodes needs a number}"; shift ;;
        --samples) SAMPLES="${2:?--samples needs a number}"; shift ;;
        --judged) JUDGED="${2:?--judged needs a number}"; shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
    shift
done
export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
cli() { "$PYTHON" -m action_images_ros.cli "$@"; }
step() { printf '\n== %s (%s)\n' "$1" "$(date +%H:%M:%S)"; }
mkdir -p "$OUT/recordings"
SHIPPED="$ROOT/models/reach"

step "record $EPISODES demonstrations"
have=$(find "$OUT/recordings" -mindepth 2 -maxdepth 2 -name metadata.yaml | wc -l)
if [ "$have" -lt "$EPISODES" ]; then # other scenes than those that are there already
    cli record --expert $((EPISODES - have)) --cell "$CELL" --out "$OUT/recordings" --seed $((100 + have)) --speed 1.5
fi

step "convert"
held_out=0.1
[ -n "$TINY" ] && held_out=0
status=0
cli dataset "$OUT/recordings" --out "$OUT/dataset" --validation "$held_out" --keep success \
    --max-gap "$GAP" || status=$?
[ "$status" -le 1 ] || exit "$status" # 1: a bag was left out, and is named

step "fine-tune"
if [ ! -f "$OUT/tuned/denoiser.json" ]; then
    more=()
    [ -f "$OUT/tuned/resume/state.json" ] && more=(--resume)
    # shellcheck disable=SC2086
    cli train --data "$OUT/dataset" --start-from "$SHIPPED" --out "$OUT/tuned" --samples "$SAMPLES" --every 400 \
        --learning-rate 6e-4 --warmup-samples 320 --average-decay 0.99 --mode-mix policy=1 --mirror 0.5 --crop 0.15 \
        --turn-deg 4 --brightness 0.2 --contrast 0.2 --seed 1 ${EXTRA:-} "${more[@]}"
    cli export "$OUT/tuned"
fi

step "evaluate both on $JUDGED unseen episodes"
[ -f "$OUT/eval/eval.json" ] || cli eval --model "$OUT/tuned" --against "$SHIPPED" --cell "$CELL" --episodes "$JUDGED" \
    --timeout "$TIMEOUT" --columns closed_loop --split test --seed 0 --out "$OUT/eval" >"$OUT/eval.txt" 2>"$OUT/eval.log"

step "result"
"$PYTHON" - "$OUT" "$TINY" <<'PYTHON'
import json
import sys
from pathlib import Path

out, tiny = Path(sys.argv[1]), bool(sys.argv[2])
report = json.loads((out / "eval/eval.json").read_text())
info = json.loads((out / "dataset/meta/info.json").read_text())
log = [json.loads(line) for line in (out / "tuned/log.jsonl").read_text().splitlines()][-1]
before, after = report["against"]["columns"]["closed_loop"], report["columns"]["closed_loop"]
paired = report["paired"]["closed_loop"]
low, high = paired["interval_95"]
print(f"cell {report['cell']}: {info['total_episodes']} episodes, {log['samples']} canvases in "
      f"{log['elapsed_s'] / 60:.0f} min")
print(f"{'':10s} {'success':>9s} {'rate':>6s} {'95 % interval':>15s} {'median end':>11s}")
for name, c in (("shipped", before), ("fine-tuned", after)):
    a, b = c["wilson_95"]
    print(f"{name:10s} {c['successes']:4d}/{c['n']:<4d} {c['rate']:6.0%} {a:6.0%} to {b:4.0%} "
          f"{c['median_final_distance_m'] * 1e3:8.0f} mm")
print(f"difference {100 * paired['difference']:+.0f} points, 95 % interval {100 * low:+.0f} to {100 * high:+.0f}, "
      f"McNemar's exact p {paired['mcnemar_p']:.2g}")
sys.exit(0 if tiny or paired["difference"] >= 0.3 else 1)
PYTHON
