# Every verb works again after the first time without reinstalling.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUN := quickstart-$(shell date +%Y%m%d-%H%M%S)

.PHONY: install quickstart test lint type contract resolve package benchmark clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e .[dev]
	touch $(STAMP)

quickstart: $(STAMP)
	$(BIN)/rlsearch train configs/quickstart.yaml --name $(RUN)
	$(BIN)/rlsearch evaluate runs/$(RUN) --seeds 5

test: $(STAMP)
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(STAMP)
	$(BIN)/mypy

contract: $(STAMP)
	$(BIN)/lint-imports

# Whether a user's pip finds all that the constraints name, without wheels or settings that only this machine has.
resolve:
	sh -eu -c 'fresh=$$(mktemp -d); trap "rm -rf $$fresh" EXIT; \
	  $(PYTHON) -m venv $$fresh/venv; \
	  for what in ".[dev]" ".[numba]" "."; do \
	    echo "resolving $$what"; \
	    PIP_FIND_LINKS= PIP_CONFIG_FILE=/dev/null \
	      $$fresh/venv/bin/python -m pip install -q --dry-run -c constraints.txt -e "$$what"; \
	  done'

# Builds the sdist and the wheel from it, installs the wheel in a clean environment elsewhere, and trains with it.
package: $(STAMP)
	rm -rf dist
	$(BIN)/python -m build -q
	sh -eu -c 'elsewhere=$$(mktemp -d); trap "rm -rf $$elsewhere" EXIT; \
	  $(PYTHON) -m venv $$elsewhere/venv; \
	  $$elsewhere/venv/bin/python -m pip install -q -c constraints.txt dist/*.whl; \
	  cp configs/smoke.yaml $$elsewhere; cd $$elsewhere; \
	  venv/bin/rlsearch --help; \
	  venv/bin/rlsearch train smoke.yaml; \
	  venv/bin/rlsearch top runs/smoke'

benchmark: $(STAMP)
	$(BIN)/python -m pytest -m benchmark -s

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache
