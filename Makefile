PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow lint board bench

help: ## show these lines
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/\1|\2/' | column -t -s '|'

setup: $(VENV)/installed ## install everything into .venv

$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet -e '.[test]'
	touch $@

demo: setup ## train an ODE-Net and its ResNet twin on real images, tracked, and compare them
	$(BIN)/python -m experiments.demo

test: setup ## install what the tests need and run the quick ones
	tests/install_browser
	$(BIN)/pytest -n 2 --dist loadfile # two at once; what a file's tests share is made once

test-slow: setup ## run the tests that take minutes
	tests/install_browser
	$(BIN)/pytest -m slow --timeout 3600

lint: setup ## formatting, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: setup ## time the solver beside other libraries, a process each, in turns
	$(BIN)/pip install --quiet -e '.[bench]'
	$(BIN)/python -m benchmarks

board: setup ## the runs in Omniboard, until Ctrl-C
	$(BIN)/odenet board
