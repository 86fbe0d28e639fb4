#!/bin/sh
# Installs the LLVM 22 development packages that the default build links (about 100 MB to fetch).
# Without them: cargo build --release --no-default-features builds rescc with Cranelift alone.
set -eu
sudo=""
[ "$(id -u)" = 0 ] || sudo=sudo
packages="llvm-22-dev libpolly-22-dev zlib1g-dev libzstd-dev libxml2-dev"
echo "rescc: installing $packages" >&2
$sudo apt-get update -qq
# shellcheck disable=SC2086 # a list of packages
DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends $packages >&2
