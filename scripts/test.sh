#!/usr/bin/env bash
# Everything that must hold before a change lands: format, lints, tests, and the simulator's suites at a small number
# of seeds. Installs what the tests need from Debian's packages when it is missing. UNDERSTUDY_SEEDS sets the seeds.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '\n== %s (%s s)\n' "$1" "$SECONDS"; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

need() { # need COMMAND PACKAGE...: installs the packages when the command is missing
  local command=$1
  shift
  if ! command -v "$command" >/dev/null 2>&1; then
    missing+=("$@")
  fi
}

say "what the tests need"
missing=()
need psql postgresql-client
need python3 python3 python3-venv
need cc gcc libc6-dev
if [ ${#missing[@]} -gt 0 ]; then
  as_root apt-get update -q
  as_root apt-get install -y -q --no-install-recommends "${missing[@]}"
fi
for component in rustfmt clippy; do
  if ! cargo "${component/rust/}" --version >/dev/null 2>&1; then rustup component add "$component"; fi
done

# psycopg, one of the drivers the tests speak with, in a virtual environment of its own.
venv=target/venv
if ! "$venv/bin/python" -c 'import psycopg' >/dev/null 2>&1; then
  rm -rf "$venv"
  mkdir -p target
  python3 -m venv "$venv" || {
    as_root apt-get update -q
    as_root apt-get install -y -q --no-install-recommends python3-venv
    python3 -m venv "$venv"
  }
  "$venv/bin/pip" install --quiet --disable-pip-version-check 'psycopg[binary]>=3.2,<4'
fi
UNDERSTUDY_TEST_PYTHON=$PWD/$venv/bin/python
export UNDERSTUDY_TEST_PYTHON

say "format"
cargo fmt --all --check

say "lints"
cargo clippy --workspace --all-targets --quiet -- -D warnings

say "unit and integration tests"
cargo test --workspace --quiet

say "the simulator"
cargo sim-unit
cargo sim-test
# The same two hundred seeds each time: a red run is then the change's own. Each in two processes, which must agree.
cargo sim suite --base 1 --seeds "${UNDERSTUDY_SEEDS:-8}" --twice 8

# Those whose seeds differ most.
cargo sim suite all-faults replicas-alone --base 1001 --seeds 40 --twice 40

# Failures that were understood and kept.
cargo sim suite regressions

# Bugs on purpose: each must be found by the check that is due.
cargo sim mutants

say "done"
