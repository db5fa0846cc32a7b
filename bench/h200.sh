#!/usr/bin/env bash
# All GPU figures of this project in one call of under ten minutes: one H200 (or any CUDA GPU), 16 cores, no network.
set -uo pipefail

usage() {
    cat <<'TEXT'
usage: bench/h200.sh [--tiny] [--wheels DIR] [--budget SECONDS]

  --tiny            minute models, on whatever device there is: proves that the script itself works
  --wheels DIR      install what the Python environment lacks from the wheels in DIR, into a temporary folder
  --budget SECONDS  all in all (default 570); parts are in order of importance, the rest is left out and said so

  PYTHON   the interpreter (default python3; PyTorch with CUDA must be in it)
  OUT      folder for results (default ./bench-out): report.txt, machine.txt, and JSON by part
TEXT
}

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
PYTHON="${PYTHON:-python3}" OUT="${OUT:-$PWD/bench-out}" TINY="" WHEELS="" BUDGET=570
while [ $# -gt 0 ]; do
    case "$1" in
        --tiny) TINY=1 ;;
        --wheels) WHEELS="${2:?--wheels needs a folder}"; shift ;;
        --budget) BUDGET="${2:?--budget needs seconds}"; shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; exit 2 ;;
    esac
    shift
done
mkdir -p "$OUT"
REPORT="$OUT/report.txt"
: >"$REPORT"
say() { printf '%s\n' "$*" | tee -a "$REPORT"; }

export PYTHONPATH="$ROOT${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
export TORCHINDUCTOR_FX_GRAPH_CACHE=1

# ---------------------------------------------------------------- what the environment lacks

missing() {
    "$PYTHON" - <<'CODE'
import importlib
wanted = {"torch": "torch", "numpy": "numpy", "cv2": "opencv-python-headless", "scipy": "scipy", "yaml": "pyyaml",
          "safetensors": "safetensors", "diffusers": "diffusers importlib-metadata",
          "threadpoolctl": "threadpoolctl", "pytest": "pytest"}
for module, package in wanted.items():
    try:
        importlib.import_module(module)
    except Exception as error:
        print(f"{package}\t{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
CODE
}

LACKS="$(missing)"
if [ -n "$LACKS" ] && [ -n "$WHEELS" ]; then
    SITE="$(mktemp -d)"
    "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --target "$SITE" "$WHEELS"/*.whl 2>&1 | tail -3 | tee -a "$REPORT"
    export PYTHONPATH="$PYTHONPATH:$SITE"
    LACKS="$(missing)"
fi
if [ -n "$LACKS" ]; then
    say "missing in $($PYTHON -c 'import sys; print(sys.executable)'):"
    say "$LACKS"
    if grep -qE '^(torch|numpy|diffusers)' <<<"$LACKS"; then
        say "nothing was measured: bring wheels of these (pip download --no-deps -d DIR NAME) and give --wheels DIR"
        exit 2
    fi
    say "the parts that need them fail below; bring wheels and give --wheels DIR"
fi

# ---------------------------------------------------------------- parts

left() { echo $((BUDGET - SECONDS)); }

# part NAME MOST_SECONDS COMMAND...: runs within what is left of the time; its end goes into the report
part() {
    local name="$1" most="$2" status
    shift 2
    [ "$(left)" -lt "$most" ] && most="$(left)"
    if [ "$most" -lt 20 ]; then
        say "== $name: left out, $(left) s of $BUDGET left"
        return
    fi
    say "" "== $name (at most $most s)"
    timeout -k 5 "$most" "$@" >"$OUT/part.log" 2>&1
    status=$?
    tail -n 60 "$OUT/part.log" | tee -a "$REPORT"
    [ $status = 124 ] && say "== $name: stopped after $most s; what it had measured is in its JSON"
    [ $status = 0 ] || [ $status = 124 ] || say "== $name: exit status $status"
    rm -f "$OUT/part.log"
}

{ nvidia-smi; nvidia-smi -q -d CLOCK,POWER; lscpu; free -g; } >"$OUT/machine.txt" 2>&1

bench() { local out="$1"; shift; echo "$PYTHON" -m action_images_ros.cli bench engine --json "$OUT/$out.json" "$@"; }

if [ -n "$TINY" ]; then
    part "bench engine, tiny" 900 $(bench denoise --size tiny --image 32 --frames 5 --nfe 1 2 --variants eager compile)
    part "whole chunk, tiny" 900 $(bench chunk --size tiny --image 32 --frames 5 --nfe 1 --variants eager)
    part "shipped model" 900 $(bench shipped --model "$ROOT/models/reach" --nfe 1 4 --variants eager)
else
    part "graphs and sampling agree with the step-by-step sampler" 100 \
        "$PYTHON" -m pytest -q -p no:cacheprovider "$ROOT/test/unit/engines/test_cuda.py"
    part "full-size denoiser: eager, graphs, compiled, 8 bit; 512 and 256 px" 250 \
        $(bench denoise --size full --image 512 256 --nfe 1 4 16 --no-vae --budget-s 235)
    part "whole chunks with the VAE" 200 \
        $(bench chunk --size full --image 512 256 --nfe 4 16 --variants compile+graph --budget-s 150)
    part "joint mode at full size" 90 \
        $(bench joint --size full --image 512 --mode joint --nfe 4 --variants compile+graph --no-vae)
    part "the shipped small model" 60 \
        $(bench shipped --model "$ROOT/models/reach" --nfe 1 4 --variants eager eager+graph compile+graph)
fi
say "" "== done after $SECONDS s; results in $OUT"
