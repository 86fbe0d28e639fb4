#!/bin/sh
# Races an executable made by rescc against ONNX Runtime on the same seeded weights, interleaved in one run.
#
#   tools/race.sh PEERS.py PYTHON [NET] [THREADS] [ROUNDS]
#
# PEERS.py is the script that exports seeded networks and times peers (bench/peers.py of the shared material);
# PYTHON an interpreter with torch, torchvision, numpy, onnx, onnxruntime and safetensors. Prints the ratio.
set -eu
peers=$1 python=$2 net=${3:-resnet50} threads=${4:-2} rounds=${5:-8}
cd "$(dirname "$0")/.."
rescc=target/release/rescc
out=target/race
mkdir -p "$out"
[ -x "$rescc" ] || cargo build --release
[ -f "$out/$net.safetensors" ] || "$python" "$peers" --export "$out" --nets "$net"
"$rescc" import "$out/$net.safetensors" --arch "$net" -o "$out/$net.rir"
"$rescc" compile "$out/$net.rir" --target native -o "$out/$net.run"
"$python" "$peers" --set infer --peers ort --nets "$net" --batches 1 --threads "$threads" --rounds "$rounds" \
    --extra "rescc=$out/$net.run --bench --threads {threads} --batch {batch} --warmup 5 --iterations 30 --json"
