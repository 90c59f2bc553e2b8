# `make help` says what there is.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
VENV ?= .venv
# What to hand to `pip install` for PyTorch. Another build of the same version
# is chosen with, say, make TORCH="torch==2.13.0 --index-url ADDRESS".
TORCH ?= $(shell grep '^torch==' requirements.txt)
PORT ?= 8000

BIN := $(VENV)/bin
SITE := _build/html/.complete
SOURCES := $(shell find book qbmvae_mini data -type f \
	-not -path '*/__pycache__/*' -not -path '*/.ipynb_checkpoints/*' \
	-not -path 'data/results/.*')
PYTEST := $(BIN)/pytest -n 2

# One thread a process: two on busy cores are slower than one.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
export NUMBA_NUM_THREADS := 1
export PYTHONUTF8 := 1
# The commands and the notebooks' kernel come from the environment.
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: help book test lint unit notebooks browser faults chapter page serve \
	results strip refresh clean

# Two cores are full with one target at a time.
.NOTPARALLEL:

help:  ## Show this list
	@grep -E '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

book: $(SITE)  ## Run every chapter, render the site to _build/html

test: lint unit notebooks browser  ## Style, unit tests, notebooks, the site

lint: $(VENV)/.complete  ## Style of code and notebooks
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

unit: $(VENV)/.complete  ## Unit tests
	$(PYTEST) -m "not network and not browser" tests

# What it has run, the site shows without running it again.
notebooks: $(VENV)/.complete  ## Run the chapters, compare outputs
	PYTHONPATH=$(CURDIR)/tests $(PYTEST) -p notebooks.executed \
		--nbval-lax --nbval-current-env --dist loadfile book

browser: $(SITE)  ## Look at every page in Chromium
	$(PYTEST) -m browser tests

faults: $(VENV)/.complete  ## Faults made on purpose, and what became of them
	$(BIN)/python tests/faults

chapter: $(VENV)/.complete  ## Template and outputs of one: NAME=01_energy
	@test -f "book/$(NAME).ipynb" || { echo "Name a chapter as in book/," \
		"say: make chapter NAME=01_energy"; exit 1; }
	$(BIN)/python tests/notebooks/template.py book/$(NAME).ipynb
	$(BIN)/pytest --nbval-lax --nbval-current-env book/$(NAME).ipynb

# Links to other pages lead nowhere in it, and say so.
page: $(VENV)/.complete  ## Render one page alone: NAME=01_energy
	@test -f "book/$(NAME).ipynb" -o -f "book/$(NAME).md" || { \
		echo "Name a page as in book/, say: make page NAME=01_energy"; exit 1; }
	mkdir -p _build/page
	printf 'format: jb-book\nroot: book/%s\n' "$(NAME)" >_build/page/_toc.yml
	$(BIN)/jupyter-book build . --toc _build/page/_toc.yml \
		--path-output _build/page
	@echo "Open _build/page/_build/html/book/$(NAME).html"

serve: $(SITE)  ## Serve the site on localhost (PORT=8000)
	$(BIN)/python -m http.server --bind localhost --directory _build/html $(PORT)

results: $(VENV)/.complete  ## Make the rows that the table lacks (all: 3 hours)
	$(BIN)/python -m pip install -qq -e '.[baselines]'
	$(BIN)/python -m qbmvae_mini.results

strip: $(VENV)/.complete  ## Remove notebook outputs that no test compares
	$(BIN)/python tests/notebooks/outputs.py strip

refresh: $(VENV)/.complete  ## Run notebooks, store the outputs tests compare
	$(BIN)/python tests/notebooks/outputs.py refresh

clean:  ## Remove what was built; the environment stays
	rm -rf _build dist .pytest_cache .ruff_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

$(SITE): $(VENV)/.complete _config.yml _toc.yml CHANGELOG.md $(SOURCES)
	$(BIN)/jupyter-book build . -W -n --keep-going
	touch $@

$(VENV)/.complete: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "This needs Python 3.11 or newer; name one with" \
		"make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
		{ echo "This Python lacks venv; install the package python3-venv" \
		"or name another Python with make PYTHON=..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq $(TORCH)
	$(BIN)/python -m pip install -qq -r requirements.txt
	touch $@
