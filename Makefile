# `make demo` and `make test` do all the set-up on a fresh machine with Python >= 3.11.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check install clean

demo: install
	$(BIN)/unteach run experiments/quickstart.yaml

# Two workers: most of the time goes into starting the command line, which takes one core.
test: install
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Formatting, types and the import contract; what .ci/run adds to the tests.
check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

install: $(VENV)/.installed

# torch first and by itself: the CPU build unless the machine has an NVIDIA GPU (override with TORCH_INDEX=url).
$(VENV)/.installed: pyproject.toml constraints.txt scripts/install.sh
	PYTHON=$(PYTHON) VENV=$(VENV) sh scripts/install.sh
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
