#!/usr/bin/env bash
# Snakemake runs this in the folder of the campaign after it has made the conda environment (--sdm conda): pesatlas itself comes from pip.
set -euo pipefail
. envs/toolchain.sh
pip install "$(grep '^torch==' envs/constraints.txt)"
CC="$CXX" pip install --constraint envs/constraints.txt --editable '.[benchmark,chgnet,domains,export,gpaw,mp,report,slurm,train,vasp,xlsx]'
