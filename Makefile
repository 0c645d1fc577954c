# Meshweir's commands. Everything lands in .venv and .tools beside this file; nothing else is touched.
SHELL := /bin/bash
.DEFAULT_GOAL := help
UV_VERSION := 0.13.9
UV := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)
RUN := .venv/bin
WORKERS ?= 2

.PHONY: help sync check format test golden demo up secrets bench chaos fuzz clean

help:  ## List the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*##\s*(.*)/  make \1\t\2/' | expand -t 16

.tools/bin/uv:
	@echo "sync: fetching uv $(UV_VERSION) into .tools"
	@python3 -m venv .tools && .tools/bin/pip install --quiet uv==$(UV_VERSION)

.venv/.synced: pyproject.toml uv.lock $(if $(filter .tools/bin/uv,$(UV)),.tools/bin/uv)
	@echo "sync: installing the locked dependencies into .venv"
	@$(UV) sync --frozen --all-extras --quiet
	@# the test wheel xds-protos brings an old copy of opentelemetry.proto: the real one goes on top
	@$(UV) sync --frozen --all-extras --quiet --reinstall-package opentelemetry-proto
	@echo "sync: compiling decoders and analysis (once; cached beside the code)"
	@$(RUN)/python -m pipeline
	@touch $@

sync: .venv/.synced  ## Set up .venv (quick when nothing changed)

check: sync  ## Lint, types, import contracts
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/lint-imports

format: sync  ## Format and mend what can be mended
	$(RUN)/ruff check --fix . || true
	$(RUN)/ruff format .

test: sync  ## Run the whole test suite, in WORKERS=2 processes
	$(RUN)/pytest --numprocesses $(WORKERS) --dist loadfile

golden: sync  ## Rewrite the golden files; review the diff
	$(RUN)/pytest -q --update-golden tests

demo: sync  ## A real Envoy mesh with Meshweir beside it (Ctrl-C ends it)
	$(RUN)/meshweir demo

secrets:  ## Make the secrets of docker-compose.yml, where they are missing
	@deploy/secrets.sh

up: sync  ## Meshweir alone: collectors, store, analysis and API in one process
	$(RUN)/meshweir up

bench: sync  ## Measure this machine (writes nothing; see docs/benchmarks.md)
	$(RUN)/python -m tests.benchmarks

chaos: sync  ## Kill and stop processes at random while telemetry flows, then compare the books
	$(RUN)/python -m tests.chaos
	MESHWEIR_TEST_KILLS=50 $(RUN)/pytest tests/e2e/test_kill.py

fuzz: sync  ## Fuzz all decoders for SECONDS=60; FORMAT=name takes one alone
	$(RUN)/python -m tests.fuzz --seconds $(or $(SECONDS),60) --format "$(FORMAT)"

clean:  ## Remove what the commands above made
	rm -rf .venv .tools .mypy_cache .ruff_cache .pytest_cache .hypothesis .fuzz
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
