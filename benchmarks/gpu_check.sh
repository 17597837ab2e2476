#!/usr/bin/env bash
# What has to be seen on a GPU, in one folder; under 8 minutes on one H100.
#
#   benchmarks/gpu_check.sh DATA OUT                       # on CUDA
#   benchmarks/gpu_check.sh DATA OUT --device cpu --short  # a try of this script itself, in some minutes on two cores
#
# DATA holds MNIST/raw and cifar10/train and cifar10/test with a folder of images for each class. OUT gets a log of each
# part, and the runs with their pictures. PYTHON=... chooses the interpreter. A part that fails is told at the end, and
# the others run all the same.
set -uo pipefail

[ $# -ge 2 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 2; }
data=$(realpath "$1") out=$(mkdir -p "$2" && realpath "$2")
shift 2
device=cuda short=
while [ $# -gt 0 ]; do
    case $1 in
        --device) device=$2; shift 2 ;;
        --short) short=yes; shift ;;
        *) echo "unknown: $1" >&2; exit 2 ;;
    esac
done
cd "$(dirname "$0")/.." || exit
python=${PYTHON:-python}
export PYTHONPATH=$PWD/src GANLIB_DATA=$data
failed=()

if [ -n "$short" ]; then
    marked="gpu or not gpu" tests=(tests/augment/test_grid_sample.py tests/data/test_transfer.py) minutes=0.05
    speed=(--workloads system2 --iterations 3 --rounds 2) classifier=(--epochs 1)
    three=(--iterations 3 --width 8) four=(--iterations 3 --width 8)
    games=(--iterations 3)
    starts=(--seeds 0 --limit 3 --divide 8) same=(--look 1 2 --free 2 --divide 8) count=(--count 30)
else
    marked=gpu tests=(tests) minutes=0.5
    speed=(--rounds 5 --seconds 0.5) classifier=(--epochs 4)
    three=(--epochs 100) four=(--epochs 7)
    games=(--iterations 5000)
    starts=(--seeds 0 1 2 --limit 1500) same=(--look 1 2 5 10 20 30 40 50 --free 20) count=()
fi

# part NAME COMMAND...: run it for 10 minutes at most, keep what it prints.
part() {
    local name=$1 began=$SECONDS
    shift
    if timeout 600 "$@" >"$out/$name.log" 2>&1; then echo "$name: $((SECONDS - began)) s"; else
        echo "$name: FAILED after $((SECONDS - began)) s, see $out/$name.log"
        return 1
    fi
}
declare -A jobs
start() { # NAME COMMAND...: run a part in the background
    part "$@" &
    jobs[$1]=$!
}
finish() { # wait for all parts in the background, and note those that failed
    local name
    for name in "${!jobs[@]}"; do wait "${jobs[$name]}" || failed+=("$name"); done
    jobs=()
}
example() { # NAME SCRIPT WORDS...: train in the background, in place of what an earlier call has left
    local name=$1 script=$2
    shift 2
    rm -rf "${out:?}/$name"
    start "$name" "$python" "examples/$script.py" train --device "$device" --out "$out/$name" "$@"
}

"$python" -c "import platform, torch; print(platform.python_version(), torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else 'no CUDA device')" | tee "$out/machine.log"
part tests "$python" -m pytest -q -p no:benchmark -p no:cacheprovider -m "$marked" "${tests[@]}" || failed+=(tests)
part speed "$python" -m benchmarks.speed loops --device "$device" "${speed[@]}" --out "$out/speed" || failed+=(speed)

# The originals at length, and why deceptive64 starts as it does. They share the device, so their times are no figures.
cats=(--data folder --root "$data/cifar10/train" --class-name cat) mnist=(--data mnist --root "$data")
example original3 cifar10_dcgan --recipe original "${cats[@]}" "${three[@]}"
example original4 mnist_cdcgan --preset deceptive64 --recipe original "${mnist[@]}" "${four[@]}"
start starts_fp32 "$python" -m benchmarks.dead_start "$data" --device "$device" "${starts[@]}"
start starts_bf16 "$python" -m benchmarks.dead_start "$data" --device "$device" --bf16 --channels-last "${starts[@]}"
start same_start "$python" -m benchmarks.same_start "$data" --device "$device" "${same[@]}"
# The classifiers that measure are trained once; another call into the same folder takes them as they are.
[ -f "$out/digits.pt" ] || start digits "$python" -m benchmarks.digit_classifier --root "$data" --degrees 25 \
    --device "$device" "${classifier[@]}" --out "$out/digits.pt"
[ -f "$out/cifar.pt" ] || start cifar "$python" -m benchmarks.cifar_classifier --root "$data/cifar10" \
    --device "$device" "${classifier[@]}" --out "$out/cifar.pt"
finish

# Each example, for half a minute.
example cdcgan28 mnist_cdcgan "${mnist[@]}" --minutes "$minutes"
example ours4 mnist_cdcgan --image-size 64 --rotation 25 "${mnist[@]}" --minutes "$minutes"
example mlp mnist_mlp_gan "${mnist[@]}" --minutes "$minutes"
example ours3 cifar10_dcgan "${cats[@]}" --minutes "$minutes"
example cgan cgan "${mnist[@]}" --minutes "$minutes"
# And each game.
for game in pix2pix cyclegan; do
    rm -rf "${out:?}/$game"
    start "$game" "$python" "examples/games/$game.py" --data "$data" --device "$device" --precision bf16 "${games[@]}" \
        --out "$out/$game"
done
finish

# Both ways of drawing; a perceptron has no statistics of one sample, which is said in its line.
for run in original3 ours3 original4 ours4 cdcgan28 mlp; do
    start "quality_$run" "$python" -m benchmarks.run_quality "$out/$run" --root "$data" --digits "$out/digits.pt" \
        --cifar "$out/cifar.pt" --batch-norm running sample "${count[@]}"
done
finish
cat "$out"/quality_*.log
if [ ${#failed[@]} -gt 0 ]; then echo "failed: ${failed[*]}"; exit 1; fi
echo "all of it is in $out, after $SECONDS s"
