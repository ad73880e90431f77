# One target per task. `make` alone lists them.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: help up install test lint types unit schema format lock clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

up: install  ## start a clinic on this machine and print its addresses and tokens
	$(BIN)/polyclinic up

install: $(STAMP)  ## create .venv with what is pinned in requirements.lock

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Polyclinic needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Try: make PYTHON=python3.12")'
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { echo "This Python has no venv module; on Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

test: lint types unit  ## lint, types and every test

lint: install
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests
	$(BIN)/lint-imports --no-cache

types: install
	$(BIN)/mypy

unit: install
	$(BIN)/pytest -n auto

schema: install  ## write schema.sql anew from the migrations
	$(BIN)/python -m tests.postgres.schema_dump

format: install  ## rewrite the code in the project's style
	$(BIN)/ruff check --fix src tests
	$(BIN)/ruff format src tests

lock: install  ## resolve requirements.lock anew
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-emit-index-url --group dev --python-version 3.11 --output-file requirements.lock pyproject.toml

clean:  ## remove the environment and caches; data directories stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis build dist
