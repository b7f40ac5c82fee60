# Each command sets itself up: it makes .venv and installs what it needs.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-all lint clean

demo: .venv/base
	$(BIN)/spikeloom demo

test: .venv/test lint
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-all: .venv/test lint
	$(BIN)/python -m pytest -n 2

lint: .venv/test
	$(BIN)/ruff check .
	@# the type checker does not follow an editable install of mapped folders: show it the package as links
	@mkdir -p .venv/types/spikeloom
	@ln -sfn $(foreach d,model rtl gen cosim,$(CURDIR)/$(d)) $(wildcard $(CURDIR)/app/*.py) .venv/types/spikeloom/
	MYPYPATH=.venv/types $(BIN)/mypy -p spikeloom

.venv/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "spikeloom needs Python 3.11 or newer")'
	$(PYTHON) -m venv .venv
	touch $@

.venv/base: .venv/python pyproject.toml constraints.txt
	$(PIP) --editable .
	touch $@

.venv/test: .venv/python pyproject.toml constraints.txt
	$(PIP) --editable '.[test,train,pnr]'
	touch $@ .venv/base

clean:
	rm -rf .venv build
