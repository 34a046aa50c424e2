# Everything is kept in .venv; `make help` lists the targets.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
PYTHON_VERSION := 3.11
VENV := .venv
BIN := $(VENV)/bin
# Bytecode is written once at installation: without it every worker process would compile torch and transformers anew.
export UV_COMPILE_BYTECODE := 1
UV := $(shell command -v uv 2>/dev/null || echo .uv/bin/uv)

.PHONY: help
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(VENV)/.installed ## Install everything that is locked into .venv (uv is installed there too if it is missing).

.uv/bin/uv:
	@echo "== uv is not on PATH: installing it into .uv with pip"
	python3 -m venv .uv
	.uv/bin/pip install --quiet uv

$(VENV)/.installed: pyproject.toml requirements.lock
	@command -v uv >/dev/null || $(MAKE) --no-print-directory .uv/bin/uv
	@echo "== Installing the locked packages into $(VENV) (torch and its CUDA libraries are large: 6 GB)"
	$(UV) venv --quiet --allow-existing --python $(PYTHON_VERSION) $(VENV)
	$(UV) pip sync --quiet --python $(BIN)/python requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

.PHONY: lock
lock: ## Write requirements.lock anew from pyproject.toml, with current versions.
	@command -v uv >/dev/null || $(MAKE) --no-print-directory .uv/bin/uv
	@echo "== Locking the dependencies"
	$(UV) pip compile --quiet --universal --python-version $(PYTHON_VERSION) --generate-hashes --no-annotate --no-header \
		--no-emit-index-url --all-extras --group dev pyproject.toml --output-file requirements.lock

.PHONY: quickstart
quickstart: setup ## Fine-tune MiniLM on the standard library's docstrings: a model in under three minutes.
	@echo "== Making the table of docstrings"
	$(MAKE) --no-print-directory -C examples/quickstart data PYTHON=$(abspath $(BIN))/python
	@echo "== thaw run examples/quickstart/job.yaml"
	$(BIN)/thaw run examples/quickstart/job.yaml
	@echo "== The model, loaded by transformers, and TF-IDF with logistic regression on the same rows"
	$(BIN)/python examples/quickstart/check.py examples/quickstart/out

.PHONY: test
test: setup lint ## Run all tests; builds Kubernetes from Go modules the first time (20 minutes), then takes about 20.
	$(MAKE) --no-print-directory -C examples/quickstart data PYTHON=$(abspath $(BIN))/python
	$(BIN)/python -m pytest tests/unit --numprocesses auto --maxprocesses 4 --dist loadfile
	$(BIN)/python -m pytest tests/api tests/run tests/cluster

.PHONY: lint
lint: setup ## Check format, types, import rules and generated files.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m thaw_api.generate --check .

.PHONY: generate
generate: setup ## Write CRD, admission policies and field reference from the models.
	$(BIN)/python -m thaw_api.generate --write .

.PHONY: format
format: setup ## Format the code.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: cluster-up
cluster-up: setup ## Start a Kubernetes cluster with KubeRay and thaw on this machine (root; 25 minutes once, then 2).
	$(BIN)/python -m tests.cluster.one_node up

.PHONY: cluster-down
cluster-down: setup ## Remove that cluster without a trace; what took long to build is kept.
	$(BIN)/python -m tests.cluster.one_node down

.PHONY: bench
bench: setup ## Run the benchmarks of one machine (minutes); results go to benchmarks/results.
	$(BIN)/python benchmarks/turnover.py

.PHONY: clean
clean: ## Remove what the targets made, .venv included.
	rm -rf $(VENV) .uv examples/*/data examples/*/out .mypy_cache .ruff_cache .pytest_cache .hypothesis
