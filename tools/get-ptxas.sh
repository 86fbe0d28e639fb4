#!/bin/sh
# Gets NVIDIA's PTX assembler from PyPI into target/ptxas (40 MB) and prints its path; the tests find it in RESCC_PTXAS.
set -eu
cd "$(dirname "$0")/.."
ptxas=target/ptxas/nvidia/cuda_nvcc/bin/ptxas
[ -x "$ptxas" ] || python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps \
    --target target/ptxas nvidia-cuda-nvcc-cu12 >&2
[ -x "$ptxas" ] && echo "$PWD/$ptxas"
