# The two commands of the README are `make demo` and `make test`; both set up .venv by themselves.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
PEERS := .venv-bench
HOOK_SOURCES := $(shell find wasm-hooks -type f -not -name module.wasm 2>/dev/null)

# Every program and worker that the tests start would compile all of the source anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test fuzz coverage check conformance bench bench-peers soak proto lock setup clean

demo: $(VENV)/.ready ## a gateway on loopback, a few missions, and what became of them
	@$(BIN)/missiongate demo

test: $(VENV)/.ready ## every test; the engine's own under coverage, of which `coverage` says how much it has to be
	@$(BIN)/pytest -q -n 2 --dist worksteal --ignore tests/unit/engine
	@$(MAKE) --no-print-directory coverage

fuzz: $(VENV)/.ready ## every test, and those that repeat something do so as often as ever
	@MISSIONGATE_FUZZ=1 $(BIN)/pytest -q -n 2 --dist worksteal

coverage: $(VENV)/.ready ## the engine's own tests take at least 90 % of its lines and branches
	@$(BIN)/pytest -q -n 2 --dist worksteal tests/unit/engine --cov --cov-report=term:skip-covered --cov-fail-under=90

check: $(VENV)/.ready ## format, lint, types, import contracts, protocol
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy examples/client tests/client_types.py
	$(BIN)/lint-imports
	$(BIN)/buf lint proto

conformance: $(VENV)/.ready ## OPA's own cases through vetting and regorus, and through OPA where it is installed
	@$(BIN)/python -m tools.conformance

bench: $(VENV)/.ready ## every benchmark, beside floors and peers of the same run, and the change since the last one
	@$(BIN)/python -m benchmarks --keep .bench $(BENCH)

soak: $(VENV)/.ready ## a thousand missions at once for ten minutes, while workers die and rules change (SOAK="--seconds 60")
	@$(BIN)/python -m benchmarks.soak $(SOAK)

proto: $(VENV)/.ready ## generate gateway/v1 from proto/
	tools/proto.sh

lock: ## resolve both lock files anew (needs uv)
	uv pip compile pyproject.toml --group dev $(LOCK) -o requirements.lock
	uv pip compile --group bench $(LOCK) -o benchmarks/peers/requirements.lock

# Extras stay in the pins: pip takes `coverage[toml]` for unpinned where the lock has `coverage`, once there is a newer one.
LOCK := --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-strip-extras --quiet \
	--custom-compile-command "make lock"

setup: $(VENV)/.ready

# The peers have pins that would fight with ours, and half a gigabyte: they live in a venv of their own, which nothing
# but the benchmarks starts.
bench-peers: $(PEERS)/.ready ## Dask, Ray, Prefect and DBOS, for `make bench` to measure beside the engine

$(PEERS)/.ready: benchmarks/peers/requirements.lock
	@echo "Setting up $(PEERS) (once; one to two minutes) ..."
	@test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	@$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
		-r benchmarks/peers/requirements.lock
	@touch $@

# Everything comes from the lock file with its hashes, the build's own needs included; the package is then built
# without isolation, which compiles the built-in hooks with the Zig toolchain of the lock file.
$(VENV)/.ready: requirements.lock pyproject.toml hatch_build.py $(HOOK_SOURCES)
	@echo "Setting up $(VENV) (once; one to two minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable .
	@touch $@

clean: ## remove what the targets above made
	rm -rf $(VENV) $(PEERS) .bench gateway/_hooks dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
