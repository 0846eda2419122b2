#!/usr/bin/env bash
# Sourced by install.sh and environment.post-deploy.sh: the compiler that builds GPAW and chgnet, and what it lacks.
# conda gives its compilers long names, kept in $CXX, and has headers and libraries where no compiler looks by itself.
export CXX=${CXX:-g++}
if [ -n "${CONDA_PREFIX:-}" ] && [ -e "$CONDA_PREFIX/include/xc.h" ]; then
  export CPATH="$CONDA_PREFIX/include${CPATH:+:$CPATH}"
  export LIBRARY_PATH="$CONDA_PREFIX/lib${LIBRARY_PATH:+:$LIBRARY_PATH}"
  # What is built finds them too when it runs, also where the environment is not activated: on compute nodes.
  export LDFLAGS="${LDFLAGS:-} -L$CONDA_PREFIX/lib -Wl,-rpath,$CONDA_PREFIX/lib"
  conda_python=$CONDA_PREFIX/bin/python
fi

# Print the Debian packages that building for the interpreter $1 lacks, one a line: a C++ compiler, libxc (functionals), BLAS, headers.
missing_packages() {
  local headers program
  headers=$("$1" -c 'import sysconfig; print(sysconfig.get_paths()["include"])')
  program=$(mktemp)
  command -v "$CXX" >/dev/null || echo g++
  echo '#include <xc.h>' | "$CXX" -x c++ -E - >/dev/null 2>&1 || echo libxc-dev
  echo '#include <Python.h>' | "$CXX" -x c++ -E "-I$headers" - >/dev/null 2>&1 || echo python3-dev
  # GPAW links libblas; OpenBLAS is the one that is quick.
  # shellcheck disable=SC2086 # several flags
  echo 'int main() {}' | "$CXX" -x c++ - ${LDFLAGS:-} -lopenblas -lblas -o "$program" 2>/dev/null || echo libopenblas-dev
  "$1" -c 'import ensurepip, venv' 2>/dev/null || echo python3-venv
  rm -f "$program"
}
