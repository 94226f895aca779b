# Every check and test of this repository. `make check` while working, `make test` before a merge.
SHELL := bash
STAGE := scripts/stage.sh
CARGO ?= cargo
# Recorded provider traffic, not part of this repository; tests that want it say that they skipped.
MILLRACE_CORPUS ?= $(abspath ../shared/corpus)
FUZZ_SECONDS ?= 60
export MILLRACE_CORPUS

.PHONY: help setup check format clippy unit tidy test build socket clients clients-python clients-node \
	release fuzz e2e-real admin books soak loadtest flamegraph instructions openapi prices-table start-list clean

help: ## Prints this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' Makefile

setup: ## Installs what the tests need, pinned, only if missing
	@$(STAGE) setup scripts/setup.sh

check: format clippy unit tidy ## Format, lints, unit tests, module rules

format:
	@$(STAGE) format $(CARGO) fmt --all --check

clippy:
	@$(STAGE) clippy $(CARGO) clippy --locked --workspace --all-targets -- -D warnings

# Always the whole workspace: which packages are chosen decides on the features of dependencies, and with other features
# they and everything above them are built once more.
unit: ## Unit and documentation tests
	@$(STAGE) unit $(CARGO) test --locked --workspace --lib --bins
	@$(STAGE) doc $(CARGO) test --locked --workspace --doc

tidy: ## Import rows, naming, file length, dependency floors
	@$(STAGE) tidy $(CARGO) test --locked --workspace --test it -- tidy:: locked::
	@$(STAGE) fuzz-lock $(CARGO) tree --locked --quiet --depth 0 --manifest-path fuzz/Cargo.toml

# Named together with tests, so that dependencies have the features that they have there.
build: ## What tests over sockets and SDKs start: gateway and scripted provider, debug build
	@$(STAGE) build $(CARGO) build --locked --workspace --bins --test it

# The recorded traffic takes every core for half a minute, so it does not run beside tests that have short timeouts.
socket: build ## Tests over sockets: the real binary and a scripted provider
	@$(STAGE) socket $(CARGO) test --locked --workspace --test it -- --skip corpus::
	@$(STAGE) corpus $(CARGO) test --locked --workspace --test it -- corpus::

openapi: ## Rewrites openapi.json from the code
	MILLRACE_WRITE_OPENAPI=1 $(CARGO) test --locked --lib openapi_document_is_checked_in

prices-table: ## Rewrites the built-in price table from the public list in MILLRACE_CORPUS
	scripts/build-prices.py -o src/usage/price/catalogue.tsv

release: ## The binary that ships: fat LTO. Not built by `make test`
	@$(STAGE) release $(CARGO) build --locked --release --bin millrace

clients: clients-python clients-node ## Official SDKs, direct, through the plain port and through the edge

clients-python: build
	@$(STAGE) clients-python .venv/bin/python -m pytest -q tests/clients/python

clients-node: build
	@$(STAGE) clients-node .venv/bin/python tests/clients/with_gateway.py npm --prefix tests/clients/node test

fuzz: ## Each fuzz target for FUZZ_SECONDS
	@$(STAGE) fuzz scripts/fuzz.sh $(FUZZ_SECONDS)

test: ## All of it, with set-up: what continuous integration runs
	@$(STAGE) --reset
	@$(MAKE) --no-print-directory setup
	@$(MAKE) --no-print-directory check
	@$(MAKE) --no-print-directory fuzz
	@$(MAKE) --no-print-directory socket
	@$(MAKE) --no-print-directory clients
	@$(STAGE) --report

e2e-real: release ## A real model server behind the gateway, not run by `make test`
	@scripts/setup.sh --real
	@MILLRACE_BIN=target/release/millrace $(STAGE) e2e-real .venv-real/bin/python tests/clients/e2e_real.py

admin: release ## Generated requests at the admin API; start and changes at scale. Not run by `make test`
	@scripts/setup.sh --admin
	@$(STAGE) admin-schema .venv-admin/bin/python tests/admin/schema.py $(EXAMPLES)
	@$(STAGE) admin-scale .venv-admin/bin/python tests/admin/scale.py

soak: release ## Twenty minutes of changes under mixed load with 500 open streams. Not run by `make test`
	@$(STAGE) soak python3 tests/admin/soak.py $(ARGS)

books: ## Truth of provider and client against the ledger, then the full rate into the store. Not run by `make test`
	@$(STAGE) release $(CARGO) build --locked --release --workspace
	@$(STAGE) books python3 tests/admin/books.py $(REQUESTS)
	@$(STAGE) rate python3 tests/admin/rate.py $(SECONDS_OF_LOAD)

loadtest: ## Gateways side by side on one core, with ratios
	@$(STAGE) release $(CARGO) build --locked --release --workspace
	@target/release/loadtest compare $(or $(ARGS),$(wildcard loadtest/scenarios/*.yaml))

flamegraph: ## A flame graph of the hot path
	@scripts/flamegraph.sh $(ARGS)

instructions: ## Instructions a request and an event, kernel included, by an emulated machine. Needs root for packages
	@$(STAGE) release $(CARGO) build --locked --release --workspace
	@$(STAGE) instructions scripts/instructions.sh $(or $(ARGS),target/release/millrace)

start-list: ## Rewrites build/start.ld: which functions the start runs. Needs valgrind
	@$(STAGE) release $(CARGO) build --locked --release --workspace
	@$(STAGE) start-list scripts/start-list.py

clean:
	rm -rf target fuzz/target .venv .venv-real .venv-admin tests/clients/node/node_modules
