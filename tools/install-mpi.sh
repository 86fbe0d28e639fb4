#!/bin/sh
# Installs OpenMPI and what generates its bindings (about 60 MB to fetch), for `cargo build --release --features mpi`.
set -eu
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
packages="openmpi-bin libopenmpi-dev libclang1-22 libclang-common-22-dev"
echo "rescc: installing $packages" >&2
$sudo apt-get update -qq
# shellcheck disable=SC2086 # a list of packages
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $packages >&2
