#!/bin/sh
# From a network to one running file, step by step, with what each took.
set -eu
cd "$(dirname "$0")/.."
rescc=target/release/rescc
out=target/demo
mkdir -p "$out"

step() {
    echo
    printf '$'
    for word in "$@"; do
        case $word in *' '*) printf " '%s'" "$word" ;; *) printf ' %s' "$word" ;; esac
    done
    echo
    begun=$(date +%s%N)
    "$@"
    echo "  ($((($(date +%s%N) - begun) / 1000000)) ms)"
}

weights=../shared/data/resnet56-4bfd9763.th
if [ -f "$weights" ]; then
    echo "A ResNet-56 with trained weights for CIFAR-10:"
    step $rescc import "$weights" --arch cifar-resnet56 -o "$out/r56.rir"
    set --
else
    echo "There are no trained weights beside this checkout: a ResNet-56 with seeded random ones."
    echo "Its answers mean nothing; everything else is as with trained ones."
    step $rescc new cifar-resnet56 -o "$out/r56.rir"
    set -- --preprocess "cifar resize=32" --labels examples/labels/cifar10.txt
fi
step $rescc compile "$out/r56.rir" "$@" -o "$out/r56" --stats
echo
ls -l "$out/r56" | awk '{ print "  one file of " $5 " bytes that needs no other:" }'
step "$out/r56" examples/pictures/ship.png
step "$out/r56" --bench 1
