# What a newcomer needs: `make drill` and `make test`. `make` alone lists the rest.
# Everything is installed below this folder: .venv (Python) and .tools (etcd). `make clean-all` removes both.

PYTHON ?= python3
SEEDS ?= 1-20
SECONDS ?= 120
TARGET ?=
DRILL ?= deploy/drills/kill-one.toml
REPORT ?= report

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup drill test proof check format stubs bench sim fuzz mutants interop clean clean-all etcd

help:  ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(INSTALLED) etcd  ## virtual environment, dependencies and an etcd (once)

$(INSTALLED): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "standfast: $(PYTHON) not found; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "standfast: $$($(PYTHON) -V) is too old; 3.11 or newer is needed: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "standfast: $$($(PYTHON) -V) has no venv; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt hatchling editables setuptools
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[dev]'
	@touch $@

etcd: $(INSTALLED)
	@$(BIN)/python tools/get_etcd.py

drill: setup  ## kill one of three gateways under 300 clients; verdict, ./report
	$(BIN)/standfast drill run $(DRILL) --report $(REPORT)

test: setup  ## every test
	$(BIN)/python -m pytest

proof: setup  ## minutes of SIGKILL and SIGSTOP to three etcds and three gateways, with figures
	$(BIN)/python -m pytest -q -m proof tests/e2e/proof

check: $(INSTALLED)  ## lint, format, types, import contracts, what is generated
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/gen_stubs.py --check
	$(BIN)/python tools/rfc_rows.py --check

format: $(INSTALLED)  ## put the source into the one format that `check` accepts
	$(BIN)/ruff check --fix-only --select I .
	$(BIN)/ruff format .

stubs: $(INSTALLED)  ## generate the gRPC stubs again from the .proto files
	$(BIN)/python tools/gen_stubs.py

bench: setup  ## CPU and rate per handshake and resumption; bench/results.json
	$(BIN)/python -m bench

sim: $(INSTALLED)  ## the whole cluster on virtual time: make sim SEEDS=1-20 [DRILL=file]
	$(BIN)/python -m tests.sim --seeds $(SEEDS) $(if $(filter file,$(origin DRILL)),,--drill $(DRILL))

fuzz: $(INSTALLED)  ## every decoder and whole endpoints: make fuzz SECONDS=120 [TARGET=name]
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS) --target "$(TARGET)"

mutants: $(INSTALLED)  ## break the cluster in one line at a time, every break must be found: make mutants [LIVE=1]
	$(BIN)/python -m tests.mutants $(if $(LIVE),--live)

interop: setup  ## strongSwan and libreswan against us, both ways; needs root on Debian
	$(BIN)/python -m tests.interop

clean:  ## remove caches, runs and reports
	rm -rf report runs .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

clean-all: clean  ## also remove .venv and .tools
	rm -rf $(VENV) .tools
