# `make demo`, `make test`, `make check`, `make docs`: each does its own set-up.
VENV := .venv
BIN := $(VENV)/bin
# The environment's programs first, so that Snakemake's jobs and pre-commit find them.
export PATH := $(abspath $(BIN)):$(PATH)

.PHONY: demo test check docs format generate clean

demo: $(VENV)/.ready
	pesatlas run --profile profiles/local

# In random order (the seed is in the first lines). Three at a time even on two cores, for tests on Slurm wait most of their time.
test: $(VENV)/.ready
	pytest -n 3 --dist worksteal

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

# config.yaml, the presets and the JSON Schema follow from the pydantic models; a test proves them current.
generate: $(VENV)/.ready
	pesatlas config new --preset demo > config.yaml
	pesatlas config new --preset demo > config/demo.yaml
	for name in matpes hydrides monolayers battery; do pesatlas config new --preset $$name > config/$$name.yaml; done
	pesatlas config schema > workflow/schemas/config.schema.json
	python -c "from pesatlas.monitor.cluster.write import Profile, render; print(render(Profile()), end='')" > profiles/slurm/config.yaml

$(VENV)/.ready: pyproject.toml envs/constraints.txt envs/install.sh envs/toolchain.sh
	envs/install.sh $(VENV)

# Results only: finished trajectories and labels stay in store/.
clean:
	rm -rf results work logs
