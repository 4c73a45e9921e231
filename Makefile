# make demo   the main job on bundled data: install, predict, relax, run dynamics, train, check
# make test   install and run the tests; make test-long runs the rest: hours of faults, damaged files and random models
# make lint   style, format and types; make types alone runs mypy
# make docs   the documentation site, in build/docs/index.html
# PIP_FLAGS reaches pip, for example PIP_FLAGS="--extra-index-url URL" for an index with CPU builds of torch.
PYTHON ?= python3
PIP_FLAGS ?=
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-long lint types docs wheel clean

demo: $(VENV)/.demo
	$(BIN)/molequi demo --output demo-output --overwrite

# Two processes of one thread each use two cores best; what the tests of a file share is made once
# where one process has them all.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 15

test: $(VENV)/.test
	$(PYTEST) $(PYTEST_FLAGS)

test-long: $(VENV)/.test
	$(PYTEST) -m long $(PYTEST_FLAGS)

lint: types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# mypy knows packages by their folders, so it sees cli/ where an installation has it: inside molequi.
types: $(VENV)/.test
	rm -rf build/types && mkdir -p build/types/molequi
	ln -s $(CURDIR)/molequi/* $(CURDIR)/cli build/types/molequi/
	$(BIN)/mypy build/types/molequi

# Warnings are errors; nothing is loaded from the network, neither now nor by a reader's browser.
docs: $(VENV)/.docs
	$(BIN)/mkdocs build --quiet

wheel: $(VENV)/.test
	$(BIN)/python -m pip wheel --no-deps --wheel-dir dist .

clean:
	rm -rf $(VENV) build dist molequi.egg-info demo-output

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) --constraint constraints.txt --editable .
	touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) --constraint constraints.txt --editable ".[test,docs,qm9,tensorboard,labels]"
	touch $@ $(VENV)/.demo $(VENV)/.docs

$(VENV)/.docs: $(VENV)/.demo
	$(BIN)/python -m pip install --quiet $(PIP_FLAGS) --constraint constraints.txt --editable ".[docs]"
	touch $@
