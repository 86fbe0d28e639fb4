# make demo   install what is missing, build, compile a trained ResNet-20 to one executable, classify pictures
# make test   everything: file tests, oracles, end to end; FEATURES=mpi with training over MPI (tools/install-mpi.sh)
# make bless  rewrite the expectations of file tests (read the difference line by line)
# make lint   format and lints, also of what is built apart from the workspace: the host program and the driver objects

CARGO ?= cargo

.PHONY: build demo test bless format lint llvm

llvm:
	@command -v llvm-config-22 >/dev/null || sh tools/install-llvm.sh

build: llvm
	$(CARGO) build --release

demo: build
	sh tools/demo.sh

test: llvm
	$(CARGO) test --release --workspace $(FEATURES:%=--features %)

bless: llvm
	RESCC_BLESS=1 $(CARGO) test --release --test main

format:
	$(CARGO) fmt --all -- --check
	rustfmt --edition 2024 --check runtime/core/*.rs runtime/standalone/src/lib.rs

HOST = --manifest-path runtime/standalone/Cargo.toml --target-dir target/standalone

lint: llvm format
	$(CARGO) clippy --release --workspace --all-targets $(FEATURES:%=--features %) -- -D warnings
	$(CARGO) clippy --release --locked $(HOST) -- -D warnings
	$(CARGO) clippy --release --locked $(HOST) --features train -- -D warnings
