# SPDX-License-Identifier: Apache-2.0
# make build   set everything up in .venv and build Group 2
# make test    set everything up in .venv and run the tests
# make dist    source distribution and wheel in dist/, checked as for an upload
# make wheel-test  make dist, and use the wheel from fresh environments and an empty folder
# make lint    formatting, lint, types and who may import whom
# make parity  compare with MinkowskiEngine, where it is built (docs/minkowski.md)
# make bench   the benchmarks
# make docs    the site of all documents, in site/html
# make notebooks  run the notebooks of examples/, and keep what they show

PYTHON ?= python3.11
VENV ?= .venv
OUT ?= group2.h5
# The torch that the tests were last run with. Linux wheels of PyPI bring CUDA; for the small CPU build
# put your index of CPU wheels first (PIP_INDEX_URL), or set TORCH to a wheel file.
TORCH ?= torch==2.13.0
BIN = $(VENV)/bin
# What is installed is compiled when it is first imported, which most of it never is; and Python keeps
# what it compiled, even where the caller's environment says otherwise.
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check --no-compile
unexport PYTHONDONTWRITEBYTECODE

.PHONY: build test dist wheel-test lint parity bench docs notebooks clean

build: $(OUT)
	$(BIN)/iv verify $(OUT)

# A file that exists is kept: remove it to build it again.
$(OUT): | $(VENV)/build.installed
	$(BIN)/iv build --group 2 --out $(OUT)

test: $(VENV)/dev.installed
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --durations 10

# The wheel is made from the source distribution, as installers make it.
dist: $(VENV)/release.installed
	rm -rf dist
	$(VENV)/release/bin/python -m build --outdir dist
	$(VENV)/release/bin/twine check --strict dist/*
	@! ls dist | grep -q "+" || echo "not for upload: these are of no tag (CONTRIBUTING.md, Release)"

wheel-test: dist
	PYTHON=$(PYTHON) tools/wheel_test.sh dist/*.whl

lint: $(VENV)/dev.installed
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

parity: $(VENV)/dev.installed
	@if $(BIN)/python -c "from importlib.util import find_spec as f; exit(not f('MinkowskiEngine'))"; then \
	  $(BIN)/python -m pytest tests/mc4ad_model/sparse/test_minkowski.py tests/mc4ad_model/methods/mc4ad/test_released_checkpoints.py; \
	else echo "parity with MinkowskiEngine: skipped, it is not built in $(VENV) (docs/minkowski.md)"; fi

bench: $(VENV)/dev.installed
	$(BIN)/python benchmarks/build.py
	$(BIN)/python benchmarks/anomalies.py
	$(BIN)/python benchmarks/sparse_convolution.py

$(BIN)/python:
	PYTHON=$(PYTHON) tools/system_libraries.sh
	$(PYTHON) -m venv $(VENV)

# Editable, so that a changed source needs no new install; a changed pyproject.toml does.
$(VENV)/build.installed: pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV): one to six minutes, silent unless something fails"
	$(BIN)/python $(PIP_INSTALL) --editable ".[blender]"
	@touch $@

$(VENV)/dev.installed: pyproject.toml tools/system_libraries.sh | $(BIN)/python
	PYTHON=$(PYTHON) tools/system_libraries.sh test
	@# the pip that Python 3.11 brings takes twice as long for so many packages
	-@$(BIN)/python $(PIP_INSTALL) --upgrade pip
	@echo "installing into $(VENV): one to six minutes, silent unless something fails"
	$(BIN)/python $(PIP_INSTALL) "$(TORCH)" --editable ".[blender,model,inspect,serve,layouts,hub,logging,scans,scale,dev,docs]"
	@# on all cores; the tests make errors of warnings, of those too that compiling others' code gives
	@$(BIN)/python -m compileall -q -q -j 0 $(VENV)/lib || true
	@touch $@ $(VENV)/docs.installed

# Laid out as in the repository, so that links are the same in both. A warning is an error.
PAGES = README.md CONTRIBUTING.md SECURITY.md CHANGELOG.md CITATION.cff DATASET_CARD.md annotations/README.md $(wildcard docs/*)
docs: $(VENV)/docs.installed
	rm -rf site && mkdir -p site/pages && cp --parents $(PAGES) site/pages
	$(BIN)/python -m tools.notebook_pages examples site/pages/examples
	$(BIN)/python -m tools.command_reference >>site/pages/docs/commands.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@# nothing that a page would load from elsewhere
	@! grep -rlE '<(script|link|img|iframe)[^>]*(src|href)="?(https?:)?//' --include='*.html' site/html

notebooks: $(VENV)/dev.installed
	$(BIN)/python -m tools.notebooks examples

$(VENV)/docs.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python $(PIP_INSTALL) --editable ".[docs]"
	@touch $@

# An environment of their own: .ci/run fills the other one meanwhile.
$(VENV)/release.installed: pyproject.toml | $(BIN)/python
	$(PYTHON) -m venv $(VENV)/release
	$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["release"], sep="\n")' | \
	  $(VENV)/release/bin/python $(PIP_INSTALL) --requirement /dev/stdin
	@touch $@

clean:
	rm -rf $(VENV)
