# Everything starts here; `make help` lists it. A fresh machine needs Python 3.11 or newer, and make.

PYTHON ?= python3
PORT ?= 8000
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
READY := $(VENV)/.ready
READY_FOR_DEMO := $(VENV)/.ready-for-demo

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo demo-litestar test soak workers chaos chaos-short check guards clean

help:
	@echo "make demo           the FastAPI example with a token back end, on 127.0.0.1 (PORT=8000)"
	@echo "make demo-litestar  the same with Litestar"
	@echo "make test           the tests, with coverage (ARGS=\"-k grace\" passes on to pytest)"
	@echo "make soak           the long runs that make test leaves out"
	@echo "make workers        real worker processes on Redis and SQLite: one refresh for all, killed workers, a store that is down (OUTAGE=60)"
	@echo "make chaos          ten minutes of killed workers, bad networks and wrong clocks, on Redis and SQLite (SEED=1 MINUTES=10 STORE=redis)"
	@echo "make chaos-short    a minute and a half of it, always with the same seed"
	@echo "make check          ruff, mypy, pyright, and the completeness of the public types"
	@echo "make guards         takes out each guard in turn, and shows that a test notices"
	@echo "make clean          removes what the others made, $(VENV) included"

demo: $(READY_FOR_DEMO)
	@exec $(BIN)/python examples/demo.py fastapi --port $(PORT)

demo-litestar: $(READY_FOR_DEMO)
	@exec $(BIN)/python examples/demo.py litestar --port $(PORT)

test: $(READY)
	@$(BIN)/python -m pytest -n 2 -m "not soak and not workers" --cov --cov-report=term --cov-fail-under=95 $(ARGS)

soak: $(READY)
	@$(BIN)/python -m pytest -n 2 -m soak $(ARGS)

workers: $(READY)
	@$(BIN)/python -m pytest -n 4 --dist worksteal -m workers tests/workers $(ARGS)

chaos: $(READY)
	@PYTHONPATH=tests exec $(BIN)/python -m chaos

chaos-short: $(READY)
	@PYTHONPATH=tests SEED=1 MINUTES=1.4 exec $(BIN)/python -m chaos

# For --verifytypes pyright asks the first python3 on the PATH where the package is.
check: $(READY)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy
	@$(BIN)/pyright
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pyright --verifytypes asgi_token_rotation --ignoreexternal >$(VENV)/verifytypes.log \
		|| { cat $(VENV)/verifytypes.log; exit 1; }

guards: $(READY)
	@$(BIN)/python tests/guards/run.py

clean:
	@rm -rf $(VENV) .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	@find src tests examples -name __pycache__ -type d -prune -exec rm -rf {} +

# The demo has a stamp of its own, so that a first look does not wait for type checkers.
$(READY_FOR_DEMO): pyproject.toml | $(BIN)/python
	@echo "Installing the package and what the examples need into $(VENV) ..."
	@$(PIP) --editable ".[fastapi,litestar]" "uvicorn>=0.32" "websockets>=14"
	@touch $@

$(READY): pyproject.toml | $(BIN)/python
	@echo "Installing the package and the development tools into $(VENV) ..."
	@$(PIP) --editable . --group dev
	@touch $(READY_FOR_DEMO) $@

# pip from 25.1 on knows --group, which is newer than what some Pythons bring along.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, and this is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "No virtual environment could be made. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(PIP) --upgrade pip
