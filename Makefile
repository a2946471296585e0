# Two commands: `make demo` and `make test`. Each sets up what it needs on its own.
# STACK=onedl (default) or STACK=openmmlab chooses which distributions serve mmseg, mmengine, mmcv.
STACK ?= onedl
PYTHON ?= python3
ifeq ($(STACK),onedl)
VENV := .venv
else
VENV := .venv-$(STACK)
endif
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo demo-search demo-select test test-long test-gpu docs lint format clean

help:  ## Show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

setup: $(READY)  ## System GDAL, a virtual environment, torch, the stack and this package
	@$(BIN)/dnas env

$(READY): pyproject.toml tools/setup_env.sh
	STACK=$(STACK) VENV=$(VENV) PYTHON=$(PYTHON) bash tools/setup_env.sh

demo: setup  ## Synthetic GID-5 scenes -> tiles -> train -> test -> a picture (2 minutes)
	$(BIN)/dnas demo --work-dir work_dirs/demo

demo-search: setup  ## The same with a network that is searched first, and pictures of the search
	$(BIN)/dnas demo --work-dir work_dirs/demo-search --search --epochs 30

demo-select: setup  ## The same with a network that is chosen by trainings, as for your own tiles
	$(BIN)/dnas demo --work-dir work_dirs/demo-select --select

test: setup  ## The fast tests
	$(BIN)/python -m pytest

test-long: setup  ## The slow tests too
	$(BIN)/python -m pytest -m 'long or not long'

test-gpu: setup  ## The tests of a GPU, where there is one
	DNAS_TEST_GPU=1 $(BIN)/python -m pytest -n 0 tests/test_gpu.py \
		'tests/engine/test_recipe.py::test_mixed_precision_reaches_similar_losses[AmpOptimWrapper]'

docs: setup  ## The manual, into docs/_build/html
	$(BIN)/sphinx-build -q -W --keep-going -b html docs docs/_build/html
	@echo docs/_build/html/index.html

lint: setup  ## Style, errors, the direction of imports, and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: setup  ## Let ruff rewrite the files
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## Remove the environments, the demo's results and caches
	rm -rf .venv .venv-* work_dirs/demo work_dirs/demo-search work_dirs/demo-select .pytest_cache .ruff_cache .mypy_cache *.egg-info build dnas_mmseg/.mim
