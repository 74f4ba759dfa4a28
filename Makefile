# Everything a newcomer types. `make` alone lists the targets.
# All that is installed or written stays in this folder: .venv/ and runs/, both ignored by git.

VENV := .venv
RUNS := runs
# The real cells, one sub-folder a class; the folder beside the checkout serves where there is one.
DATA ?= $(wildcard ../shared/data/pbc)
# Passed on: ARGS="-k smear" for pytest, ARGS="--verbose" for training, ...
ARGS ?=

PYTHON ?=
PY := $(VENV)/bin/python
CELLNET := $(VENV)/bin/cellnet
PIP := $(PY) -m pip --disable-pip-version-check
export TF_CPP_MIN_LOG_LEVEL ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo setup setup-core setup-export setup-ray export web test lint format bench bench-docs bench-web bench-web-docs wheel lock clean \
	train-dysplasianet train-model1 select-dysplasianet select-small release-models explanations \
	transfers selections specialists unknown-cells
.DELETE_ON_ERROR:

help: ## this list
	@echo "usage: make TARGET"
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1|\2/p' $(MAKEFILE_LIST) | \
		while IFS='|' read -r name text; do printf '%-22s %s\n' "$$name" "$$text"; done

# ---------------------------------------------------------------- set-up

# The first Python that is new enough and can make environments; PYTHON=... overrules.
$(VENV)/bin/python:
	@set -e; for name in $(PYTHON) python3.11 python3 python3.12 python3.13 python; do \
		if "$$name" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' \
			>/dev/null 2>&1; then \
			echo "cellnet: making $(VENV) with $$("$$name" --version)"; \
			"$$name" -m venv $(VENV); exit 0; \
		fi; \
	done; \
	echo "cellnet: error: needs Python 3.11 or newer with venv (on Debian: apt-get install" \
		"python3 python3-venv); none was found on PATH. PYTHON=/path/to/python3.11 names one." >&2; \
	exit 1

# Pinned and hashed packages first, then the checkout itself, which may fetch nothing more.
# -qq keeps pip's warnings about the machine's own configuration out of sight, not its errors.
# Of all that TensorFlow brings, what is imported is compiled: quicker than compiling it all. Here, and
# even where Python was told to keep no bytecode: each start would compile it again, for ten seconds.
$(VENV)/core.done: requirements-core.lock setup.cfg pyproject.toml | $(VENV)/bin/python
	@echo "cellnet: installing what prediction needs (requirements-core.lock)"
	@$(PIP) install -qq -r requirements-core.lock
	@$(PIP) install -qq --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/all.done: requirements.lock requirements-core.lock setup.cfg pyproject.toml \
		| $(VENV)/bin/python
	@echo "cellnet: installing training and tests too (requirements.lock; TensorFlow is large)"
	@$(PIP) install -qq --no-compile -r requirements.lock
	@$(PIP) install -qq --no-deps --no-build-isolation --editable .
	@env -u PYTHONDONTWRITEBYTECODE $(PY) -c "from cellnet.tensorflow_import import *; \
		import_tensorflow(); import keras.applications, matplotlib.pyplot, scipy.stats, skops.io, \
		sklearn.svm, hypothesis"
	@touch $(VENV)/core.done $@

$(VENV)/export.done: requirements-export.lock $(VENV)/all.done
	@echo "cellnet: installing what ONNX needs too (requirements-export.lock)"
	@$(PIP) install -qq --no-compile -r requirements-export.lock
	@touch $@

# Compiled whole: a node of a cluster that compiles as it starts is given up by Ray after 15 s.
$(VENV)/ray.done: requirements-ray.lock $(VENV)/all.done
	@echo "cellnet: installing Ray too (requirements-ray.lock)"
	@$(PIP) install -qq -r requirements-ray.lock
	@touch $@

setup-core: $(VENV)/core.done ## install what prediction needs into .venv

setup: $(VENV)/all.done ## install everything (training, tests) into .venv

setup-export: $(VENV)/export.done ## the same, and what ONNX needs

setup-ray: $(VENV)/ray.done ## the same as setup, and Ray, for runs on a cluster

lock: ## renew the lock files from setup.cfg
	@rm -rf build/lock && mkdir -p build
	@$(MAKE) --no-print-directory VENV=build/lock build/lock/bin/python
	@build/lock/bin/python -m pip install -qq 'uv>=0.9,<1'
	@for spec in ".lock --extra train --extra serve --extra test --extra build" \
			"-core.lock --extra build --constraints requirements.lock" \
			"-export.lock --extra export --constraints requirements.lock" \
			"-ray.lock --extra ray --constraints requirements.lock"; do \
		set -- $$spec; out=requirements$$1; shift; \
		build/lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 \
			--generate-hashes --no-annotate --no-header --constraints .lock-constraints.txt \
			--output-file build/$$out "$$@" setup.cfg || exit 1; \
		{ echo "# Every package that setup.cfg brings, pinned, for every platform. Written by: make lock"; \
			cat build/$$out; } > $$out && echo "wrote $$out"; \
	done

# ---------------------------------------------------------------- the main job

demo: $(VENV)/core.done ## set up, then predict a drawn smear with the shipped models
	@rm -rf $(RUNS)/demo && mkdir -p $(RUNS)/demo
	@echo "cellnet: drawing a smear, since no photograph is shipped"
	@$(CELLNET) data draw --smear --out $(RUNS)/demo/smear --seed 1
	$(CELLNET) predict-smear $(RUNS)/demo/smear --html $(RUNS)/demo/report.html
	@echo "cellnet: open $(RUNS)/demo/report.html in a browser to see every cell;" \
		"$(RUNS)/demo/smear.truth.csv says what was drawn"

define train
	@if [ -z "$(DATA)" ] || [ ! -d "$(DATA)" ]; then \
		echo "cellnet: error: DATA must be a folder with one sub-folder of images a class," \
			"got '$(DATA)'; for example: make $@ DATA=/path/to/cells" >&2; exit 1; fi
	@mkdir -p $(RUNS)
	$(CELLNET) train training/$(1).yaml --data "$(DATA)" --run $(RUNS)/$(1) \
		$(if $(wildcard $(RUNS)/$(1)/recipe.yaml),--resume) $(ARGS)
endef

train-dysplasianet: $(VENV)/all.done ## train DysplasiaNet on DATA=folder; goes on where it stopped
	$(call train,dysplasianet)

train-model1: $(VENV)/all.done ## train Model 1 on DATA=folder; goes on where it stopped
	$(call train,model1)

# Runs of a study side by side; each gets its share of the cores.
JOBS ?= 1
SELECTION := $(RUNS)/dysplasianet-selection

select-dysplasianet: $(VENV)/all.done ## chapter 5: eight candidates on DATA=folder, one is chosen (JOBS=)
	@if [ -z "$(DATA)" ] || [ ! -d "$(DATA)" ]; then \
		echo "cellnet: error: DATA must be a folder with one sub-folder of images a class, or a cohort," \
			"got '$(DATA)'; for example: make $@ DATA=/path/to/cells" >&2; exit 1; fi
	@mkdir -p $(RUNS)
	$(CELLNET) select training/dysplasianet-selection.yaml --data "$(DATA)" --run $(SELECTION) \
		--jobs $(JOBS) $(if $(wildcard $(SELECTION)/recipe.yaml),--resume) $(ARGS)

select-small: $(VENV)/all.done ## the same with toys on drawn cells, in minutes
	@rm -rf $(SELECTION)-small
	@test -d $(RUNS)/drawn-for-selection || \
		$(CELLNET) data draw --out $(RUNS)/drawn-for-selection --seed 0 --per-class 220
	$(CELLNET) select training/dysplasianet-selection-small.yaml --jobs $(JOBS) \
		--data $(RUNS)/drawn-for-selection --run $(SELECTION)-small $(ARGS)

# ---------------------------------------------------------------- other formats

FORMATS := savedmodel tfjs litert onnx
EXPORTS := $(foreach name,model1 dysplasianet,$(foreach format,$(FORMATS),\
	export/dist/models/$(name)/$(format)/export.json))

.SECONDEXPANSION:
# The stem is NAME/FORMAT; of the bundle, what the export is made of.
$(EXPORTS): export/dist/models/%/export.json: $(wildcard cellnet/export*.py) \
		$$(addprefix models/$$(patsubst %/,%,$$(dir $$*))/,bundle.json model.tflite golden.npz) \
		$$(wildcard models/$$(dir $$*)operating_point.json) | $(VENV)/all.done
	@$(CELLNET) export models/$(patsubst %/,%,$(dir $*)) --to $(notdir $*) --out $(@D)

$(filter %/onnx/export.json,$(EXPORTS)): | $(VENV)/export.done

export: $(EXPORTS) ## both models in every format below export/dist/models/, with hashes
	@$(PY) -m cellnet.integrity export/dist

# ---------------------------------------------------------------- the browser app

NPM ?= npm

export/node_modules/.package-lock.json: export/package.json export/package-lock.json $(wildcard export/.npmrc)
	@command -v $(NPM) >/dev/null || { echo "cellnet: error: the browser app is built with Node.js 20" \
		"or newer and its npm (on Debian: apt-get install npm); none was found on PATH" >&2; exit 1; }
	@cd export && $(NPM) ci --no-progress --loglevel=error

# A smear to try the app on, since no photograph is shipped.
export/public/example: | $(VENV)/core.done
	@$(CELLNET) data draw --smear --out $@ --seed 1
	@rm -f $@.truth.csv

web: export/node_modules/.package-lock.json export/public/example \
		$(filter %/tfjs/export.json,$(EXPORTS)) ## build the browser app into export/dist/
	@cd export && $(NPM) run --silent build
	@$(PY) -m cellnet.integrity export/dist

# ---------------------------------------------------------------- for developers

test: $(VENV)/all.done ## set up, then the whole suite (ARGS="-k smear" for a part)
	@$(PY) -m pytest $(ARGS)

lint: $(VENV)/all.done ## ruff: rules and formatting
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

format: $(VENV)/all.done ## let ruff mend what it can
	@$(PY) -m ruff check --fix .
	@$(PY) -m ruff format .

bench: $(VENV)/all.done ## measure against the plain way, in one run (QUICK=1 for a short one)
	@mkdir -p $(RUNS)/bench
	@$(PY) tests/bench/run.py --out $(RUNS)/bench $(if $(QUICK),--quick) \
		$(if $(DATA),--data "$(DATA)") $(ARGS)

bench-docs: ## write docs/benchmarks.md from the last `make bench`
	@$(PY) tests/bench/run.py --write-docs docs/benchmarks.md --out $(RUNS)/bench

bench-web: $(VENV)/export.done web $(filter %/onnx/export.json,$(EXPORTS)) ## the browser app beside ONNX Runtime (QUICK=1)
	@mkdir -p $(RUNS)/bench
	@$(PY) tests/bench/browser.py --out $(RUNS)/bench $(if $(QUICK),--quick) \
		$(if $(DATA),--data "$(DATA)") $(ARGS)

bench-web-docs: ## write its part of docs/benchmarks.md from the last `make bench-web`
	@$(PY) tests/bench/browser.py --write-docs docs/benchmarks.md --out $(RUNS)/bench

# What else there is of real cells: the folder that holds pbc/ holds other laboratories' too.
OTHERS ?= $(if $(DATA),$(patsubst %/,%,$(dir $(patsubst %/,%,$(DATA)))))

release-models: $(VENV)/all.done ## finished runs become models/: calibrate, measure, cards (STEPS=)
	$(PY) tests/release.py --runs "$(RUNS)" $(if $(OTHERS),--others "$(OTHERS)") \
		$(if $(PREPARED),--prepared "$(PREPARED)") $(if $(COHORT),--cohort "$(COHORT)") \
		$(STEPS)

# STEPS=docs of each writes what was measured into docs/results.md.
transfers: $(VENV)/all.done ## chapters 2 and 4 on DATA=folder with weights of one's own (STEPS=)
	$(PY) tests/transfers.py --runs "$(RUNS)" $(if $(DATA),--data "$(DATA)") $(STEPS)

explanations: $(VENV)/all.done ## measure the maps of the shipped models on DATA=folder (STEPS=)
	$(PY) tests/explanations.py --runs "$(RUNS)" $(if $(OTHERS),--data "$(OTHERS)") $(STEPS)

selections: $(VENV)/all.done ## chapter 5's study for two cores on DATA=folder, and its times (hours; JOBS=, STEPS=)
	$(PY) tests/selections.py --runs "$(RUNS)" --jobs $(JOBS) $(if $(DATA),--data "$(DATA)") $(STEPS)

specialists: $(VENV)/all.done ## train the specialist neutrophil-maturity on DATA=folder (STEPS=)
	$(PY) tests/specialists.py --runs "$(RUNS)" $(if $(DATA),--data "$(DATA)") $(STEPS)

unknown-cells: $(VENV)/all.done ## train Model 1 on DATA=folder without a class, ask what it calls it (STEPS=)
	$(PY) tests/unknowns.py --runs "$(RUNS)" $(if $(DATA),--data "$(DATA)") $(STEPS)

wheel: $(VENV)/all.done ## build a wheel with the shipped models into dist/
	@rm -rf build/bdist* build/lib dist
	@$(PIP) wheel -qq --no-deps --no-build-isolation --wheel-dir dist .
	@ls -sh dist/*.whl

clean: ## remove what was built (not .venv, not runs/)
	@rm -rf build dist .pytest_cache .ruff_cache .hypothesis *.egg-info
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
