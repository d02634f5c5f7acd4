# Run `make` for the list of targets.
.DEFAULT_GOAL := help
.PHONY: help venv venv-dev up lint quick test prove check samples bench gpu simulate fuzz chaos clean
SHELL := /bin/sh

PYTHON ?= python3
TORCH_INDEX ?=
RUN := .venv/bin/python
# Tests run in this many processes; each starts its own Redis.
JOBS ?= logical
PYTEST = $(RUN) -m pytest -q -n $(JOBS) --maxprocesses 8

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: ## make .venv with the pinned dependencies (TORCH_INDEX=url: where torch comes from)
	@$(PYTHON) -m deploy.local.install run --torch-index "$(TORCH_INDEX)"

venv-dev:
	@$(PYTHON) -m deploy.local.install dev --torch-index "$(TORCH_INDEX)"

up: venv ## run everything on this machine until Ctrl-C (WORKERS=2 CELLS=1 WEB=1 PORT=8000 ONCE=1)
	@WORKERS="$(WORKERS)" CELLS="$(CELLS)" WEB="$(WEB)" PORT="$(PORT)" ONCE="$(ONCE)" exec $(RUN) -m deploy.local

lint: venv-dev ## check formatting, lint, types and import rules
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	.venv/bin/lint-imports

quick: venv-dev ## while you edit: lint, types, unit tests and Lua scripts (3 minutes on 2 cores)
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(PYTEST) --tiers unit,scripts $(ARGS)

test: venv-dev samples ## before you commit: quick's tests, real processes, real models (9 minutes; ARGS="-k name")
	$(PYTEST) --tiers unit,scripts,system $(ARGS)

prove: venv-dev samples ## the rest: every Redis version, searches, fault injection, fuzzing (15 minutes)
	WARMROUTE_TEST_REDIS=$${WARMROUTE_TEST_REDIS:-found} $(PYTEST) --tiers scripts,prove $(ARGS)

check: lint test prove ## all that CI runs

samples: venv-dev
	$(RUN) -m deploy.samples

bench: venv-dev ## measure against references side by side (ONLY=name for one)
	@$(RUN) -m deploy.bench $(if $(ONLY),--only "$(ONLY)")

# On a machine with nothing but a GPU and a python with torch, that python does.
GPU_PYTHON ?= $(if $(wildcard .venv/bin/python),.venv/bin/python,$(PYTHON))
gpu: ## on a machine with a GPU: its tests, then figures beside plain torch (at most 8 minutes)
	@$(GPU_PYTHON) -m deploy.bench.gpu

simulate: venv-dev ## whole cells in virtual time, faults by seed (SEEDS=1000, or SEED=7 to see one again)
	@PYTHONHASHSEED=0 $(RUN) -m tests.simulation \
	  $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),200) --first $(or $(FIRST),0))

chaos: venv-dev ## break a cell of real processes and check it (MINUTES=1 SEED=n FIGURES=1)
	@$(RUN) -m tests.chaos $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED)) \
	  $(if $(FIGURES),--figures)

fuzz: venv-dev ## every decoder (SECONDS=60), then the doors (REQUESTS=20000) and push (FILES=2000)
	@$(RUN) -m tests.fuzz --seconds $(or $(SECONDS),60)
	@$(RUN) -m tests.fuzz.door --count $(or $(REQUESTS),20000) --seed $(or $(SEED),1)
	@$(RUN) -m tests.fuzz.pushes --count $(or $(FILES),2000) --seed $(or $(SEED),1)

clean: ## remove what was built, fetched and stored here; .venv too
	rm -rf .venv .warmroute .bench .fuzz .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	  .import_linter_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
