# SPDX-License-Identifier: Apache-2.0
# make build   set everything up in .venv and build Group 2
# make test    set everything up in .venv and run the tests
# make lint    formatting, lint and types
# make bench   the benchmarks

PYTHON ?= python3.11
VENV ?= .venv
OUT ?= group2.h5
BIN = $(VENV)/bin

.PHONY: build test lint bench clean

build: $(OUT)
	$(BIN)/iv verify $(OUT)

# A file that exists is kept: remove it to build it again.
$(OUT): | $(VENV)/build.installed
	$(BIN)/iv build --group 2 --out $(OUT)

test: $(VENV)/dev.installed
	$(BIN)/python -m pytest

lint: $(VENV)/dev.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/dev.installed
	$(BIN)/python benchmarks/build.py

$(BIN)/python:
	PYTHON=$(PYTHON) tools/system_libraries.sh
	$(PYTHON) -m venv $(VENV)

# Editable, so that a changed source needs no new install; a changed pyproject.toml does.
$(VENV)/build.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[blender]"
	@touch $@

$(VENV)/dev.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[blender,dev]"
	@touch $@

clean:
	rm -rf $(VENV)
