#!/usr/bin/env bash
# Everything that `make demo` and `make test` need: system packages (asked for only where missing) and one virtual environment.
# Usage: envs/install.sh [FOLDER]    (default .venv)
set -euo pipefail
cd "$(dirname "$0")/.."
venv=${1:-.venv}
say() { printf '\n== %s\n' "$*"; }
. envs/toolchain.sh

python=""
for candidate in "${PYTHON:-}" "${conda_python:-}" python3.13 python3.12 python3.11 python3; do
  if command -v "$candidate" >/dev/null && "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "Python 3.11 or newer is needed and none was found. Install it, or name it: PYTHON=/path/to/python make demo" >&2
  exit 1
fi

# GPAW is built from source.
mapfile -t missing < <(missing_packages "$python")
if [ ${#missing[@]} -gt 0 ]; then
  sudo=""
  if [ "$(id -u)" -ne 0 ]; then sudo="sudo -n"; fi
  if command -v apt-get >/dev/null && $sudo true 2>/dev/null; then
    say "system packages: ${missing[*]}"
    $sudo apt-get update -q
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -q -y --no-install-recommends "${missing[@]}"
  else
    cat >&2 <<EOF
These system packages are missing, and this user may not install them: ${missing[*]}
Either ask an administrator for:   apt-get install ${missing[*]}
or take them from conda, which needs no rights:
  conda env create -f envs/environment.yaml && conda activate pesatlas && make demo
EOF
    exit 1
  fi
fi

say "virtual environment in $venv (some minutes, about 3 GB)"
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check)
# torch first and by exact version: what comes later then finds it in place instead of choosing another build.
"${pip[@]}" "$(grep '^torch==' envs/constraints.txt)"
# GPAW and chgnet compile C++ as C: one compiler serves both.
CC="$CXX" "${pip[@]}" --constraint envs/constraints.txt --editable '.[benchmark,chgnet,domains,export,gpaw,mp,report,slurm,train,vasp,xlsx,dev]'
"$venv/bin/python" -c 'import gpaw, sys; sys.exit(0 if gpaw.get_libraries()["libxc"] else "GPAW was built without libxc: install libxc-dev, then `pip install --force-reinstall --no-cache-dir --no-deps gpaw`")'
touch "$venv/.ready"
