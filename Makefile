# make demo    replay the shipped quickstart experiment and print its table
# make test    everything that must hold: lint, format, types, layers, tests; those in real time by themselves
# make bench   speed: replay against bare SimPy, trace reading against pandas (with DILU_TRACE_DIR), the launch gate
#
# PYTHON chooses the interpreter (3.11 or newer), VENV the environment: make test PYTHON=python3.12 VENV=.venv312

PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin

.PHONY: demo test bench clean

demo: $(VENV)/.installed
	$(RUN)/dilu replay quickstart

test: $(VENV)/.installed-dev
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports
	$(RUN)/pytest --numprocesses=auto --ignore=tests/realgpu --ignore=tests/scripts --ignore=tests/benchmarks
	$(RUN)/pytest tests/realgpu tests/scripts tests/benchmarks

bench: $(VENV)/.installed
	$(RUN)/python benchmarks/replay_speed.py
	$(RUN)/python benchmarks/trace_reading.py
	$(RUN)/python benchmarks/gate_cost.py

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/pip
	$(RUN)/pip install --quiet --editable .
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(VENV)/bin/pip
	$(RUN)/pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) runs build dist
