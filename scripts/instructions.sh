#!/usr/bin/env bash
# Instructions of the storage's hot operations, counted under callgrind: unlike times, they are the same on a busy
# machine. Prints a table; docs/performance.md keeps the last one, so that a regression shows as a difference.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v valgrind >/dev/null 2>&1; then
  echo "valgrind is missing: apt-get install valgrind" >&2
  exit 1
fi
program=$(cargo bench --bench instructions --no-run --message-format json \
  | grep -o '"executable":"[^"]*instructions[^"]*"' | cut -d'"' -f4)

counted() { # counted OPERATION TIMES
  valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>&1 \
    | awk '/Collected/ { print $NF }'
}

echo "| operation | instructions |"
echo "| --- | ---: |"
for operation in $("$program"); do
  few=$(counted "$operation" 20)
  many=$(counted "$operation" 120)
  echo "| $operation | $(((many - few) / 100)) |"
done
