# The whole compendium as files: every edge names what it really needs, and a second `make reproduce` does nothing.

PROFILE ?= demo
COHORT  ?= simulated
SEED    ?= 0
DEVICE  ?= auto
PRESET  ?= corrected
RAW     ?=
ECG     ?=
REAL    ?=
ARM     ?= mdm
ONLY    ?=
STRICT  ?=
DASK    ?=
SPLITS  ?=
WORKERS ?= 0
CORES   := $(shell getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1)
JOBS    ?= 2

MAKEFLAGS += --no-builtin-rules
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += --jobs=$(JOBS)
endif
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.SECONDARY:
.SECONDEXPANSION:
.DEFAULT_GOAL := help

ifeq ($(filter $(PROFILE),smoke demo paper),)
$(error PROFILE=$(PROFILE) is unknown; it is smoke, demo or paper)
endif
ifeq ($(filter $(DEVICE),auto cpu cuda),)
$(error DEVICE=$(DEVICE) is unknown; it is auto, cpu or cuda)
endif
ifeq ($(wildcard data_manifests/$(COHORT).yaml),)
$(error COHORT=$(COHORT) has no manifest data_manifests/$(COHORT).yaml)
endif

# `paper+tile_crops` and the like are known to mmcl.config alone, which needs no more than Python.
BASE_PYTHON ?= python3
ifeq ($(filter $(PRESET),corrected paper),)
UNKNOWN := $(shell PYTHONPATH='$(CURDIR)' $(BASE_PYTHON) -c 'import sys; from mmcl.config import preset; preset(sys.argv[1])' '$(PRESET)' 2>&1 | tail -n 1)
ifneq ($(UNKNOWN),)
$(error PRESET=$(PRESET): $(UNKNOWN))
endif
endif

# ---- environment: an active one is used as it is; else .venv is made from the lock
ifneq ($(VIRTUAL_ENV),)
  PREFIX := $(VIRTUAL_ENV)
else ifneq ($(filter-out base,$(CONDA_DEFAULT_ENV)),)
  PREFIX := $(CONDA_PREFIX)
else
  PREFIX := $(CURDIR)/.venv
endif
PYTHON := $(PREFIX)/bin/python
READY  := $(PREFIX)/.mmcl-ready
export PYTHONPATH := $(CURDIR)
export MMCL_BUILD ?= $(CURDIR)/build

$(READY): requirements.lock pyproject.toml
	@test -x $(PYTHON) || $(BASE_PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 14) else "Python 3.11 to 3.13 is needed; set BASE_PYTHON=")'
	@test -x $(PYTHON) || $(BASE_PYTHON) -m venv $(PREFIX)
	@$(PYTHON) mmcl/environment.py || { echo "installing the lock into $(PREFIX)"; $(PYTHON) -m pip install --quiet -r requirements.lock; $(PYTHON) mmcl/environment.py; }
	@touch $@

# ---- which modules each notebook uses, found by reading their imports
DEPENDENCIES := build/dependencies.mk
BENCHMARK := $(wildcard tests/benchmarks/*.py tests/benchmarks/*/*.py)
$(DEPENDENCIES): $(wildcard notebooks/*.py mmcl/*.py mmcl/*.csv mmcl/*/*.py mmcl/*/*/*.py mmcl/*/*.yaml) $(BENCHMARK)
	@mkdir -p $(@D)
	@$(BASE_PYTHON) mmcl/provenance.py notebooks/*.py mmcl/training/features.py mmcl/training/finetuning.py tests/benchmarks/curves.py > $@.partial
	@mv $@.partial $@
ifeq ($(filter clean help,$(or $(MAKECMDGOALS),help)),)
-include $(DEPENDENCIES)
endif

# ---- one run: build/<profile>/<cohort>-seed<seed>/, with -<preset> added to the name for another than corrected
COHORT_RUN := $(MMCL_BUILD)/$(PROFILE)/$(COHORT)-seed$(SEED)
RUN       := $(COHORT_RUN)$(if $(filter corrected,$(PRESET)),,-$(PRESET))
CKPT      := $(RUN)/checkpoints
STORE     := $(RUN)/store/store.json
STORIES   := $(basename $(notdir $(sort $(wildcard notebooks/*.py))))
ifneq ($(COHORT),simulated)
  STORIES := $(filter-out 00_%,$(STORIES))
endif
# The cohort is the same for every preset: it is simulated once, in the folder of corrected.
ifneq ($(PRESET),corrected)
  STORIES := $(filter-out 00_%,$(STORIES))
endif
EXECUTED  := $(STORIES:%=$(RUN)/%.ipynb)
PAGES     := $(STORIES:%=$(RUN)/%.html)
OPTIONS    = --profile $(PROFILE) --cohort $(COHORT) --seed $(SEED) --device $(DEVICE) --preset $(PRESET)
SHARE     := $(shell echo $$(( $(CORES) / $(JOBS) > 0 ? $(CORES) / $(JOBS) : 1 )))
export OMP_NUM_THREADS ?= $(SHARE)
export NUMBA_NUM_THREADS ?= $(CORES)

$(COHORT_RUN)/00_simulate_cohort.ipynb $(RUN)/01_preprocess.ipynb: export OMP_NUM_THREADS = $(CORES)
# Not what it needs, which is trained with the share of a job.
$(RUN)/06_interpret_latent_space.ipynb: private THREADS = $(CORES)
$(RUN)/01_preprocess.ipynb: EXTRA = raw=$(RAW) ecg=$(ECG)
$(RUN)/09_what_was_mended.ipynb: EXTRA = raw=$(RAW)
# A folder of recordings to show is no file that make could compare, so the notebook that shows one runs again.
ifneq ($(and $(ECG),$(if $(filter embed,$(MAKECMDGOALS)),,show)),)
$(RUN)/01_preprocess.ipynb: always
endif
ifneq ($(REAL),)
$(COHORT_RUN)/00_simulate_cohort.ipynb: always
endif
.PHONY: always

$(COHORT_RUN)/00_simulate_cohort.ipynb: notebooks/00_simulate_cohort.py $$(MODULES_00_simulate_cohort) requirements.lock | $(READY)
	@echo "running 00_simulate_cohort"
	@$(PYTHON) -m mmcl.notebook $< $@ profile=$(PROFILE) cohort=$(COHORT) seed=$(SEED) device=$(DEVICE) real=$(REAL)

$(RUN)/%.ipynb: notebooks/%.py $$(MODULES_$$*) requirements.lock | $(READY)
	@echo "running $*"
	@$(if $(THREADS),OMP_NUM_THREADS=$(THREADS) )$(PYTHON) -m mmcl.notebook $< $@ profile=$(PROFILE) cohort=$(COHORT) seed=$(SEED) device=$(DEVICE) preset=$(PRESET) $(EXTRA)

$(RUN)/%.html: $(RUN)/%.ipynb
	@$(PYTHON) -m jupyter nbconvert --log-level WARN --to html --output-dir $(@D) --output $*.partial $<
	@mv $(@D)/$*.partial.html $@

# Training that the second core can do meanwhile, by the shell command that a cluster would use.
$(RUN)/logs/pretrain_mmcl.txt: $(STORE) $(MODULES_features) requirements.lock | $(READY)
	@mkdir -p $(@D)
	@echo "pre-training mmcl from random weights"
	@$(PYTHON) -m mmcl pretrain mmcl $(OPTIONS) > $@.partial
	@mv $@.partial $@

SUPERVISED := $(RUN)/logs/finetune_scratch.txt $(RUN)/logs/finetune_cmr.txt
$(SUPERVISED): $(RUN)/logs/finetune_%.txt: $(STORE) $(MODULES_finetuning) requirements.lock | $(READY)
	@mkdir -p $(@D)
	@echo "training supervised from random weights: $*"
	@$(PYTHON) -m mmcl finetune $* $(OPTIONS) > $@.partial
	@mv $@.partial $@

$(RUN)/benchmark.json: $(STORE) $(BENCHMARK) $(MODULES_curves) requirements.lock | $(READY)
	@echo "training both paths for their loss curves, and taking rates"
	@$(PYTHON) -m tests.benchmarks.curves $(OPTIONS)
	@touch $@

# A product is rewritten only when its content changes, so its own time tells whether what follows is stale.
PRODUCT = @test -e $@ || { echo "$@ is gone: remove $< and run make again" >&2; false; }
$(COHORT_RUN)/raw/cohort.json: $(COHORT_RUN)/00_simulate_cohort.ipynb ; $(PRODUCT)
$(STORE): $(RUN)/01_preprocess.ipynb ; $(PRODUCT)
$(CKPT)/mdm/finished.json: $(RUN)/02_pretrain_mdm.ipynb ; $(PRODUCT)
$(CKPT)/mmcl/finished.json: $(RUN)/logs/pretrain_mmcl.txt ; $(PRODUCT)
$(CKPT)/mdm+mmcl/finished.json: $(RUN)/03_pretrain_mmcl.ipynb ; $(PRODUCT)
$(RUN)/results/%.json: $(RUN)/%.ipynb ; $(PRODUCT)

ifeq ($(COHORT),simulated)
$(RUN)/01_preprocess.ipynb: $(COHORT_RUN)/raw/cohort.json
endif
PRETRAINED := $(CKPT)/mdm/finished.json $(CKPT)/mmcl/finished.json $(CKPT)/mdm+mmcl/finished.json
$(RUN)/02_pretrain_mdm.ipynb: $(STORE)
$(RUN)/03_pretrain_mmcl.ipynb: $(STORE) $(CKPT)/mdm/finished.json $(CKPT)/mmcl/finished.json
$(RUN)/04_finetune_risk.ipynb $(RUN)/05_finetune_phenotypes.ipynb: $(STORE) $(PRETRAINED) $(SUPERVISED)
$(RUN)/06_interpret_latent_space.ipynb: $(STORE) $(PRETRAINED)
$(RUN)/08_use_your_own_ecgs.ipynb: $(CKPT)/mdm+mmcl/finished.json
$(RUN)/09_what_was_mended.ipynb: $(RUN)/results/04_finetune_risk.json $(RUN)/results/05_finetune_phenotypes.json
$(RUN)/10_benchmark.ipynb: $(RUN)/benchmark.json $(wildcard $(MMCL_BUILD)/bench_summary.json)
SUMMARISED := $(filter-out 07_% 08_% 09_% 10_%,$(STORIES))
$(RUN)/07_summarise.ipynb: $(SUMMARISED:%=$(RUN)/results/%.json)

.PHONY: help setup fetch preprocess pretrain experiments reproduce smoke test lab html embed bench calibrate lint lock clean

help:  ## this list
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## /\1\t/' | while IFS=$$'\t' read -r name text; do printf '  make %-11s %s\n' "$$name" "$$text"; done
	@echo; echo "  PROFILE=smoke|demo|paper (now $(PROFILE))  COHORT=$(COHORT)  SEED=$(SEED)  DEVICE=auto|cpu|cuda (now $(DEVICE))  JOBS=$(JOBS)"
	@echo "  PRESET=corrected|paper, or one with choices changed: paper+tile_crops, corrected-centre_crop (now $(PRESET))"

setup: $(READY)  ## install the locked environment in .venv, or check the active one

reproduce: $(EXECUTED) $(PAGES)  ## run everything: data, pre-training, fine-tuning, figures
ifeq ($(PROFILE)-$(COHORT)-$(SEED)-$(PRESET),demo-simulated-0-corrected)
	@mkdir -p figures
	@install -C -m 644 $(RUN)/figures/*.png $(RUN)/figures/*.gif $(RUN)/figures/*.json figures/
	@$(PYTHON) -m mmcl.findings
	@$(PYTHON) -m mmcl.privacy --record $(COHORT)
endif
	@echo "done: pages in $(RUN), figures in $(RUN)/figures"

smoke:  ## run every notebook at its smallest
	@$(MAKE) --no-print-directory PROFILE=smoke notebooks

notebooks: $(EXECUTED)
.PHONY: notebooks

test: $(READY)  ## unit tests and a smoke run of all notebooks
	@$(PYTHON) -m pytest -m "not gpu and not network"

lab: $(READY)  ## open the notebooks in JupyterLab
	@$(PYTHON) -m jupytext --quiet --set-kernel python3 --to ipynb --update notebooks/*.py
	@$(PYTHON) -m jupyter lab --notebook-dir=.

html: $(PAGES)  ## executed notebooks as HTML pages

# The work goes first by the shell command, with its progress; the notebook then finds the store and tells of it.
preprocess: $(READY) $(if $(filter simulated,$(COHORT)),$(COHORT_RUN)/raw/cohort.json)  ## raw files of COHORT= in RAW= to a store, with a report of their quality
	@$(PYTHON) -m mmcl preprocess $(OPTIONS) --raw "$(RAW)" --workers $(WORKERS) --dask "$(DASK)" $(if $(filter-out 0,$(STRICT)),--strict) $(if $(SPLITS),--splits "$(SPLITS)")
	@test $(RUN)/01_preprocess.ipynb -nt $(STORE) || rm -f $(RUN)/01_preprocess.ipynb $(RUN)/01_preprocess.html
	@$(MAKE) --no-print-directory $(RUN)/01_preprocess.html
	@echo "report: $(RUN)/01_preprocess.html"

pretrain: $(READY)  ## pre-train ARM=mdm, mdm+mmcl, ... on the store that preprocess made
	@test -e $(STORE) || { echo "no store yet: make preprocess COHORT=$(COHORT) RAW=FOLDER" >&2; false; }
	@$(PYTHON) -m mmcl pretrain $(ARM) $(OPTIONS)

# Cells that the notebooks need are found by them; the table of what is done: python -m mmcl experiments status.
experiments: $(READY) $(STORE)  ## every cell of the grid in mmcl/training/experiments.yaml, JOBS= at once, or ONLY=arm=mdm*,task=risk
	@$(PYTHON) -m mmcl experiments run $(OPTIONS) --workers $(JOBS) $(if $(ONLY),--only "$(ONLY)")

fetch: $(READY)  ## download the open COHORT=ptbxl or acdc into RAW=
	@test -n "$(RAW)" || { echo "give a folder: make fetch COHORT=$(COHORT) RAW=FOLDER" >&2; false; }
	@$(PYTHON) -m mmcl fetch $(COHORT) "$(RAW)"

embed: $(CKPT)/mdm+mmcl/finished.json $(RUN)/results/04_finetune_risk.json $(RUN)/results/05_finetune_phenotypes.json  ## embed every WFDB record in the folder ECG=
	@test -n "$(ECG)" || { echo "give a folder of WFDB records: make embed ECG=FOLDER" >&2; false; }
	@$(PYTHON) -m mmcl embed "$(ECG)" $(OPTIONS)

bench: export OMP_NUM_THREADS = $(CORES)
bench: export DEVICE := $(DEVICE)
bench: $(READY)  ## time the method's steps beside plain reference paths
	@mkdir -p $(MMCL_BUILD)
	@$(PYTHON) -m pytest tests/benchmarks -o python_files='bench_*.py' --benchmark-json=$(MMCL_BUILD)/bench.json

calibrate: $(READY)  ## search the simulated cohort's effective parameters further (20 minutes or more)
	@$(PYTHON) -m mmcl.simulation.calibration

lint: $(READY)  ## ruff: errors and format; no access-controlled data in git
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mmcl.privacy

lock:  ## resolve pyproject.toml anew into requirements.lock
	@rm -rf build/lock
	@$(BASE_PYTHON) -m venv build/lock
	@build/lock/bin/python -m pip install --quiet "torch==$$(sed -n 's/^torch==//p' requirements.lock)" ".[notebooks,test,calibration,cluster]"
	@build/lock/bin/python -m pip freeze --exclude mmcl | grep -vE '^(nvidia-|triton)' | sed 's/+cpu$$//' > requirements.lock.partial
	@mv requirements.lock.partial requirements.lock
	@rm -rf build/lock

clean:  ## remove everything made: build/ (the environment, and the key of pseudonyms, stay)
	@rm -rf notebooks/*.ipynb
	@test ! -d build || find build -mindepth 1 -maxdepth 1 ! -name identifiers.key -exec rm -rf {} +
