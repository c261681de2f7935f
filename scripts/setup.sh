#!/usr/bin/env bash
# Puts the locked environment into .venv. Needs Python 3.11 to 3.13 with venv, and nothing else.
set -euo pipefail

fail() {
  echo "make setup: $1" >&2
  exit 1
}

command -v "$PYTHON" >/dev/null ||
  fail "there is no $PYTHON. Install Python 3.11, or name one: make setup PYTHON=/path/to/python3.11"
"$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' ||
  fail "$PYTHON is $("$PYTHON" -V 2>&1), needed is 3.11, 3.12 or 3.13. Name one: make setup PYTHON=python3.11"
"$PYTHON" -c 'import ensurepip, venv' 2>/dev/null ||
  fail "$PYTHON has no venv. On Debian and Ubuntu: apt-get install python3-venv"
free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
[ "$free_mb" -ge 6000 ] ||
  fail "only $free_mb MB are free here; the environment takes about 4,000. Free some space first."

UV_VERSION=$(sed -n 's/^required-version = "==\(.*\)"$/\1/p' pyproject.toml)
if ! [ -x .uv/bin/uv ] || [ "$(.uv/bin/uv --version | cut -d' ' -f2)" != "$UV_VERSION" ]; then
  echo "== installing uv $UV_VERSION into .uv"
  "$PYTHON" -m venv --clear .uv
  .uv/bin/python -m pip install --quiet --disable-pip-version-check "uv==$UV_VERSION" ||
    fail "uv could not be installed. Is the Python package index in reach?"
fi
echo "== installing the locked environment into .venv (about 3 GB, a few minutes the first time)"
UV_PROJECT_ENVIRONMENT=.venv .uv/bin/uv sync --frozen --all-extras --python "$PYTHON" --quiet ||
  fail "the locked environment could not be installed; the lines above say why."
touch .venv/.ready
echo "== ready: .venv/bin/kfdet --help"
