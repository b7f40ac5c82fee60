# Each command sets itself up: it makes .venv and installs what it needs.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo bitstream test test-all bench lint clean

demo: .venv/base
	$(BIN)/spikeloom demo

BOARD ?= ulx3s-25f
bitstream: .venv/board
	$(BIN)/spikeloom build fashion-mnist-128 --interface uart --force -o build/$(BOARD)
	$(BIN)/spikeloom pnr build/$(BOARD) --board $(BOARD)

test: .venv/test lint
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-all: .venv/test lint
	$(BIN)/python -m pytest -n 2

# All tables of bench/README.md but those that train or search for hours; some hours, most of them place and route.
bench: .venv/test
	for run in spiker_plus.py folds.py test_set.py weight_sets.py emit_time.py ties.py \
	  "convolution.py fashion-mnist-15c5-40c5-300 --sim 1000 --synth lfe5u-85f" early_exit.py recurrent.py nir_nmnist.py nir_braille.py mutation.py \
	  boards.py cluster.py \
	  "random_graphs.py --networks 1000" "place_route.py fast stream axi 1 2 3"; do $(BIN)/python bench/$$run || exit 1; done

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

.venv/board: .venv/python pyproject.toml constraints.txt
	$(PIP) --editable '.[pnr,board]'
	touch $@ .venv/base

.venv/test: .venv/python pyproject.toml constraints.txt
	$(PIP) --editable '.[test,train,pnr,board,cluster]'
	touch $@ .venv/board .venv/base

clean:
	rm -rf .venv build
