#!/usr/bin/env bash
# What takes hours and runs at night: fresh seeds, one of twenty in two processes that must agree, with everything that the
# server says must happen demanded of them, and the bugs on purpose, each of which some seed must find. UNDERSTUDY_TIME sets how long seeds are tried.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo sim suite --time "${UNDERSTUDY_TIME:-8h}" --twice 1 --twice-every 20 --demand-sometimes
cargo sim suite regressions
cargo sim mutants
