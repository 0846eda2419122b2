# `make demo`, `make quick`, `make test`, `make check`, `make docs`: each does its own set-up.
VENV := .venv
BIN := $(VENV)/bin
# The environment's programs first, so that Snakemake's jobs and pre-commit find them.
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: demo quick test test-rest test-all durations check docs format generate clean

demo: $(VENV)/.ready
	pesatlas run --profile profiles/local

# Which tests are quick and which are slow follows from measured durations: tests/tiers.py. All run in random order (the seed is in the
# first lines), three at a time even on two cores, for tests on Slurm wait most of their time.
PYTEST := pytest -n 3 --dist worksteal
# One thread in each: three processes that wait for one another's threads are several times as slow on two cores.
quick test test-rest test-all durations: export OMP_NUM_THREADS ?= 1

# Static checks and the quick tests of what changed since main, or of one stage: `STAGE=label make quick`.
quick: check
	pytest -n 2 --dist worksteal -q -m quick $$(python tests/changed.py $(STAGE))

# The proof: units, physics, one real campaign, a kill, a page in a browser.
test: $(VENV)/.ready
	$(PYTEST) -m "not slow"

# What `make test` leaves out: faults, Slurm, whole campaigns. `make test-rest MINUTES=8`: what can begin within 8 minutes, one test of
# each kind first, and the others in random order; those left out are named at the end. One test at a time is given to each worker then.
test-rest: $(VENV)/.ready
	$(if $(MINUTES),pytest -n 3 --maxschedchunk 1 --minutes $(MINUTES),$(PYTEST)) -m slow

test-all: $(VENV)/.ready
	$(PYTEST)

# Measure all tests, on a machine that does nothing else, and write tests/durations.json.
durations: $(VENV)/.ready
	$(PYTEST) --write-durations

check: $(VENV)/.ready
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile workflow
	mypy
	snakemake --lint

# site/index.html opens as a file; a warning is an error.
docs: $(VENV)/.ready
	sphinx-build -W --keep-going -q -d build/doctrees docs site

format: $(VENV)/.ready
	ruff check --fix .
	ruff format .
	snakefmt Snakefile workflow
	python tests/prose.py

# config.yaml, the presets and the JSON Schema follow from the pydantic models; a test proves them current.
generate: $(VENV)/.ready
	python tests/house.py
	pesatlas config new --all --preset demo > config.yaml
	pesatlas config new --all --preset demo > config/demo.yaml
	for name in matpes atlas hydrides monolayers battery; do pesatlas config new --all --preset $$name > config/$$name.yaml; done
	pesatlas config schema > workflow/schemas/config.schema.json
	python -c "from pesatlas.monitor.cluster.write import Profile, render; print(render(Profile()), end='')" > profiles/slurm/config.yaml

$(VENV)/.ready: pyproject.toml envs/constraints.txt envs/install.sh envs/toolchain.sh
	envs/install.sh $(VENV)

# Results only: finished trajectories and labels stay in store/.
clean:
	rm -rf results work logs
