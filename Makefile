# Every verb works again after the first time without reinstalling.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
USER := $(VENV)/.installed
DEV := $(VENV)/.installed-dev

# TORCH=cpu takes the small build of torch, for a Linux machine without a GPU. The default one brings CUDA: gigabytes.
ifeq ($(TORCH),cpu)
TORCH_FIRST = $(BIN)/python -m pip install -q -c constraints.txt --index-url https://download.pytorch.org/whl/cpu torch
else
TORCH_FIRST = @true
endif

.PHONY: install develop quickstart test lint type contract docs resolve package benchmark clean

# What a user needs.
install: $(USER)

$(USER): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(TORCH_FIRST)
	$(BIN)/python -m pip install -q -c constraints.txt -e .[numba]
	touch $(USER)

# And what a developer needs besides.
develop: $(DEV)

$(DEV): $(USER)
	$(BIN)/python -m pip install -q -c constraints.txt -e .[dev]
	touch $(DEV)

quickstart: $(USER)
	$(BIN)/rlsearch train configs/quickstart.yaml
	$(BIN)/rlsearch evaluate $$($(BIN)/rlsearch runs --newest)

test: $(DEV)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(DEV)
	$(BIN)/mypy

contract: $(DEV)
	$(BIN)/lint-imports

# The pages of docs/ as a site: site/index.html. A dead link fails.
docs: $(DEV)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Whether a user's pip finds all that the constraints name, without wheels or settings that only this machine has.
# Of all extras at once: if they fit together, each fits alone.
resolve: $(DEV)
	sh -eu -c 'fresh=$$(mktemp -d); trap "rm -rf $$fresh" EXIT; \
	  $(BIN)/python -m build -q --wheel --outdir $$fresh; \
	  for version in 3.11 3.12 3.13; do \
	    echo "resolving for Python $$version"; \
	    PIP_FIND_LINKS= PIP_CONFIG_FILE=/dev/null \
	      $(BIN)/python -m pip install -q --dry-run --ignore-installed --target $$fresh/there --only-binary=:all: \
	      --python-version $$version -c constraints.txt "$$(echo $$fresh/*.whl)[dev]"; \
	  done'

# Builds the sdist and the wheel from it, installs the wheel in a clean environment elsewhere, and trains with it.
package: $(DEV)
	rm -rf dist
	$(BIN)/python -m build -q
	sh -eu -c 'elsewhere=$$(mktemp -d); trap "rm -rf $$elsewhere" EXIT; \
	  $(PYTHON) -m venv $$elsewhere/venv; \
	  $$elsewhere/venv/bin/python -m pip install -q -c constraints.txt dist/*.whl; \
	  cd $$elsewhere; \
	  venv/bin/rlsearch --version; \
	  venv/bin/rlsearch init smoke; \
	  venv/bin/rlsearch train smoke.yaml; \
	  venv/bin/rlsearch top runs/smoke; \
	  venv/bin/rlsearch report runs/smoke'

benchmark: $(DEV)
	$(BIN)/python -m pytest -m benchmark -s

clean:
	rm -rf $(VENV) dist build site .pytest_cache .mypy_cache .ruff_cache
