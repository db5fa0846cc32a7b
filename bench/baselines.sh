#!/usr/bin/env bash
# What one would pick instead: ACT and Diffusion Policy (lerobot) and the small model of this project, trained on the
# same episodes for the same processor time, judged in the same simulated episodes with seen and unseen cameras.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: bench/baselines.sh [--tiny] [--data DIR] [--validation DIR] [--out DIR] [--env DIR] [--episodes N] [--minutes M]
                          [--judged N] [STEP ...]

  --tiny            a few episodes and steps: proves the pipe in minutes, and nothing learns anything
  --data DIR        shards of `action-images sim collect --task reach_target --split train` (made where there are none)
  --validation DIR  the same of --split test
  --out DIR         everything else (default runs/baselines); run again to go on where it stopped
  --env DIR         the environment with lerobot in it (default OUT/env); 2 GB
  --episodes N      of the training shards, for all three (4000)
  --minutes M       of processor time, all threads together, for each of the three (20); a larger M trains on
  --judged N        episodes a policy and column (50); first chunks are judged in 200 others
  STEP              of: env data act diffusion ours judge table (all, in this order)

  ACTION_IMAGES_PYTHON       the Python to make the environment with (python3; 3.10 to 3.13)
  ACTION_IMAGES_TORCH_INDEX  extra package index that has CPU builds of PyTorch and torchvision
TEXT
}

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
HERE="$ROOT/bench/baselines"
OUT="$ROOT/runs/baselines" DATA="" VALIDATION="" VENV=""
EPISODES=4000 COLLECT=12000 MINUTES=20 JUDGED=50 TIMEOUT=20 WINDOWS=200
STEPS=()
while [ $# -gt 0 ]; do
    case "$1" in
        --tiny) EPISODES=20 COLLECT=20 MINUTES=0.2 JUDGED=2 TIMEOUT=2 WINDOWS=8 ;;
        --data) DATA="${2:?--data needs a folder}"; shift ;;
        --validation) VALIDATION="${2:?--validation needs a folder}"; shift ;;
        --out) OUT="${2:?--out needs a folder}"; shift ;;
        --env) VENV="${2:?--env needs a folder}"; shift ;;
        --episodes) EPISODES="${2:?--episodes needs a number}"; shift ;;
        --minutes) MINUTES="${2:?--minutes needs a number}"; shift ;;
        --judged) JUDGED="${2:?--judged needs a number}"; shift ;;
        -h | --help) usage; exit 0 ;;
        env | data | act | diffusion | ours | judge | table) STEPS+=("$1") ;;
        *) usage >&2; exit 2 ;;
    esac
    shift
done
[ ${#STEPS[@]} -gt 0 ] || STEPS=(env data act diffusion ours judge table)
VENV="${VENV:-$OUT/env}" DATA="${DATA:-$OUT/reach_train}" VALIDATION="${VALIDATION:-$OUT/reach_test}"
export PYTHONPATH="$ROOT:$HERE${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1 PIP_DISABLE_PIP_VERSION_CHECK=1
export HF_HUB_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1
# one thread each: threads that wait for one another on a busy machine would count as processor time
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MUJOCO_GL="${MUJOCO_GL:-egl}"
mkdir -p "$OUT"

say() { printf '\n== %s (%s)\n' "$1" "$(date +%H:%M:%S)"; }
python() { "$VENV/bin/python" "$@"; }
cli() { python -m action_images_ros.cli "$@"; }
pip() { python -m pip install -q --prefer-binary "$@"; }

make_env() {
    local torch index=()
    [ ! -e "$VENV/ready" ] || return 0
    torch="$(grep -o 'torch==[0-9.]*' "$ROOT/setup.py" | head -1)"
    [ -z "${ACTION_IMAGES_TORCH_INDEX:-}" ] || index=(--extra-index-url "$ACTION_IMAGES_TORCH_INDEX")
    [ -x "$VENV/bin/python" ] || "${ACTION_IMAGES_PYTHON:-python3}" -m venv "$VENV"
    pip --upgrade "pip>=24.2,<26"
    pip "${index[@]}" "$torch+cpu" || pip "$torch"
    # not [train]: where transformers is installed, lerobot 0.4.4 imports policies that do not fit its version
    pip -e "${ROOT}[deploy]"
    pip --no-deps "franky-sim>=1.0.4" "imageio-ffmpeg>=0.5"
    pip -r "$HERE/requirements.txt"
    pip --no-deps "${index[@]}" "torchvision==0.28.0+cpu" 2>/dev/null || pip --no-deps "torchvision==0.28.0"
    pip --no-deps "lerobot==0.4.4"
    python -c 'import policies' # ACT and Diffusion Policy can be imported
    touch "$VENV/ready"
}

make_data() {
    if [ ! -f "$DATA/meta.json" ]; then
        cli sim collect --task reach_target --episodes "$COLLECT" --split train --seed 1 --out "$DATA"
    fi
    if [ ! -f "$VALIDATION/meta.json" ]; then
        cli sim collect --task reach_target --episodes 200 --split test --seed 2 --out "$VALIDATION"
    fi
}

train_lerobot() {
    python "$HERE/train.py" --policy "$1" --data "$DATA" --episodes "$EPISODES" --minutes "$MINUTES" --out "$OUT/$1"
}

train_ours() {
    local more=()
    [ ! -f "$OUT/ours/resume/state.json" ] || more=(--resume)
    cli train --data "$DATA" --episodes "$EPISODES" --clock processor --minutes "$MINUTES" --samples 100000000 \
        --threads 1 --every 500 --mode-mix policy=1 --average-decay 0.99 --out "$OUT/ours" "${more[@]}"
}

judge_all() {
    local name cameras what weights last
    # the last shard: episodes of the training bins that were not trained on
    last="$(find "$(realpath "$DATA")" -name 'shard_*.safetensors' | sort | tail -1)"
    mkdir -p "$OUT/unused_train"
    ln -sfn "$last" "$OUT/unused_train/shard_00000.safetensors"
    for name in act diffusion ours shipped; do
        case "$name" in
            ours) what=(--model "$OUT/ours") weights="$OUT/ours/model.safetensors" ;;
            shipped) what=(--model "$ROOT/models/reach") weights="$ROOT/models/reach/model.safetensors" ;;
            *) weights="$OUT/$name/checkpoint.pt" what=(--checkpoint "$OUT/$name/checkpoint.pt") ;;
        esac
        [ "$OUT/${name}_chunks.json" -nt "$weights" ] || python "$HERE/held_out.py" "${what[@]}" --windows "$WINDOWS" \
            --set train "$OUT/unused_train" --set test "$VALIDATION" --out "$OUT/${name}_chunks.json"
        for cameras in train test; do
            [ "$OUT/${name}_$cameras.json" -nt "$weights" ] || python "$HERE/judge.py" "${what[@]}" \
                --cameras "$cameras" --episodes "$JUDGED" --timeout "$TIMEOUT" --out "$OUT/${name}_$cameras.json"
        done
    done
}

for step in "${STEPS[@]}"; do
    say "$step"
    case "$step" in
        env) make_env ;;
        data) make_data ;;
        ours) train_ours ;;
        judge) judge_all ;;
        table) python "$HERE/table.py" "$OUT" ;;
        *) train_lerobot "$step" ;;
    esac
done
