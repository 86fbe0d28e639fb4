# make demo   install what is missing, build, compile a trained ResNet-20 to one executable, classify pictures
# make test   everything: file tests, oracles, end to end; FEATURES=mpi with training over MPI (tools/install-mpi.sh)
# make bless  rewrite the expectations of file tests (read the difference line by line)

CARGO ?= cargo

.PHONY: build demo test bless lint llvm

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

lint: llvm
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --release --workspace --all-targets -- -D warnings
