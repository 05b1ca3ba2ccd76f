#!/bin/sh
# Runs a test in Python where a package is installed (`make venv-llama`); elsewhere says so and exits 77, which ctest
# reports as skipped. usage: run.sh SOURCE_DIR BINARY TEST PACKAGE, TEST beside this file
set -eu
python=${FLASHMOE_PYTHON:-$1/.venv/bin/python}
if ! "$python" -c "import importlib.util, sys; sys.exit(not importlib.util.find_spec('$4'))" >/dev/null 2>&1; then
  echo "skipped: $4 is not installed; 'make venv-llama' installs it into .venv"
  exit 77
fi
FLASHMOE_PRESETS=off FLASHMOE_PROGRAM=$2 exec "$python" -B "$1/tests/llama/$3"
