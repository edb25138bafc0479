# Every verb of the project. `make` alone lists them.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help
# Containers often ask Python to keep no bytecode; then every process here would compile everything again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo serve test test-faults test-browser soak check fix bench bench-identity docs lock clean

help: ## List the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

setup: .venv/.ready ## Make .venv with everything that demo, test and check need

# --no-compile: most of what is installed is never imported by one command, and what is, Python compiles
# when it is first imported. That takes a third off the time to the first line.
.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Throughline needs Python 3.11 or newer; $$($(PYTHON) --version) is too old. Set PYTHON=python3.12, say." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "Python's venv module is missing. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "Installing the locked dependencies into .venv (a minute or so the first time) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## Start the whole exchange with the demo city and print where it is
	@$(BIN)/throughline demo --data data/demo-city $(ARGS)

serve: setup ## Start the whole exchange, empty or as it was left in data/
	@$(BIN)/throughline serve together $(ARGS)

test: setup ## Run the tests (real MongoDB, real HTTP)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile $(ARGS)

test-faults: setup ## Kill processes during storms and see that nothing acknowledged is lost
	$(BIN)/python -m pytest -m fault $(ARGS)

test-browser: setup .venv/.browser ## Sign-in, launch and an unmodified SMART client in a real Chromium
	$(BIN)/python -m pytest -m browser $(ARGS)

.venv/.browser: requirements-browser.lock .venv/.ready
	@test -n "$$CHROMIUM" || command -v chromium >/dev/null || \
	  { [ "$$(id -u)" = 0 ] && apt-get update -q && apt-get install -qy --no-install-recommends chromium; } || \
	  { echo "The browser tests need Chromium. On Debian: apt-get install chromium; or set CHROMIUM to one." >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r requirements-browser.lock
	@touch $@

soak: setup ## The long storms
	$(BIN)/python -m pytest -m soak $(ARGS)

check: setup ## Lint, format, types, layers, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_docs.py

fix: setup ## What `check` can mend by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/python tools/check_docs.py --write

bench: setup ## Measure against the ceilings of this machine and write benchmarks/results/
	$(BIN)/python -m benchmarks $(ARGS)

bench-identity: setup ## Measure how well records are put together (ARGS="--seed 8 --splink", "--febrl", "--over http")
	$(BIN)/python -m benchmarks.identity $(ARGS)

docs: setup ## Rewrite the reference pages that are made from rows
	$(BIN)/python tools/check_docs.py --write

lock: setup ## Resolve the dependencies anew into requirements.lock
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --generate-hashes --no-annotate --no-header --no-emit-index-url \
	  --python-version 3.11 --extra embedded --extra linkage --extra dev pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --generate-hashes --no-annotate --no-header --no-emit-index-url \
	  --python-version 3.11 --extra browser --constraint requirements.lock pyproject.toml -o requirements-browser.lock

clean: ## Remove what setup and the tests made
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
