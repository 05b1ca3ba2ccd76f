#!/bin/sh
# Runs tools/compare_mlx.py where mlx-lm is installed (`make venv`); elsewhere says so and exits 77, which ctest reports
# as skipped. usage: compare.sh SOURCE_DIR BINARY
set -eu
python=${FLASHMOE_PYTHON:-$1/.venv/bin/python}
if ! "$python" -c 'import mlx_lm' >/dev/null 2>&1; then
  echo "skipped: mlx-lm is not installed; 'make venv' installs it into .venv"
  exit 77
fi
exec "$python" "$1/tools/compare_mlx.py" --binary "$2"
