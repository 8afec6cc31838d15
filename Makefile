# The two paths: dataset to artifact (data, train, export, bench) and slice to mask (demo).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

DATA ?=
MINUTES ?= 70
# The one word phantom, not a folder with that word in its name.
PHANTOM := $(and $(DATA),$(if $(filter-out phantom,$(DATA)),,phantom))
RUN ?= runs/$(or $(PHANTOM),default)
MODEL ?= $(RUN)/model.onnx
# Phantoms are for a trial of minutes: the quick network, and crops that keep their sequences, since
# by FLAIR alone it takes longer to tell fat from a lesion.
TRAIN_OPTIONS ?= --recipe $(if $(PHANTOM),lite --augmentation mild,standard)
EXECUTIONS ?= 1000000
SHIPPED := train/shipped/standard
LITE := train/shipped/lite
TINY := train/shipped/tiny
FOLDS := $(wildcard train/shipped/cv-*.json)
LEAKS := $(sort $(wildcard train/shipped/*-by-*))
WEIGHTS := runtime/lgg_runtime/weights
RESULTS ?= docs/results
# The first is what the rivals run.
BENCHED := $(addprefix $(WEIGHTS)/,standard.onnx standard-int8.onnx lite.onnx lite-int8.onnx)

# DATA=phantom makes phantoms; without DATA, what `make data` fetched is used.
PHANTOMS := data/phantom
FOLDER := $(if $(PHANTOM),$(PHANTOMS),$(or $(DATA),data/lgg))

NO_DATA := No data: 'make data' fetches the public dataset, DATA=FOLDER uses yours

.DEFAULT_GOAL := help
.PHONY: help setup placed demo data train export bench accuracy test test-faults test-pacs train-data bench-data fuzz soak lint clean failures error-paths lock audit

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "%-12s%s\n", $$1, $$2}' Makefile
	@echo
	@echo "DATA=FOLDER holds kaggle_3m, DATA=phantom makes phantoms; MINUTES=$(MINUTES), RUN=$(RUN)"
	@echo "TRAIN_OPTIONS='$(TRAIN_OPTIONS)', MODEL=$(MODEL), EXECUTIONS=$(EXECUTIONS)"
	@echo "Research use only, not for diagnosis."

setup: $(VENV)/.dev ## Install everything into .venv

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)

# What lies in $(VENV) leads to where it was made: in a copy of a checkout, to the other's code.
placed: | $(BIN)/pip
	@made=$$(sed -n 's|^command = .* -m venv [^/]*/|/|p' $(VENV)/pyvenv.cfg 2>/dev/null); \
	  test -z "$$made" || test "$$made" -ef $(VENV) || { echo "$(VENV) was made as $$made and \
	leads there: 'rm -rf $(VENV)', then make installs it here."; exit 2; }

$(VENV)/.runtime: pyproject.toml constraints.txt | placed
	$(PIP) -e '.[cpu]'
	@touch $@

$(VENV)/.train: $(VENV)/.runtime
	$(PIP) -e '.[cpu,train,export]'
	@touch $@

$(VENV)/.dev: $(VENV)/.train
	$(PIP) -e '.[cpu,openvino,node,nifti,train,export,tensorboard,tensorrt-rtx,dev]'
	@touch $@

demo: $(VENV)/.runtime ## Segment phantom patients with the shipped model
	@$(BIN)/lgg-train phantom -o demo/input --patients 3 --slices 20 --seed 7
	@$(BIN)/lgg-infer demo/input -o demo/output --report --save-heatmap --evaluate
	@echo "Open demo/output/report.html: the model in red, the truth in blue. Pictures lie in"
	@echo "demo/output/kaggle_3m/*/*_overlay.png and *_heatmap.png."
	@echo "Phantoms are drawn by code: their Dice shows that it works, not how good the model is."

data: $(VENV)/.train ## Fetch the public dataset into data/lgg
	@$(PIP) -e '.[data]' || echo "kagglehub cannot be installed here"
	@$(BIN)/lgg-train data -o data/lgg

$(PHANTOMS): $(VENV)/.runtime
	@rm -rf $@.part
	$(BIN)/lgg-train phantom -o $@.part --patients 60 --slices 24
	@mv $@.part $@

# Before what they need is installed, which takes minutes.
train-data:
	@test -d "$(FOLDER)" || { echo "$(NO_DATA), DATA=phantom makes phantoms."; exit 4; }

bench-data:
	@test "$(DATA)" != phantom || { echo "DATA=phantom: the shipped runs were trained on the public \
	dataset and are measured on it alone."; exit 2; }
	@test -d "$(FOLDER)" || { echo "$(NO_DATA)."; exit 4; }

train: $(if $(PHANTOM),$(PHANTOMS),train-data) $(VENV)/.train ## Train for MINUTES on DATA, evaluate on its test patients
	$(BIN)/lgg-train train --data "$(FOLDER)" --out "$(RUN)" --minutes $(MINUTES) $(TRAIN_OPTIONS)
	$(BIN)/lgg-train evaluate "$(RUN)" --data "$(FOLDER)"

export: $(VENV)/.train ## Export RUN to ONNX, fp32 and fp16, through the parity gate
	$(BIN)/lgg-export "$(RUN)" -o "$(MODEL)"
	$(BIN)/lgg-export "$(RUN)" -o "$(MODEL:.onnx=-fp16.onnx)" --precision fp16

bench: bench-data $(VENV)/.dev ## Measure quality of the split's runs and speed of what ships; fill docs/performance.md
	@mkdir -p runs/bench $(RESULTS)
	for precision in fp32 fp16 int8; do $(BIN)/lgg-export $(SHIPPED) --data "$(FOLDER)" \
	  --name standard --precision $$precision -o runs/bench/standard-$$precision.onnx || exit; done
	for precision in fp32 int8; do $(BIN)/lgg-export $(LITE) --data "$(FOLDER)" --name lite \
	  --precision $$precision -o runs/bench/lite-$$precision.onnx || exit; done
	$(BIN)/lgg-export $(TINY) --data "$(FOLDER)" --name tiny --precision int8 \
	  -o runs/bench/tiny-int8.onnx
	$(BIN)/lgg-bench parity $(SHIPPED) runs/bench/standard-fp32.onnx runs/bench/standard-fp16.onnx \
	  --data "$(FOLDER)" -o $(RESULTS)/parity.json
	$(BIN)/lgg-bench peers "$(FOLDER)" $(SHIPPED)-all $(BENCHED) --patients 10 --provider cpu \
	  --provider openvino --first-look $(WEIGHTS)/tiny-int8.onnx -o $(RESULTS)/throughput.json
	$(BIN)/lgg-bench quality $(SHIPPED) runs/bench/standard-fp32.onnx runs/bench/standard-int8.onnx \
	  --data "$(FOLDER)" --provider cpu --provider openvino --first-look runs/bench/tiny-int8.onnx \
	  -o $(RESULTS)/quality.json
	$(BIN)/lgg-bench quality $(LITE) runs/bench/lite-fp32.onnx runs/bench/lite-int8.onnx \
	  --data "$(FOLDER)" --provider cpu --provider openvino --first-look runs/bench/tiny-int8.onnx \
	  -o $(RESULTS)/quality-lite.json
	$(BIN)/lgg-bench roofline $(BENCHED) -o $(RESULTS)/roofline.json
	$(BIN)/lgg-bench coldstart $(WEIGHTS)/standard.onnx --provider cpu --provider openvino \
	  -o $(RESULTS)/coldstart.json
	$(BIN)/lgg-bench memory $(WEIGHTS)/lite.onnx -o $(RESULTS)/memory.json
	$(BIN)/lgg-bench latency $(BENCHED) --run $(SHIPPED)-all -o $(RESULTS)/latency.json
	$(BIN)/lgg-bench performance $(RESULTS)

accuracy: $(VENV)/.train ## Fill docs/accuracy.md from the shipped runs' scores
	$(BIN)/lgg-bench accuracy $(SHIPPED) $(LITE) $(TINY) $(FOLDS:%=--cv %) $(LEAKS:%=--leak %)

test: $(VENV)/.dev ## Run the tests, two files at a time
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-pacs: $(VENV)/.dev ## Storm the DICOM node: 200 studies, kills, a real Orthanc
	LGG_PACS_STUDIES=200 $(BIN)/python -m pytest -s tests/runtime/test_node_storm.py

test-faults: $(VENV)/.dev ## Kill 500 runs and 100 trainings, fill a disk, starve the memory
	LGG_FAULT_KILLS=500 LGG_FAULT_CHECKPOINT_KILLS=100 LGG_FAULT_RECORD=docs/results/faults.json \
	  $(BIN)/python -m pytest tests/faults --basetemp "$(or $(TMPDIR),/dev/shm)/lgg-faults"

fuzz: $(VENV)/.dev ## Give EXECUTIONS changed inputs to the readers and parsers
	$(PIP) -e '.[fuzz]'
	PYTHONPATH=tests $(BIN)/python -m fuzz.campaign $(EXECUTIONS) docs/results/fuzzing.json

soak: $(VENV)/.dev ## Run 100,000 slices in one process and watch its memory
	$(BIN)/lgg-bench soak -o docs/results/soak.json

failures: $(VENV)/.dev ## Write docs/failures.md from the catalogue of bad inputs
	PYTHONPATH=tests $(BIN)/python -m catalogue.document > docs/failures.md

error-paths: $(VENV)/.dev ## Show by coverage that each error path of readers, writers, backends is taken
	$(BIN)/coverage run --source=runtime/lgg_runtime -m pytest tests/catalogue tests/runtime
	PYTHONPATH=tests $(BIN)/python -m catalogue.error_paths

$(VENV)/tools: | placed
	$(PYTHON) -m venv $@
	$@/bin/pip install --quiet pip-tools cyclonedx-bom pip-audit

# An extra that names another of ours is listed as a package, which is taken out again.
lock: $(VENV)/tools ## Pin the runtime's packages with hashes; list their licences and materials
	$</bin/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-trusted-host \
	  --no-emit-find-links --no-annotate --no-header --strip-extras -c constraints.txt \
	  --extra cpu --extra node --extra nifti --extra signing -o requirements/runtime.lock pyproject.toml
	sed -i -E '/^(#|lgg-edge @ )/d' requirements/runtime.lock
	$(PYTHON) -m venv --clear --without-pip $(VENV)/locked
	$</bin/pip --python $(VENV)/locked/bin/python install --quiet --require-hashes \
	  -r requirements/runtime.lock
	$</bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible \
	  -o $(VENV)/locked/bom.json $(VENV)/locked/bin/python
	$(VENV)/locked/bin/python requirements/licences.py $(VENV)/locked/bom.json \
	  > requirements/runtime.cdx.json
	$(VENV)/locked/bin/python requirements/licences.py > docs/licences.md

audit: $(VENV)/tools ## Ask a public database for known vulnerabilities; needs the network
	$</bin/pip-audit --disable-pip --require-hashes -r requirements/runtime.lock

lint: $(VENV)/.dev ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: ## Remove what demo and tests leave; runs and data stay
	rm -rf demo dist .pytest_cache .mypy_cache .ruff_cache
