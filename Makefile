# The environment lives in .venv and is made once; it is renewed when pyproject.toml changes.
# PYTHON=python3.12 chooses the interpreter. On a machine without a GPU,
# TORCH_INDEX=URL takes torch from another package index, such as PyTorch's own of CPU builds (2 GB less to download).
PYTHON ?= python3
TORCH_INDEX ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
NEWER := 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: PYTHON=python3.12 make ...")'
TORCH := $(shell sed -n 's/^ *"\(torch==[^"]*\)".*/\1/p' pyproject.toml)

.DEFAULT_GOAL := help
.PHONY: help env test demo lab figures lint

help:  ## show this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/make \1	\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 16

env: $(STAMP)  ## make the environment in .venv, if it is missing or out of date

# torch first: a CPU build of the pinned version that is installed or at hand is then kept by the second line.
$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -c $(NEWER)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(PIP) --editable '.[test]'
	@touch $@

test: env  ## run the tests
	$(BIN)/python -m pytest -q -n auto --dist loadfile --no-loadscope-reorder

demo: env  ## run the whole method on the shipped model, on CPU
	$(BIN)/python -m soar_lib demo --resume

lab: env  ## open JupyterLab on the notebooks
	$(BIN)/jupyter lab notebooks

figures: env  ## draw every figure again from runs/reference and figures/data
	$(BIN)/python -m tools.figures

lint: env  ## check the style with ruff
	$(BIN)/ruff check .
