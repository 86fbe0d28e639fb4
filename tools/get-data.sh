#!/bin/sh
# Gets the data that the end-to-end tests use into target/data; what is there and right is left alone.
#
# Where ../shared/data lies beside the checkout, its script gets all of it. Elsewhere this fetches what is public in the
# form that the tests read (175 MB): CIFAR-10 and four residual networks trained on it. Tests of other networks (plain
# ones, a ResNet-50) look in the folder RESCC_DATA too; without their files they are skipped, and say so.
set -eu
cd "$(dirname "$0")/.."
out=target/data
script=../shared/data/get_data.py
if [ -f "$script" ]; then
    exec python3 "$script" --out "$out" --only nets,cifar-test,resnet50
fi

networks=https://raw.githubusercontent.com/akamaster/pytorch_resnet_cifar10/master/pretrained_models
network_sums='12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8  resnet20-12fca82f.th
d509ac1820d7f25398913559d7e81a13229b1e7adc5648e3bfa5e22dc137f850  resnet32-d509ac18.th
014dd6541728a1c700b1642ab640e211dc6eb8ed507d70697458dc8f8a0ae2e4  resnet44-014dd654.th
4bfd97631478d6b638d2764fd2baff3edb1d7d82252d54439343b6596b9b5367  resnet56-4bfd9763.th'
pictures=https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz
picture_sums='8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b  cifar10/test_batch.bin
cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5  cifar10/data_batch_1.bin
a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed  cifar10/data_batch_2.bin
bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67  cifar10/data_batch_3.bin
014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48  cifar10/data_batch_4.bin
755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add  cifar10/data_batch_5.bin'

names() { # SUMS
    echo "$1" | sed 's/.*  //'
}

fail() { # WHAT SUMS
    echo "rescc: $1; have these files in a folder and set RESCC_DATA to it: $(names "$2" | tr '\n' ' ')" >&2
    exit 1
}

right() { # SUMS FOLDER
    (cd "$2" 2>/dev/null && echo "$1" | sha256sum --check --status 2>/dev/null)
}

has() { # SUMS
    right "$1" "$out" || { [ -n "${RESCC_DATA:-}" ] && right "$1" "$RESCC_DATA"; }
}

fetch() { # URL FILE SUMS
    echo "rescc: fetching $1" >&2
    curl -fsSL --retry 3 -o "$2" "$1" || fail "cannot fetch $1" "$3"
}

mkdir -p "$out/cifar10"
new=$(mktemp -d "$out/new.XXXXXX")
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM

if ! has "$network_sums"; then
    for file in $(names "$network_sums"); do
        fetch "$networks/$file" "$new/$file" "$network_sums"
    done
    right "$network_sums" "$new" || fail "$networks does not hold what it should" "$network_sums"
    mv "$new"/*.th "$out"
fi

if ! has "$picture_sums"; then
    fetch "$pictures" "$new/archive" "$picture_sums"
    mkdir "$new/cifar10"
    tar -xzf "$new/archive" -C "$new/cifar10" --strip-components=1 --no-same-owner || true # the sums tell
    right "$picture_sums" "$new" || fail "$pictures is not what it should be" "$picture_sums"
    mv "$new"/cifar10/*.bin "$out/cifar10"
fi
