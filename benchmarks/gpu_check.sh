#!/usr/bin/env bash
# Run all checks that need a GPU, in stages. Each stage has a time limit.
#
#   benchmarks/gpu_check.sh DATA OUT                           # the default stages: graphs speed examples bounds
#   benchmarks/gpu_check.sh DATA OUT --only graphs,bounds      # these stages, in this order
#   benchmarks/gpu_check.sh DATA OUT --only all                # all stages
#   benchmarks/gpu_check.sh DATA OUT --device cpu --short      # try this script on a CPU, in a few minutes
#
# DATA contains MNIST/raw, and cifar10/train and cifar10/test with a folder of images for each class. Stages marked DATA
# need it. For the other stages, DATA may be "none". OUT gets the logs, the tables, the runs, and report.txt. The report
# grows while a stage runs, so a lost connection loses no measurement. REPORT=FILE writes the report to another file.
# PYTHON=... chooses the interpreter. If a part fails, the others still run, and the script names it at the end.
#
#   stage       seconds  what it does
#   graphs         (45)  tests CUDA graphs and the step: resume, wrong recordings, schedules, games
#   speed           45   times a plain loop, ganlib, and ganlib with fast settings: benchmarks.speed loops
#   examples       125   times each example with its defaults and with the fast step: benchmarks.speed examples
#   bounds         (60)  measures the share of the peak and of the bandwidth, and the slowest kernels: benchmarks.speed bounds
#   compile       (360)  measures the same with compiled networks; the limit may cut off the last rows
#   timing        (270)  runs the tests that measure time, each example among them
#   tests         (400)  runs all tests marked gpu, with those of graphs and timing
#   originals     (240)  DATA: trains the original recipes at full length, and examines the start of deceptive64
#   trainings      (60)  DATA: trains each example and each game for half a minute
#   quality        (60)  DATA: measures the runs of originals and trainings; needs both
#
# The seconds are for one H100 or H200. Those in parentheses are estimates. The default stages are meant to fit twice into
# 15 minutes, with the start of a machine.
set -uo pipefail

usage() { sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit 2; }
[ $# -ge 2 ] || usage
data=$(realpath -m "$1") out=$(mkdir -p "$2" && realpath "$2")
[ "$1" = none ] && data=
shift 2
device=cuda short= stages=graphs,speed,examples,bounds
while [ $# -gt 0 ]; do
    case $1 in
        --device) device=$2; shift 2 ;;
        --only) stages=$2; shift 2 ;;
        --short) short=yes; shift ;;
        *) echo "unknown: $1" >&2; exit 2 ;;
    esac
done
[ "$stages" = all ] && stages=graphs,speed,examples,bounds,compile,timing,tests,originals,trainings,quality
for stage in ${stages//,/ }; do
    case $stage in
        graphs | speed | examples | bounds | compile | timing | tests) ;;
        originals | trainings | quality)
            [ -n "$data" ] || { echo "the stage $stage needs DATA" >&2; exit 2; } ;;
        *) echo "no stage is called $stage" >&2; exit 2 ;;
    esac
done
cd "$(dirname "$0")/.." || exit
python=${PYTHON:-python}
export PYTHONPATH=$PWD/src${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1
report=${REPORT:-$out/report.txt}
[ -n "$data" ] && export GANLIB_DATA=$data
failed=()

if [ -n "$short" ]; then
    marked="gpu or not gpu" minutes=0.05
    graphs=(tests/training/step/test_step_graphs*.py) timing=(tests/training/loop/test_divergence_cost.py)
    tests=(tests/augment/test_grid_sample.py tests/data/test_transfer.py)
    speed=(--workloads system2 --iterations 3 --rounds 2) examples=(--examples gaussians mnist_mlp_gan --between 2 5)
    bounds=(--bound-widths 8 --bound-batches 16)
    classifier=(--epochs 1) three=(--iterations 3 --width 8) four=(--iterations 3 --width 8) games=(--iterations 3)
    starts=(--seeds 0 --limit 3 --divide 8) same=(--look 1 2 --free 2 --divide 8) count=(--count 30)
else
    marked=gpu minutes=0.5
    graphs=(tests/training --ignore=tests/training/loop/test_divergence_cost.py
        --ignore=tests/training/test_long_runs.py --ignore=tests/training/loop/test_killed.py
        tests/examples/test_games.py tests/examples/test_cuda_graph_option.py)
    timing=(tests/benchmarks tests/training/loop/test_divergence_cost.py) tests=(tests)
    speed=(--rounds 5 --seconds 0.5) examples=() bounds=()
    classifier=(--epochs 4) three=(--epochs 100) four=(--epochs 7) games=(--iterations 5000)
    starts=(--seeds 0 1 2 --limit 1500) same=(--look 1 2 5 10 20 30 40 50 --free 20) count=()
fi

say() { echo "$@" | tee -a "$report"; }
# limited NAME SECONDS COMMAND...: run a part with a time limit, keep its output, and report its duration.
limited() {
    local name=$1 limit=$2 began=$SECONDS status
    shift 2
    timeout -k 10 "$limit" "$@" >"$out/$name.log" 2>&1
    status=$?
    case $status in
        0) say "$name: $((SECONDS - began)) s" ;;
        124 | 137) say "$name: STOPPED after its limit of $limit s, see $out/$name.log" ;;
        *) say "$name: FAILED after $((SECONDS - began)) s, see $out/$name.log" ;;
    esac
    return $status
}
# part NAME SECONDS COMMAND...: run a part in the foreground, and add its output to the report line by line.
part() {
    local name=$1 tail_of
    : >"$out/$name.log"
    say "--- $name"
    tail --pid=$$ -n +1 -f "$out/$name.log" >>"$report" &
    tail_of=$!
    limited "$@" || failed+=("$name")
    sleep 1.2 # tail looks once a second
    kill "$tail_of" && wait "$tail_of" 2>/dev/null
}
declare -A jobs
start() { # NAME COMMAND...: run a part in the background, with a limit of 10 minutes
    limited "$1" 600 "${@:2}" &
    jobs[$1]=$!
}
finish() { # wait for all parts in the background, and record failures
    local name
    for name in "${!jobs[@]}"; do wait "${jobs[$name]}" || failed+=("$name"); done
    jobs=()
}
example() { # NAME SCRIPT OPTIONS...: train in the background, and replace an earlier run
    local name=$1 script=$2
    shift 2
    rm -rf "${out:?}/$name"
    start "$name" "$python" "examples/$script.py" train --device "$device" --out "$out/$name" "$@"
}
pytest() { # NAME SECONDS MARKED FILES...
    part "$1" "$2" "$python" -m pytest -q --tb=short --durations=10 -p no:benchmark -p no:cacheprovider -m "$3" "${@:4}"
}
timed() { # NAME SECONDS PART OPTIONS...: run a part of benchmarks.speed, and report its tables
    part "$1" "$2" "$python" -m benchmarks.speed "$3" --device "$device" --out "$out/$1" "${@:4}"
    cat "$out/$1"/*.csv "$out/$1"/kernels.txt >>"$report" 2>/dev/null
}
cats=(--data folder --root "$data/cifar10/train" --class-name cat) mnist=(--data mnist --root "$data")

stage_graphs() { pytest graphs 180 "$marked" "${graphs[@]}"; }
stage_timing() { pytest timing 450 "$marked" "${timing[@]}"; }
stage_tests() { pytest tests 580 "$marked" "${tests[@]}"; }
stage_speed() { timed speed 150 loops "${speed[@]}"; }
stage_examples() { timed examples 240 examples "${speed[@]}" "${examples[@]}"; }
stage_bounds() { timed bounds 150 bounds "${speed[@]}" "${bounds[@]}" --no-compile; }
stage_compile() { timed compile 480 bounds "${speed[@]}" "${bounds[@]}"; }
stage_originals() { # the runs share the device, so their durations are not measurements
    example original3 cifar10_dcgan --recipe original "${cats[@]}" "${three[@]}"
    example original4 mnist_cdcgan --preset deceptive64 --recipe original "${mnist[@]}" "${four[@]}"
    start starts_fp32 "$python" -m benchmarks.dead_start "$data" --device "$device" "${starts[@]}"
    start starts_bf16 "$python" -m benchmarks.dead_start "$data" --device "$device" --bf16 --channels-last "${starts[@]}"
    start same_start "$python" -m benchmarks.same_start "$data" --device "$device" "${same[@]}"
    classifiers
    finish
}
classifiers() { # train the classifiers that measure samples, unless an earlier call did
    [ -f "$out/digits.pt" ] || start digits "$python" -m benchmarks.digit_classifier --root "$data" --degrees 25 \
        --device "$device" "${classifier[@]}" --out "$out/digits.pt"
    [ -f "$out/cifar.pt" ] || start cifar "$python" -m benchmarks.cifar_classifier --root "$data/cifar10" \
        --device "$device" "${classifier[@]}" --out "$out/cifar.pt"
}
stage_trainings() { # the runs share the device too
    local game
    example cdcgan28 mnist_cdcgan "${mnist[@]}" --minutes "$minutes"
    example ours4 mnist_cdcgan --image-size 64 --rotation 25 "${mnist[@]}" --minutes "$minutes"
    example mlp mnist_mlp_gan "${mnist[@]}" --minutes "$minutes"
    example ours3 cifar10_dcgan "${cats[@]}" --minutes "$minutes"
    example cgan cgan "${mnist[@]}" --minutes "$minutes"
    for game in pix2pix cyclegan; do
        rm -rf "${out:?}/$game"
        start "$game" "$python" "examples/games/$game.py" --data "$data" --device "$device" --precision bf16 \
            "${games[@]}" --out "$out/$game"
    done
    finish
}
stage_quality() { # both kinds of batch norm; a perceptron has no statistics of one sample, and its line says so
    local run
    classifiers
    finish
    for run in original3 ours3 original4 ours4 cdcgan28 mlp; do
        start "quality_$run" "$python" -m benchmarks.run_quality "$out/$run" --root "$data" --digits "$out/digits.pt" \
            --cifar "$out/cifar.pt" --batch-norm running sample "${count[@]}"
    done
    finish
    cat "$out"/quality_*.log | tee -a "$report"
}

mkdir -p "$(dirname "$report")" && : >"$report"
say "$("$python" -c "import platform, torch; print(platform.python_version(), torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else 'no CUDA device')")"
for stage in ${stages//,/ }; do
    began=$SECONDS
    "stage_$stage"
    say "stage $stage: $((SECONDS - began)) s, $SECONDS s in all"
done
if [ ${#failed[@]} -gt 0 ]; then say "failed: ${failed[*]}"; exit 1; fi
say "finished after $SECONDS s: $out"
