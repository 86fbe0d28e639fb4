#!/bin/sh
# Gets the data that the end-to-end tests use into target/data: CIFAR-10 and a trained ResNet-50, by the script of
# the material beside the checkout. Without that material the tests that need it are skipped, and say so.
set -eu
cd "$(dirname "$0")/.."
script=../shared/data/get_data.py
if [ ! -f "$script" ]; then
    echo "rescc: no $script: tests that need its data will be skipped" >&2
    exit 0
fi
python3 "$script" --out target/data --only nets,cifar-test,resnet50
