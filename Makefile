# make demo   see it work      make test   the whole test suite      make check   quick look before a commit
# make setup  only .venv       make bench  ratios against peers      make pins    renew constraints.txt
# make trainer  also torch, for training
# make install  on a server, as root: the daemon under systemd, or this release in place of the one before

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
APT_PACKAGES := buildah caddy dcmtk debootstrap dicom3tools logrotate orthanc orthanc-dicomweb postgresql rsyslog rsyslog-gnutls systemd systemd-container
SOURCES := triage trainer migrations tests
# Tests wait for other processes a third of their time.
WORKERS ?= $(shell expr $$(nproc) + 1)

.PHONY: setup trainer demo test check bench pins debian-packages browser lint
.DEFAULT_GOAL := setup

setup: $(VENV)/.daemon

trainer: $(VENV)/.trainer

# ONCE=1 ends by itself; STUDY=dir sends your own DICOM.
demo: $(VENV)/.daemon
	$(BIN)/triage demo $(if $(ONCE),--once) $(if $(STUDY),--study "$(STUDY)")

test: $(VENV)/.everything debian-packages browser lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m "not soak" --durations=25 --durations-min=20 $(PYTEST_ARGS)

check: $(VENV)/.everything lint
	$(BIN)/python -m pytest -n $(WORKERS) -q -m "not slow and not soak" $(PYTEST_ARGS)

lint: $(VENV)/.everything
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(VENV)/.everything debian-packages
	$(BIN)/python -m tests.benchmarks $(BENCH_ARGS)

# Exact versions of everything that the environment of `make test` holds, for the daemon, the trainer and the tests.
pins: $(VENV)/.everything
	$(BIN)/python -m pip freeze --all --exclude pip --exclude-editable \
	    | sed -e 's/+[a-z0-9.]*$$//' -e 's/^onnxruntime==\(.*\)/onnxruntime==\1\nonnxruntime-gpu==\1/' > constraints.txt

# PREFIX=/opt/ich-triage  DESTDIR=folder, to look at  CUDA=1, for an NVIDIA GPU; without it, what was there before
install:
	@PYTHON='$(PYTHON)' PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' $(if $(filter-out undefined,$(origin CUDA)),CUDA='$(CUDA)') deploy/install

# Leaves settings, database and files where they are.
uninstall:
	@PREFIX='$(PREFIX)' DESTDIR='$(DESTDIR)' deploy/uninstall

debian-packages:
	@.ci/debian-packages $(APT_PACKAGES)

# A browser and what is loaded into it, for the tests that look at our results and pages as a radiologist does.
browser: $(VENV)/.everything
	@.ci/debian-packages chromium chromium-driver
	@.ci/browser-files build/browser $(BIN)/python

# The daemon alone: no torch, no test tools.
$(VENV)/.daemon: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e '.[cpu]'
	@touch $@

$(VENV)/.trainer: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e '.[cpu,train]'
	@touch $@ $(VENV)/.daemon

$(VENV)/.everything: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e '.[cpu,s3,train,test]'
	@touch $@ $(VENV)/.daemon $(VENV)/.trainer

$(VENV)/.made:
	@.ci/make-venv '$(PYTHON)' $(VENV)
	@touch $@
