# kfdet: what a person runs. `make` alone lists the targets.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
WORKERS ?= 2
FUZZ_S ?= 20
SHELL_SCRIPTS := .ci/run $(wildcard containers/*.sh scripts/*.sh scripts/kind/*.sh)

.DEFAULT_GOAL := help
.PHONY: help setup demo test fuzz test-slow test-containers images kind-up kind-test kind-down check generate clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

setup: .venv/.ready ## put the locked environment and the command kfdet into .venv

.venv/.ready: uv.lock pyproject.toml scripts/setup.sh
	@PYTHON="$(PYTHON)" bash scripts/setup.sh

demo: setup ## from nothing to a published detector of shapes, in minutes
	@echo "== data: shapes in data/shapes"
	@$(BIN)/kfdet data synth --out data/shapes
	@echo "== the compiled pipeline, on this machine, in runs/shapes"
	@$(BIN)/kfdet run configs/shapes.yaml --out runs/shapes

test: setup ## the tests, in under 20 minutes on 2 cores
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m "not slow and not containers"

fuzz: setup ## fuzz the readers of records and images, FUZZ_S seconds each
	@for target in frames example record image shard; do \
	  $(BIN)/python tests/fuzz/run.py $$target --seconds $(FUZZ_S) || exit 1; \
	done

test-slow: setup ## the long real runs
	$(BIN)/python -m pytest -m slow

images: setup ## build the images of containers/Dockerfile
	$(BIN)/python scripts/containers.py

test-containers: setup ## build the images and run the pipeline in them; needs root on Debian
	$(BIN)/python -m pytest -m containers tests/containers

kind-up: setup ## a kind cluster with Kubeflow Pipelines and the images; needs Docker and the internet
	@bash scripts/kind/up.sh

kind-test: setup ## submit the demo to it and hold the outcome against what it must be
	@bash scripts/kind/test.sh

kind-down: ## remove it
	@bash scripts/kind/down.sh

check: setup ## format, lint, types, layers, Dockerfile, shell scripts and generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	PYTHONPATH=. $(BIN)/lint-imports --no-cache
	$(BIN)/hadolint containers/Dockerfile
	$(BIN)/shellcheck $(SHELL_SCRIPTS)
	$(BIN)/python scripts/generate.py --check

generate: setup ## write the generated files: compiled pipeline, tables, goldens
	$(BIN)/python scripts/generate.py

clean: ## remove what the targets made, data and runs included
	rm -rf .venv .uv data/shapes runs build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .fuzz
