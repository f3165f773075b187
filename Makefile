# make demo    install, simulate a stack, find its map and poses, compare both with the truth
# make test    install, then everything that CI runs: style, types, layers, sizes, tests, doctests
#
# Settings: PYTHON=python3.12 (another interpreter), TORCH="torch --index-url …" (another build), JOBS=4 (test processes)

PYTHON ?= python3
TORCH ?= torch==2.13.0
JOBS ?= 2

VENV := .venv
BIN := $(VENV)/bin
STACK := demo/stack
RUN := demo/run

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo install develop check test test-all bench figure clean

help:
	@printf '%s\n' \
	  'make demo      simulate particles, find their map and poses, compare with the truth (minutes)' \
	  'make test      all that CI runs: checks, tests and doctests' \
	  'make check     style, types, layers and sizes only' \
	  'make test-all  the slow tests and those that need a GPU as well' \
	  'make bench     measure hot loops, reconstruction and ab initio; an idle machine, minutes' \
	  'make figure    draw the figure of the README from the demo' \
	  'make clean     remove the demo and all caches; .venv stays'

# --- installation: the stamps keep repeated calls from installing again ---

$(VENV)/.torch:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo 'vitreous needs Python 3.11 or newer: make PYTHON=python3.12 …' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(TORCH)
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.torch
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.developing: pyproject.toml $(VENV)/.torch
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@ $(VENV)/.installed

install: $(VENV)/.installed

develop: $(VENV)/.developing

# --- demo: a summary.json marks what is finished; what a stopped run left is replaced ---

$(STACK)/summary.json: | $(VENV)/.installed
	$(BIN)/vitreous simulate phantom --recipe phantom-demo -o $(STACK) --overwrite

$(RUN)/summary.json: $(STACK)/summary.json
	$(BIN)/vitreous abinitio $(STACK)/particles.star -o $(RUN) --overwrite

demo: $(RUN)/summary.json
	@echo; echo 'Poses against the truth, after the best global rotation, shift and hand'
	@$(BIN)/vitreous evaluate poses $(RUN) --truth $(STACK)/truth.star --json demo/poses.json
	@echo; echo 'Map against the truth, after alignment: where their Fourier shell correlation falls to 0.5 and 0.143, and its mean'
	@$(BIN)/vitreous evaluate map $(RUN) --truth $(STACK)/state_01.mrc --json demo/map.json
	@echo; echo 'Open $(RUN)/report.html in a browser.'

figure: demo $(VENV)/.developing
	$(BIN)/python -m pip install --quiet matplotlib
	$(BIN)/python tools/draw_demo_figure.py demo docs/figures/demo.png

# --- checks and tests ---

check: $(VENV)/.developing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_sizes.py src/vitreous

test: check
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist loadfile -m 'not slow and not gpu' --durations 20 --doctest-modules src/vitreous tests

test-all: check
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(JOBS) --dist loadfile --doctest-modules src/vitreous tests

bench: $(VENV)/.developing
	$(BIN)/python -m benchmarks.kernels
	$(BIN)/python -m benchmarks.reconstruct
	$(BIN)/python -m benchmarks.abinitio phantom --recipe phantom-demo
	$(BIN)/python -m benchmarks.tables

clean:
	rm -rf demo build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find src tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
