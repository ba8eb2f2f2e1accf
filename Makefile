# The commands of this repository. `make run` and `make test` are all there is to set up.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Whatever is called with a list of jobs, cargo has its own.
.NOTPARALLEL:

# Arguments for `execgate serve` (make run ARGS='--listen 127.0.0.1:7000') or the benchmark
# (make bench ARGS=--quick).
ARGS ?=

.PHONY: help
help: ## Show these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: ## Build and start the server with its defaults
	cargo run --locked -p execgate-server --bin execgate -- serve $(ARGS)

.PHONY: demo
demo: ## Watch an agent at work, on a server of its own
	@scripts/setup-tests --venv
	@cargo build --locked --quiet -p execgate-server --bin execgate
	@.venv/bin/python client-py/examples/demo.py

.PHONY: setup
setup: ## Install what tests and checks need
	@scripts/setup-tests

.PHONY: test
test: setup ## Run all tests; the last line counts them
	@scripts/run-tests

.PHONY: check
check: setup ## Format, lints, types, documentation
	@scripts/check

.PHONY: fmt
fmt: setup ## Format everything
	cargo fmt --all
	.venv/bin/ruff format client-py tests/py scripts/reference bench/python
	cd bench && cargo fmt

.PHONY: bench
bench: ## Measure against the floor and the peers (bench/README.md; ARGS=--quick)
	-@scripts/setup-tests --venv
	cargo build --locked --release -p execgate-server --bin execgate
	cd bench && cargo run --locked --release -- $(ARGS)

.PHONY: bench-micro
bench-micro: ## Measure the rooms of the core, one by one (ARGS=redactor)
	cargo bench --locked -p execgate-core --bench micro -- $(ARGS)

.PHONY: instructions
instructions: ## Count the instructions of the hot path (ARGS=--record writes them down)
	@scripts/setup-tests
	@scripts/instructions $(ARGS)

.PHONY: faults
faults: ## Break everything that can be broken, and print a table (docs/faults.md)
	@scripts/setup-tests --venv
	@cargo build --locked --quiet -p execgate-server --bin execgate
	@PYTHONPATH=tests/py .venv/bin/python -m faults $(ARGS)

.PHONY: soak
soak: ## Do everything at random for 20 minutes; the server must stay as it was (ARGS='--minutes 3')
	@scripts/setup-tests --venv
	@cargo build --locked --quiet -p execgate-server --bin execgate
	@PYTHONPATH=tests/py .venv/bin/python -m soak $(ARGS)

# How long each target is fuzzed.
MINUTES ?= 10

.PHONY: fuzz
fuzz: ## Fuzz everything that reads others' bytes (MINUTES=60 ARGS=redactor)
	@EXECGATE_FUZZ_SECONDS=$$(($(MINUTES) * 60)) EXECGATE_FUZZ_SEED=$$(date +%s) \
		cargo test --locked -p execgate-core -p execgate-server --test fuzz -- --nocapture $(ARGS)

.PHONY: proto-lint
proto-lint: ## Lint the API
	@source scripts/versions.sh && cd proto && npx --yes "$$BUF" lint

.PHONY: proto-breaking
proto-breaking: ## Check the API against the last release's
	@source scripts/versions.sh && cd proto && npx --yes "$$BUF" breaking --against baseline.binpb

.PHONY: stubs
stubs: ## Make the Python stubs anew from the API
	@python3 client-py/generate.py

.PHONY: stubs-check
stubs-check: ## Check that the Python stubs are those of the API
	@python3 client-py/generate.py --check

.PHONY: docs
docs: setup ## Make the API reference anew from the API
	@.venv/bin/python scripts/reference

.PHONY: docs-check
docs-check: setup ## Check that the API reference is that of the API
	@.venv/bin/python scripts/reference --check

.PHONY: requirements
requirements: ## Pin scripts/requirements.in anew
	@scripts/pin-requirements
