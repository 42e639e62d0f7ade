# Everything starts here; `make help` lists it. A fresh machine needs Python 3.11 or newer, and make.

PYTHON ?= python3
PORT ?= 8000
CLIENT ?= 4
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
READY := $(VENV)/.ready
READY_FOR_DEMO := $(VENV)/.ready-for-demo
READY_FOR_FUZZ := $(VENV)/.ready-for-fuzz
READY_FOR_BENCH := $(VENV)/.ready-for-bench
MATRIX := $(VENV)/matrix

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo demo-litestar demo-react demo-oidc test soak workers chaos chaos-short interop e2e race contract providers providers-endurance bench bench-memory client check fuzz guards clean

help:
	@echo "make demo           the FastAPI example with a token back end, on 127.0.0.1 (PORT=8000)"
	@echo "make demo-litestar  the same with Litestar"
	@echo "make demo-react     a React application on next-auth 4, unmodified (CLIENT=5: the beta); needs node and npm"
	@echo "make demo-oidc      sign-in at a local OpenID provider, on 127.0.0.1; needs node and npm"
	@echo "make test           the tests, with coverage (ARGS=\"-k grace\" passes on to pytest)"
	@echo "make soak           the long runs that make test leaves out"
	@echo "make workers        real worker processes on Redis and SQLite: one refresh for all, killed workers, a store that is down (OUTAGE=60)"
	@echo "make chaos          ten minutes of killed workers, bad networks and wrong clocks, on Redis and SQLite (SEED=1 MINUTES=10 STORE=redis)"
	@echo "make chaos-short    a minute and a half of it, always with the same seed"
	@echo "make interop        cookies both ways with the real Auth.js, NextAuth and jose; needs node and npm (CI=1: without them it fails)"
	@echo "make matrix         each framework on each server, over real sockets and behind nginx, which it needs; writes docs/frameworks.md"
	@echo "make e2e            the React example in Chromium, with next-auth 4 and 5; needs node, npm and chromium (CI=1: without them it fails)"
	@echo "make race           two session reads at once: the real Auth.js and this package, beside each other"
	@echo "make bench          what a request costs, beside other session middlewares; writes benchmarks/RESULTS.md (ARGS=--check)"
	@echo "make bench-memory   a million sessions and a million forged cookies through one process; writes its section there"
	@echo "make contract       the real NextAuth and Auth.js, servers and clients, against ours; needs node and npm (CI=1: without them it fails)"
	@echo "make providers      oidc-provider, django-oauth-toolkit and Keycloak, through their sign-in forms (ROTATIONS=20); needs node, npm, java and mvn"
	@echo "make providers-endurance  fifty sessions with access tokens of 5 s at oidc-provider, ten minutes (SESSIONS=50 MINUTES=10 SEED=1); needs node and npm"
	@echo "make client         the browser module: types, size, and real tabs in Chromium; needs node, npm, chromium (CI=1: without them it fails)"
	@echo "make fuzz           a million hostile inputs, in process; prints its seed (SEED=1 N=200000 INPUT=…)"
	@echo "make check          ruff, mypy, pyright, and the completeness of the public types"
	@echo "make guards         takes out each guard in turn, and shows that a test notices"
	@echo "make clean          removes what the others made, $(VENV) included"

demo: $(READY_FOR_DEMO)
	@exec $(BIN)/python examples/demo.py fastapi --port $(PORT)

demo-litestar: $(READY_FOR_DEMO)
	@exec $(BIN)/python examples/demo.py litestar --port $(PORT)

demo-react: $(READY_FOR_DEMO)
	@exec $(BIN)/python examples/react/demo.py --client $(CLIENT) --port $(PORT)

demo-oidc: $(READY_FOR_DEMO)
	@PORT=$(PORT) exec $(BIN)/python examples/fastapi/oidc.py

test: $(READY)
	@$(BIN)/python -m pytest -n 2 -m "not soak and not workers and not interop and not contract and not providers" --cov --cov-report=term --cov-fail-under=95 $(ARGS)

soak: $(READY)
	@$(BIN)/python -m pytest -n 2 -m soak $(ARGS)

workers: $(READY)
	@$(BIN)/python -m pytest -n 4 --dist worksteal -m workers tests/workers $(ARGS)

chaos: $(READY)
	@PYTHONPATH=tests exec $(BIN)/python -m chaos

chaos-short: $(READY)
	@PYTHONPATH=tests SEED=1 MINUTES=1.4 exec $(BIN)/python -m chaos

interop: $(READY)
	@$(BIN)/python -m pytest -m interop -rs tests/interop $(ARGS)

# They install node's, PyPI's and Maven's themselves, when they are first asked for.
providers: $(READY)
	@$(BIN)/python -m pytest -n 2 --dist loadfile -rs -m providers tests/real_providers $(ARGS)

providers-endurance: $(READY)
	@PYTHONPATH=tests exec $(BIN)/python -m real_providers.endurance

# A recording that is not current is written anew, and fails once: look at what changed in it.
contract: $(READY)
	@$(BIN)/python -m pytest -rs tests/contract $(ARGS)

matrix: $(MATRIX)/.ready
	@PYTHONPATH=tests exec $(MATRIX)/bin/python -m matrix

e2e: $(READY)
	@$(BIN)/python tests/e2e/run.py $(ARGS)

race: $(READY)
	@$(BIN)/python benchmarks/race/race.py $(ARGS)

bench: $(READY_FOR_BENCH)
	@$(BIN)/python benchmarks/profile.py --write >$(VENV)/profile.log
	@$(BIN)/python benchmarks/bench.py $(ARGS)

bench-memory: $(READY_FOR_BENCH)
	@$(BIN)/python benchmarks/memory.py --write $(ARGS)

client: $(READY)
	@PYTHON="$(CURDIR)/$(BIN)/python" tests/client/run $(ARGS)

fuzz: $(READY_FOR_FUZZ)
	@PYTHONPATH=tests exec $(BIN)/python -W error -m fuzz

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
	@rm -rf $(VENV) .coverage* .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist tests/interop/node_modules tests/contract/node_modules tests/real_providers/node_modules tests/client/node_modules examples/react/build examples/react/node_modules tests/e2e/node_modules benchmarks/race/node_modules
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

$(READY_FOR_BENCH): $(READY)
	@echo "Installing what the benchmarks compare with into $(VENV) ..."
	@$(PIP) --group bench
	@touch $@

# An environment of its own: what a framework or a server pins must not decide over the tests.
$(MATRIX)/.ready: pyproject.toml | $(BIN)/python
	@echo "Installing the package, the frameworks and the servers into $(MATRIX) ..."
	@$(BIN)/python -m venv $(MATRIX)
	@$(MATRIX)/bin/python -m pip install --quiet --disable-pip-version-check --upgrade pip
	@$(MATRIX)/bin/python -m pip install --quiet --disable-pip-version-check --editable . --group matrix
	@touch $@

# atheris has wheels for Linux, from Python 3.11 to 3.13 when this was written. Without it coverage guides nothing, and the run says so.
$(READY_FOR_FUZZ): $(READY)
	@$(PIP) --group fuzz || echo "atheris can't be installed here."
	@touch $@

# pip from 25.1 on knows --group, which is newer than what some Pythons bring along.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or newer is needed, and this is " + sys.version.split()[0] + ". Name another one: make PYTHON=python3.12 ...")'
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "No virtual environment could be made. On Debian and Ubuntu: apt-get install python3-venv"; exit 1; }
	@$(PIP) --upgrade pip
