#!/bin/sh
# Shows that model, data and settings alone decide the bits of a training run: neither the number of threads nor being
# killed does. Prints a line for each comparison and a summary; exits with 1 if a file differs.
#
#   tools/determinism.sh DATA      the folder with CIFAR-10's binary files; runs go to target/determinism
#
#   STEPS=200 THREADS='1 2 3 4'    steps of ResNet-20 on batches of 128, repeated on these numbers of threads
#   KILLS=50 SEED=1                runs of 60 steps that are killed, at instants drawn from this seed, and go on
#   RESCC=FILE                     the compiler, instead of this folder's, which is built first
set -eu
[ $# = 1 ] || { echo "usage: tools/determinism.sh DATA" >&2; exit 2; }
data=$(cd "$1" && pwd)
cd "$(dirname "$0")/.."
rescc=${RESCC:-target/release/rescc}
out=target/determinism
: "${STEPS:=200}" "${KILLS:=50}" "${SEED:=1}"
# What lies in target may be older, or built without LLVM.
[ -n "${RESCC:-}" ] || cargo build --release
rm -rf "$out"
mkdir -p "$out"
log=$out/said.txt
compared=0
differ=0

start() { # MODEL RUN [OPTION…]; leaves `pid`
    model=$1
    run=$2
    shift 2
    "$rescc" train "$out/$model.rir" --data "cifar10:$data" --out "$out/$run" --quiet "$@" >>"$log" 2>&1 &
    pid=$!
}

train() {
    start "$@"
    wait "$pid" || { echo "determinism: training fails, see $log" >&2; exit 2; }
}

# All that a finished run leaves, but for its curves, which name its folder.
compare() { # RUN WITH STEPS WHAT
    verdict='the same bits'
    for file in model.rir model.safetensors log.csv "$(printf 'checkpoint-%010d.safetensors' "$3")"; do
        cmp -s "$out/$1/$file" "$out/$2/$file" || verdict="$file DIFFERS"
    done
    compared=$((compared + 1))
    [ "$verdict" = 'the same bits' ] || differ=$((differ + 1))
    echo "$4: $verdict"
}

"$rescc" --quiet new cifar-resnet20 -o "$out/r20.rir" >"$log"
first=
for threads in ${THREADS-1 2 3 4}; do
    train r20 "threads$threads" --iters "$STEPS" --threads "$threads"
    [ -z "$first" ] || compare "threads$threads" "$first" "$STEPS" "ResNet-20, $STEPS steps, $threads threads and ${first#threads}"
    first=${first:-threads$threads}
done

# A small network and few pictures, so that it can be killed often; a checkpoint every third step, so that some kills
# come while one is written.
mkdir "$out/few"
for file in data_batch_1 data_batch_2 data_batch_3 data_batch_4 data_batch_5 test_batch; do
    head -c $((64 * 3073)) "$data/$file.bin" >"$out/few/$file.bin"
done
data=$out/few
"$rescc" --quiet new cifar-resnet8 --width 4 --input 3x8x8 -o "$out/r8.rir" >>"$log"
short='--iters 60 --batch 32 --recovery-interval 3 --threads 2 --backend cranelift'
begun=$(date +%s%N)
train r8 whole $short
whole_ms=$((($(date +%s%N) - begun) / 1000000))
# More instants than kills: a run that has ended by then is not counted.
awk -v n="$KILLS" -v ms="$whole_ms" -v seed="$SEED" \
    'BEGIN { srand(seed); for (i = 0; i < 4 * n; i++) printf "%.3f\n", rand() * ms / 1000 }' >"$out/instants"
kills=0
while [ "$kills" -lt "$KILLS" ] && read -r seconds; do
    rm -rf "$out/killed"
    start r8 killed $short
    sleep "$seconds"
    kill -9 "$pid" 2>>"$log" || true
    ! wait "$pid" 2>>"$log" || continue
    kills=$((kills + 1))
    newest=$(ls "$out/killed" 2>>"$log" | sed -n 's/^checkpoint-0*\([1-9][0-9]*\).*/\1/p' | tail -n 1)
    train r8 killed $short ${newest:+--resume "$out/killed"}
    compare killed whole 60 "kill $kills after $seconds s, ${newest:-no} steps kept"
done <"$out/instants"
[ "$kills" = "$KILLS" ] || { echo "determinism: only $kills runs could be killed" >&2; exit 2; }

echo "$compared runs compared, $differ differ"
[ "$differ" = 0 ]
