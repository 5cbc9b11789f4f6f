# `make demo` and `make test` do all the set-up they need. PYTHON=... chooses the interpreter (3.11 or newer).
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# A screen for the tests' windows where there is one to be had; macOS has its own.
SCREEN := $(if $(shell command -v xvfb-run),xvfb-run -a -s "-screen 0 1600x1000x24")

# One process for each core: torch in two threads of two processes is slower than in one of each.
# Files run in the order of tests/conftest.py, which xdist would otherwise change.
# A process that crashes ends the run: pytest-xdist may wait for its replacement for ever.
PARALLEL := -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder --max-worker-restart=0

.DEFAULT_GOAL := help
.PHONY: help demo test coverage test-oldest explore bench install docs clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    annotate, train and predict on a sample image (opens napari where there is a display)"
	@echo "make test    every check and every test"
	@echo "make coverage  lines and branches of the engine that the tests run, 90 % at least"
	@echo "make test-oldest  the suite at the lower bounds, and every door in each supported napari"
	@echo "make explore property tests with examples that no run has had"
	@echo "make bench   measure speed and memory, and renew the table of docs/performance.md (BENCH=... passes options)"
	@echo "make docs    build the documentation into site/"
	@echo "make clean   remove the environment and what was built"

$(INSTALLED): pyproject.toml tools/environment.sh tools/system-libraries.sh
	@bash tools/system-libraries.sh
	@bash tools/environment.sh $(VENV) $(PYTHON)
	@touch $@

install: $(INSTALLED)

demo: install
	$(BIN)/napari-cupre demo --out demo

# In a second make, so that SCREEN is looked for after the set-up may have brought it.
test: install
	@$(MAKE) --no-print-directory checks

.PHONY: checks
checks:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini
	$(BIN)/npe2 validate napari-cupre
	OMP_NUM_THREADS=1 $(SCREEN) $(BIN)/python -m pytest $(PARALLEL)

coverage: install
	OMP_NUM_THREADS=1 $(SCREEN) $(BIN)/python -m pytest $(PARALLEL) --cov --cov-report=term

# Environments of their own in .venvs; NAPARI="0.8.0 0.9.2" chooses versions, QT=pyside6 a binding.
test-oldest:
	@bash tools/system-libraries.sh
	PYTHON=$(PYTHON) tools/environments.sh oldest
	PYTHON=$(PYTHON) tools/environments.sh naparis $(NAPARI)

# Property tests with examples that no run has had; what fails becomes an @example.
explore: install
	HYPOTHESIS_PROFILE=new $(SCREEN) $(BIN)/python -m pytest -m hypothesis

# BENCH="--stock --peers peer/bin/python" measures torchvision's network and peers too; needs the real images.
bench: install
	$(BIN)/python benchmarks/bench.py $(BENCH)

docs: install
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -e '.[docs]'
	$(BIN)/python -m mkdocs build --strict

clean:
	rm -rf $(VENV) .venvs build dist site demo .coverage .pytest_cache .mypy_cache .ruff_cache
