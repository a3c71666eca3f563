PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
NEWEST := .venv-newest
LOCKER := .venv-lock
# Wheels alone: to build a package would bring what no lock file has.
LOCKED := --quiet --require-hashes --no-deps --only-binary :all: --requirement
# What a file's tests share is made once. Files come as collected: integration first, whose last would keep one waiting.
# Three at once keep two cores busy, as some wait; `make test JOBS=8` where there are more cores and 3 GB of memory for each.
JOBS ?= 3
AT_ONCE := -n $(JOBS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
# A thread each: several that wait for each other on a core that another test has cost more than they do.
test test-unit test-newest: export OMP_NUM_THREADS := 1
.PHONY: help setup demo test test-unit test-slow test-faults test-newest lint bench bench-gpu board docs lock

help: ## show these lines
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | column -t -s '|'

setup: $(VENV)/installed ## install everything into .venv, at the versions of requirements/dev.lock

$(VENV)/installed: pyproject.toml requirements/dev.lock
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install $(LOCKED) requirements/dev.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: setup ## train an ODE-Net and its ResNet twin on real images, tracked, and compare them
	$(BIN)/python -m experiments.demo

test: setup ## install what the tests need and run the quick ones
	tests/install_browser
	$(BIN)/pytest $(AT_ONCE)

test-unit: setup ## those of tests/unit alone, a third of the time
	$(BIN)/pytest $(AT_ONCE) tests/unit

test-slow: setup ## run the tests that take minutes
	tests/install_browser
	$(BIN)/pytest -m slow --timeout 3600

test-faults: setup ## inject wrong inputs, kills and cuts by the hundred, and count what they do
	$(BIN)/pytest tests/faults -m faults --timeout 3600

test-newest: ## run the quick tests with the newest of all that pyproject.toml allows, in .venv-newest
	tests/install_browser
	$(PYTHON) -m venv $(NEWEST)
	$(NEWEST)/bin/pip install --quiet --upgrade pip
	$(NEWEST)/bin/pip install --quiet --upgrade --upgrade-strategy eager --editable '.[test]'
	$(NEWEST)/bin/pytest $(AT_ONCE)

lint: setup ## formatting, lint, types and the layers of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: setup ## time the solver beside other libraries, a process each, in turns
	$(BIN)/pip install $(LOCKED) requirements/bench.lock
	$(BIN)/python -m benchmarks

bench-gpu: setup ## measure everything on this NVIDIA card in ten minutes, into gpu-measurements/
	$(BIN)/python -m benchmarks.gpu

board: setup ## the runs in Omniboard, until Ctrl-C
	$(BIN)/odenet board

docs: setup ## the pages of docs/ as a site, in site/
	$(BIN)/mkdocs build --strict

COMPILE = $(LOCKER)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --only-binary :all: \
	--upgrade --no-emit-index-url --annotation-style line --custom-compile-command 'make lock' pyproject.toml

lock: ## renew the lock files in requirements/ from the ranges in pyproject.toml
	$(PYTHON) -m venv $(LOCKER)
	$(LOCKER)/bin/pip install --quiet --upgrade 'uv>=0.9,<1'
	$(COMPILE) --extra test --extra docs --output-file requirements/dev.lock
	$(COMPILE) --extra parquet --constraint requirements/dev.lock --output-file requirements/base.lock
	$(COMPILE) --extra bench --constraint requirements/dev.lock --output-file requirements/bench.lock
