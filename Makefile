# What a person and CI run. `make` alone lists the targets.

# The newest of 3.11 to 3.13 that can make a virtual environment; PYTHON=... names another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	  $$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info)' 2>/dev/null \
	  && { echo $$p; break; }; done)
# A machine with an NVIDIA GPU also gets torch for it; EXTRAS=... decides otherwise.
EXTRAS ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo '[cuda]')
ARGS ?=
PREFIX ?= /opt/linegate
DESTDIR ?=
SYSCONFDIR ?= /etc
UNITDIR ?= /usr/lib/systemd/system
SYSUSERSDIR ?= /usr/lib/sysusers.d
TMPFILESDIR ?= /usr/lib/tmpfiles.d

.DEFAULT_GOAL := help
.PHONY: help run test lint bench size drill-systemd install uninstall clean
# Never half an environment: a target whose recipe failed is no target.
.DELETE_ON_ERROR:

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv-run/.installed ## the demo: a station on real pictures, MQTT on 1883, page on 9580 (ARGS=...)
	@exec .venv-run/bin/linegate demo $(ARGS)

test: .venv/.installed ## every test (ARGS=... goes to pytest)
	.venv/bin/python -m pytest --durations=15 $(ARGS)

lint: .venv/.installed ## style, floors and types
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/lint-imports
	.venv/bin/mypy

bench: .venv/.installed ## the measurements that the documents quote
	@for b in bench/*.py; do echo "== $$b"; .venv/bin/python $$b || exit 1; done

clean: ## remove what the targets above made, the environments too
	rm -rf .venv .venv-run build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# $(call environment,FOLDER,EXTRAS): a virtual environment with exactly the versions of constraints.txt.
define environment
@if [ -z "$(PYTHON)" ]; then \
	  echo "linegate needs Python 3.11 or newer with its venv module, and found none."; \
	  echo "On Debian or Ubuntu: apt-get install python3 python3-venv   (or name one: make PYTHON=/path/to/python3.11)"; \
	  exit 1; fi
@echo "Setting up $(1) with $$($(PYTHON) --version); once only"
@[ -x $(1)/bin/python ] || $(PYTHON) -m venv $(1)
$(1)/bin/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.$(2)'
@touch $@
endef

.venv-run/.installed: pyproject.toml constraints.txt
	$(call environment,.venv-run,$(EXTRAS))

.venv/.installed: pyproject.toml constraints.txt
	$(call environment,.venv,[dev])
