# Every command of the project. `make` lists them. Needs git, make, and Python 3.11 or later with python3-venv.

PYTHON3 ?= python3
PORT_OFFSET ?= 0
KAFKA_NODES ?= 1
UV_VERSION := 0.13.9

UV := $(or $(shell command -v uv 2>/dev/null),$(CURDIR)/.local/uv/bin/uv)
PYTHON := .venv/bin/python
empty :=
space := $(empty) $(empty)
PACKAGES := $(wildcard */chikaya_* */*/chikaya_*)

export UV
export UV_PYTHON_DOWNLOADS := never
# A virtual environment that the caller has active is not ours.
unexport VIRTUAL_ENV

.DEFAULT_GOAL := help
.PHONY: help up down test check smoke dead-letters bench faults schemas format

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: .venv/.synced ## start everything on this machine, print the addresses, stay until Ctrl-C (PORT_OFFSET=1000, KAFKA_NODES=3)
	@$(PYTHON) -m chikaya_local.up --port-offset $(PORT_OFFSET) --kafka-nodes $(KAFKA_NODES)

down: ## stop what `make up` has started, even when its terminal is lost
	@if [ -x $(PYTHON) ]; then $(PYTHON) -m chikaya_local.down; else echo "Nothing was ever started here."; fi

test: .venv/.synced ## every test, on servers and ports of their own (ARGS="-k name" chooses)
	@$(PYTHON) -m chikaya_local.browser
	@$(PYTHON) -m pytest $(ARGS)

check: .venv/.synced ## format, lint, types, contracts, imports
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	@MYPYPATH=$(subst $(space),:,$(dir $(PACKAGES))) .venv/bin/mypy $(addprefix -p ,$(notdir $(PACKAGES)))
	$(PYTHON) -m chikaya_contracts.schemas --check
	.venv/bin/lint-imports

smoke: .venv/.synced ## twelve complaints by every way in through the stack that runs, timing each step (PORT_OFFSET as for up)
	@$(PYTHON) -m chikaya_local.smoke --port-offset $(PORT_OFFSET)

dead-letters: .venv/.synced ## what could not be processed in the stack that runs (ARGS="list", "replay tracking 0", "discard …"; PORT_OFFSET as for up)
	@PORT_OFFSET=$(PORT_OFFSET) $(PYTHON) docs/tutorials/local.py as operator .venv/bin/chikaya dead-letters $(or $(ARGS),list)

bench: .venv/.synced ## how fast it is, beside floors of the same run (ARGS="intake tracking --scale 0.3"; MONGO_URI=…, GROWTH=1000000)
	@$(PYTHON) -m chikaya_local.bench $(ARGS)

faults: .venv/.synced ## every fault under load, at least 20,000 complaints, about 25 minutes (ARGS="--only kafka" chooses)
	@$(PYTHON) -m chikaya_local.faults $(ARGS)

schemas: .venv/.synced ## write JSON Schemas, AsyncAPI and tables of the documentation anew from the contracts
	$(PYTHON) -m chikaya_contracts.schemas

format: .venv/.synced ## put the code in the project's format
	.venv/bin/ruff format
	.venv/bin/ruff check --fix

.venv/.synced: uv.lock pyproject.toml $(wildcard */pyproject.toml */*/pyproject.toml) | $(UV)
	@$(PYTHON3) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or later is needed; $(PYTHON3) is $$($(PYTHON3) --version 2>&1). Another: make PYTHON3=/path/to/python3.11 …" >&2; exit 1; }
	@echo "Installing what uv.lock names …"
	@$(UV) sync --quiet --locked --all-packages --python $(PYTHON3) || { \
	  echo "The packages of uv.lock could not be installed: see above; the first time needs the network." >&2; exit 1; }
	@touch $@

$(CURDIR)/.local/uv/bin/uv:
	@$(PYTHON3) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON3) has no venv module. On Debian: apt-get install python3-venv" >&2; exit 1; }
	@echo "Installing uv $(UV_VERSION) into .local/uv …"
	@$(PYTHON3) -m venv .local/uv
	@.local/uv/bin/pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) || { \
	  rm -rf .local/uv; echo "uv could not be fetched with pip: the first time needs the network." >&2; exit 1; }
