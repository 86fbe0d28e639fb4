#!/bin/sh
# From a network that this compiler has trained to one running file, step by step, with what each took.
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

echo "A ResNet-20 for CIFAR-10, trained by rescc (examples/resnet20):"
step $rescc compile examples/resnet20/model.rir -o "$out/r20" --stats
echo
ls -l "$out/r20" | awk '{ print "  one file of " $5 " bytes that needs no other:" }'
echo
echo "The test set's first picture of each class:"
step "$out/r20" --top 1 examples/pictures/cifar10/*.png
step "$out/r20" --bench 1
