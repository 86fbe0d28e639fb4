#!/bin/sh
# Measures what is promised of the compiler and prints a table: what, value, limit, ok or over.
# Exits with 1 if something is over its limit.
#
#   tools/measure.sh [FOLDER]     models and executables go there [default: target/measure, about 800 MB]
#
# The limits are for two cores and an otherwise idle machine.
set -eu
cd "$(dirname "$0")/.."
out=${1:-target/measure}
# What lies in target may be older, or built without LLVM.
[ -n "${RESCC:-}" ] || cargo build --release
rescc=${RESCC:-target/release/rescc}
mkdir -p "$out"
over=0

# The arithmetic of the table is awk's: a shell has no fractions.
row() { # WHAT VALUE LIMIT UNIT; without a LIMIT the value is only shown
    verdict=$(awk -v v="$2" -v l="$3" 'BEGIN { print l == "" ? "" : v <= l ? "ok" : "over" }')
    [ "$verdict" != over ] || over=1
    printf '%-52s %10s %8s %-3s %s\n' "$1" "$2" "$3" "$4" "$verdict"
}

now() { date +%s%N; }

seconds() { awk -v ns="$1" 'BEGIN { printf "%.2f", ns / 1e9 }'; }

megabytes() { awk -v b="$1" 'BEGIN { printf "%.2f", b / 1e6 }'; }

# A number of the JSON document on standard input.
number() { sed -n "s/.*\"$1\": *\([0-9][0-9]*\).*/\1/p"; }

# Times `compile` of a network as a user sees it; leaves its document in NET.json.
compile() { # NET [OPTION…]
    net=$1
    shift
    [ -f "$out/$net.rir" ] || "$rescc" --quiet new "$net" -o "$out/$net.rir" >"$out/new.log"
    begun=$(now)
    "$rescc" compile "$out/$net.rir" "$@" -o "$out/$net" --json >"$out/$net.json"
    took=$(seconds $(($(now) - begun)))
}

printf '%-52s %10s %8s\n' measured value limit
compile cifar-resnet20
row "compile cifar-resnet20" "$took" 2 s
compile resnet50 --preprocess imagenet
row "compile resnet50" "$took" 5 s
rest=$(($(wc -c <"$out/resnet50") - $(number weights_bytes <"$out/resnet50.json")))
code=$(number code_bytes <"$out/resnet50.json")
activations=$(number activation_bytes <"$out/resnet50.json")
compile resnet152
row "compile resnet152" "$took" 12 s
peak=$(number peak_memory_bytes <"$out/resnet152.json")
compile cifar-resnet1202
row "compile cifar-resnet1202" "$took" 30 s
row "most memory held while compiling resnet152" "$(megabytes "$peak")" 1200 MB
row "executable of resnet50 without its weights" "$(megabytes "$rest")" 1 MB
row "code of resnet50" "$(megabytes "$code")" 0.4 MB
row "activations of resnet50" "$(megabytes "$activations")" 10 MB

# From exec to the exit after the first answer, which is the only one.
runs=$(for _ in 1 2 3 4 5; do
    begun=$(now)
    "$out/resnet50" examples/pictures/ship.jpg >"$out/answer.txt"
    echo $(($(now) - begun))
done | sort -n)
median=$(echo "$runs" | sed -n 3p)
row "first answer of resnet50 on a JPEG, median of 5" "$(seconds "$median")" 0.1 s

# What the process holds when it has run for a while, its weights included: those of the model, a 1.6-fold of which is
# allowed, since the method that is chosen for a convolution may need more than the filter.
model=$(wc -c <"$out/resnet50.safetensors")
"$out/resnet50" --bench 2 --threads 2 >"$out/bench.txt" &
sleep 1.5
held=$(sed -n 's/^VmHWM:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$!/status")
wait
row "most memory held by resnet50, weights included" "$(megabytes $((held * 1024)))" "$(megabytes $((model * 8 / 5 + 30000000)))" MB

begun=$(now)
"$rescc" --quiet verify "$out/resnet50.rir" --layers >"$out/verify.txt"
row "verify --layers of resnet50 at 224x224" "$(seconds $(($(now) - begun)))" 120 s
exit "$over"
