#!/bin/sh
# Runs a test that is in Python, with the program in FLASHMOE_PROGRAM. Where it needs packages that are not installed (`make venv-clients`), or there is no
# Python, says so and exits 77, which ctest reports as skipped. usage: run_python.sh SOURCE_DIR BINARY TEST [PACKAGE], TEST below tests/
set -eu
python=python3
if [ $# -gt 3 ]; then
  python=${FLASHMOE_PYTHON:-$1/.venv-clients/bin/python}
fi
if ! "$python" -c "import ${4:-json}" >/dev/null 2>&1; then
  echo "skipped: ${4:-python3} is not installed; 'make venv-clients' installs clients into .venv-clients"
  exit 77
fi
FLASHMOE_PRESETS=off FLASHMOE_PROGRAM=$2 exec "$python" -B "$1/tests/$3"
