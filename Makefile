# multiattn: `make` lists what there is.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The venv is made anew when the dependencies change and only then: the stamp's name is a digest of them.
DEPS := $(shell $(PYTHON) -c "import hashlib, pathlib, tomllib; p = tomllib.loads(pathlib.Path('pyproject.toml').read_text()); \
	print(hashlib.sha256(repr((p['build-system'], p['project']['dependencies'], p['project']['optional-dependencies'], \
	p['project']['scripts'], pathlib.Path('constraints.txt').read_text())).encode()).hexdigest()[:16])")
STAMP := $(VENV)/.ready-$(DEPS)

.PHONY: help demo test lint format bench wheel clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

$(STAMP):
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(STAMP)  ## classify, caption and transcribe, and write pages that show where the models looked, to demo/
	$(BIN)/multiattn demo --out demo

test: $(STAMP)  ## run all tests (two cores: a quarter of an hour)
	$(BIN)/python -m pytest -q

lint: $(STAMP)  ## format and import order, style, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP)  ## mend what can be mended by machine
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)  ## time ours against timm and transformers, interleaved; prints ratios
	$(BIN)/python -m tests.benchmarks

wheel: $(STAMP)  ## build dist/*.whl
	$(BIN)/python -m build --wheel

clean:  ## remove the venv and what was built
	rm -rf $(VENV) dist build demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
