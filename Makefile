# make train        set up .venv, train on handwritten digits, end with the test accuracy
# make test         set up .venv, run all tests
# make setup-dev    set up .venv alone, with what tests and linters need
# make check        lint, types and tests
#
# Variables, all optional:
#   PYTHON=python3.12            the Python that .venv is made with (3.11 or newer)
#   VARIANT=permuted             the experiment's variant (default: its first one)
#   CONFIG=experiments/digits.py the experiment
#   WORKDIR=runs/mine            where checkpoints, metrics and curves go
#   ARGS='--config.trainer.seed=1'       further flags for the trainer, or further ones for pytest
#   WORKERS=2                    processes that run tests

PYTHON ?= python3
VENV ?= .venv
CONFIG ?= experiments/digits.py
VARIANT ?=
WORKDIR ?= runs/$(basename $(notdir $(CONFIG)))$(if $(VARIANT),_$(VARIANT))
ARGS ?=
WORKERS ?= 2

# tools/venv.sh leaves compiling to the first import, so its result has to be kept.
unexport PYTHONDONTWRITEBYTECODE

RUN := $(VENV)/bin/python
SETUP := ./tools/venv.sh $(VENV) $(PYTHON)

.PHONY: help train setup setup-dev test lint format types check docs clean
.NOTPARALLEL:

help:
	@sed -n '/^#/!q; s/^# \{0,1\}//p' Makefile

# Ctrl-C reaches the trainer itself, which saves and stops; the same command goes on from there.
train: setup
	$(RUN) -m perceiver_jax.train --config=$(CONFIG)$(if $(VARIANT),:$(VARIANT)) --workdir=$(WORKDIR) $(ARGS)

# Neighbours stay in one process, which has made their fixtures and compiled their programs.
test: setup-dev
	$(RUN) -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

lint: setup-dev
	$(RUN) -m ruff check --output-format=concise .
	$(RUN) -m ruff format --check --output-format=concise .

format: setup-dev
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

types: setup-dev
	$(RUN) -m mypy

check: lint types test

docs:
	@./tools/venv.sh .venv-docs $(PYTHON) docs/requirements.txt
	.venv-docs/bin/python -m mkdocs build --strict

setup:
	@$(SETUP) requirements.txt

setup-dev:
	@$(SETUP) requirements.txt requirements-dev.txt

# Removes what the commands above made, except runs/.
clean:
	rm -rf .venv .venv-* .venv.lock build dist site *.egg-info
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
