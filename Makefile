.DEFAULT_GOAL := help
SHELL := /bin/sh
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
READY := .venv/.ready
# Two at the least: some tests hold one worker for long.
JOBS ?= auto
# The Pythons of `make test-pythons`, beside that of .venv.
PYTHONS ?= 3.12 3.13
# Further pytest arguments, as in: make test ARGS="-k fence"
ARGS ?=

# A home that cannot be written to, or none, must not stop us: caches go to .tools/ then.
ifneq ($(shell test -n "$$HOME" && test -w "$$HOME" && echo ok),ok)
export HOME := $(CURDIR)/.tools/home
$(shell mkdir -p $(CURDIR)/.tools/home)
endif

EXAMPLES := $(subst _,-,$(patsubst examples/%/main.py,example-%,$(wildcard examples/*/main.py)))

PYTHON_CODE := packages tests examples conftest.py

.PHONY: help setup dev lock fmt lint format-check types contracts lock-check test test-fast test-pythons suite check demo \
	examples $(EXAMPLES) dist clean

help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Make .venv with everything needed (fast when nothing changed)

$(READY): requirements.lock $(wildcard packages/*/pyproject.toml) scripts/setup scripts/find-uv scripts/find-python
	@scripts/setup

dev: $(READY) ## Serve the example: embedded server, worker and API
	@PYTHONPATH=. $(BIN)/zart dev examples.order_fulfillment.workflow

lock: ## Resolve the dependencies anew and write requirements.lock
	@scripts/lock

fmt: $(READY) ## Format the code and mend what can be mended
	@$(BIN)/ruff check --quiet --fix --output-format concise $(wildcard $(PYTHON_CODE)) || true
	@$(BIN)/ruff format $(wildcard $(PYTHON_CODE))

format-check: $(READY)
	@$(BIN)/ruff format --check $(wildcard $(PYTHON_CODE))

lint: $(READY) ## Lint, and check which package imports which
	@$(BIN)/ruff check --output-format concise $(wildcard $(PYTHON_CODE))
	@$(MAKE) contracts

contracts: $(READY)
	@$(BIN)/lint-imports --no-cache --no-logo

types: $(READY) ## Check types: mypy strict everywhere, pyright on the public API
	@$(BIN)/mypy $(wildcard $(PYTHON_CODE))
	@$(BIN)/pyright --warnings

lock-check: $(READY)
	@scripts/lock --check

test: $(READY) ## Run the whole suite against its own embedded server
	@$(MAKE) suite

suite:
	@$(BIN)/pytest -n $(JOBS) --dist worksteal $(ARGS)

test-fast: $(READY) ## Run what takes under a minute: no crash tests, none marked slow
	@$(BIN)/pytest -n $(JOBS) --dist worksteal -m "not slow" --ignore=tests/crash $(ARGS)

test-pythons: $(READY) ## Run core's tests on Python 3.12 and 3.13 (part of them is in the suite)
	@scripts/test-pythons $(PYTHONS) -- -n $(JOBS) --dist worksteal $(ARGS)

check: $(READY) ## All that must pass before a change is merged
	@$(MAKE) format-check
	@$(MAKE) lint
	@$(MAKE) types
	@$(MAKE) lock-check
	@$(MAKE) suite

demo: $(READY) ## Kill a worker in mid-payment and see each card charged once
	@$(BIN)/python examples/order_fulfillment/demo.py

examples: $(EXAMPLES) ## Run all the examples; one alone: make example-sleep

$(EXAMPLES): example-%: $(READY)
	@$(BIN)/python -m examples.$(subst -,_,$*).main

dist: $(READY) ## Build the five wheels into dist/ and check their metadata
	@rm -rf dist
	@$(BIN)/uv build --quiet --all-packages --wheel --no-build-isolation --python $(BIN)/python --out-dir dist
	@$(BIN)/twine check --strict dist/*.whl

clean: ## Remove what make made: environments, caches, builds
	@rm -rf .venv .tools dist htmlcov .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis uv.lock
	@find packages tests examples -name __pycache__ -type d -prune -exec rm -rf {} + 2>/dev/null || true
