# What a person and CI run. `make` alone lists the targets.

# The first of these that is 3.11 or newer and can make a virtual environment; PYTHON=... names another.
find_python = $(shell for p in python3 python3.13 python3.12 python3.11; do \
	  $(1) $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	  && { $(1) sh -c "command -v $$p"; break; }; done)
PYTHON ?= $(call find_python)
# A service cannot look into a home, where pyenv and its like keep theirs.
SYSTEM_PYTHON ?= $(call find_python,PATH=/usr/local/bin:/usr/bin:/bin)
# A machine with an NVIDIA GPU also gets torch for it; EXTRAS=... decides otherwise.
EXTRAS ?= $(shell nvidia-smi -L >/dev/null 2>&1 && echo '[cuda]')
ARGS ?=
PREFIX ?= /opt/linegate
DESTDIR ?=
BINDIR ?= /usr/local/bin
SYSCONFDIR ?= /etc
UNITDIR ?= /usr/lib/systemd/system
SYSUSERSDIR ?= /usr/lib/sysusers.d
TMPFILESDIR ?= /usr/lib/tmpfiles.d
# So many versions stay side by side, those that stations still run not counted.
KEEP ?= 3
VERSION ?=
places = PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' BINDIR='$(BINDIR)' SYSCONFDIR='$(SYSCONFDIR)' UNITDIR='$(UNITDIR)' \
  SYSUSERSDIR='$(SYSUSERSDIR)' TMPFILESDIR='$(TMPFILESDIR)'

define need_python
linegate needs Python 3.11 or newer with its venv module, and found none.
On Debian or Ubuntu: apt-get install python3 python3-venv   (or name one: PYTHON=/path/to/python3.11; install takes SYSTEM_PYTHON=...)
endef
export need_python

.DEFAULT_GOAL := help
.PHONY: help python run test lint bench accuracy drill-swap drill-systemd drill-fresh drill-outbox install rollback-install uninstall clean
# Never half an environment: a target whose recipe failed is no target.
.DELETE_ON_ERROR:

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: .venv-run/.installed ## the demo: a station on real pictures, MQTT on 1883, page on 9580 (ARGS=...)
	@exec .venv-run/bin/linegate demo $(ARGS)

test: .venv/.installed ## every test (ARGS=... goes to pytest); as root on Debian it installs the programs that they use
	@tests/packages.sh
	.venv/bin/python -m pytest --durations=15 $(ARGS)

lint: .venv/.installed ## style, floors and types
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/lint-imports
	.venv/bin/mypy

bench: .venv/.installed .venv-run/.installed ## the measurements that the documents quote
	@for b in station preprocess precision footprint; do echo "== bench/$$b.py"; .venv/bin/python bench/$$b.py || exit 1; done

accuracy: .venv/.installed ## the tables of docs/accuracy.md, from DATA=folder of data sets; hours, goes on where it stopped
	@[ -n "$(DATA)" ] || { echo "make accuracy DATA=folder: a folder of data sets, each a folder with a manifest.csv"; exit 1; }
	.venv/bin/python bench/accuracy.py $(DATA) --write $(ARGS)

drill-swap: .venv/.installed ## replace the model 200 times on a running line (ARGS=...)
	.venv/bin/python -m tests.end_to_end.drill $(ARGS)

drill-systemd: .venv/.installed ## boot a real systemd in a container and break the unit in it (root)
	.venv/bin/python tests/systemd/drill.py

drill-outbox: .venv/.installed ## damage copies of an outbox file in 10,000 places (ARGS=... CASES and SEED instead)
	.venv/bin/python -m tests.transport.damage $(or $(ARGS),10000)

drill-fresh: ## make test in a bare Debian, as root and as an ordinary user (root; ARGS=--help)
	@$(PYTHON) tests/systemd/fresh.py $(ARGS)

install: ## as root: linegate under /opt/linegate, the unit, an example under /etc/linegate; starts nothing
	@[ -n "$(SYSTEM_PYTHON)" ] || { echo "$$need_python"; exit 1; }
	@case "$$($(SYSTEM_PYTHON) -c 'import sys; print(sys.base_prefix)')" in /home/*|/root/*) \
	  echo "$(SYSTEM_PYTHON) lies in a home, which the service cannot see; name another: SYSTEM_PYTHON=..."; exit 1;; esac
	@$(places) SYSTEM_PYTHON='$(SYSTEM_PYTHON)' EXTRAS='$(EXTRAS)' KEEP='$(KEEP)' systemd/install.sh install

rollback-install: ## as root: the version before this one, or VERSION=... of those under /opt/linegate/versions
	@$(places) VERSION='$(VERSION)' systemd/install.sh rollback

uninstall: ## as root: remove what install put there; configs, bundles and records stay
	@$(places) systemd/install.sh uninstall

clean: ## remove what the targets above made, the environments too
	rm -rf .venv .venv-run build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# $(call environment,FOLDER,EXTRAS,SIZES): a virtual environment with exactly the versions of constraints.txt.
torch = $(findstring cuda,$(EXTRAS))$(findstring train,$(EXTRAS))
comma := ,
semicolon := ;
define environment
@[ -n "$(PYTHON)" ] || { echo "$$need_python"; exit 1; }
@echo "Setting up $(1) with $$($(PYTHON) --version); once only: $(3)"
@[ -x $(1)/bin/pip ] || $(PYTHON) -m venv $(1)
$(1)/bin/python -m pip install --disable-pip-version-check --constraint constraints.txt --editable '.$(2)'
@touch $@
endef

# A bare Debian has a Python that cannot make environments.
python:
	@[ -n "$(PYTHON)" ] || tests/packages.sh python3 python3-venv

.venv-run/.installed: pyproject.toml constraints.txt | python
	$(call environment,.venv-run,$(EXTRAS),$(if $(torch),3.2 GB,200 MB) to download$(comma) $(if $(torch),6,0.6) GB on disk)

.venv/.installed: pyproject.toml constraints.txt | python
	$(call environment,.venv,[dev],3.3 GB to download$(comma) 6.2 GB on disk with a CUDA build of torch$(semicolon) docs/dependencies.md tells how to do with less)
