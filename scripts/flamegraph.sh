#!/bin/sh
# Draws where Millrace spends its CPU time under a scenario: flamegraphs/DATE-SCENARIO.svg, under 1 MiB.
#
#   scripts/flamegraph.sh json-small            # a name in loadtest/scenarios
#   scripts/flamegraph.sh sse-500 nginx         # the same for another gateway
#   scripts/flamegraph.sh sse-500 millrace --floor-drift-max 60     # flags of `loadtest compare` may follow
#
# Needs: Linux, perf (Debian: apt-get install linux-perf) and root: Millrace forbids others to trace it, even processes of
# its own user (another gateway: sysctl kernel.perf_event_paranoid=2 or lower, for kernel frames 1). Nothing else is set
# up: samples are folded and drawn by `loadtest compare --flamegraph`, because no distribution packages a renderer and a
# build of cargo's `inferno` takes longer than this one's.
#
# Samples are of CPU time (cpu-clock, 999 a second), which also works in virtual machines without hardware counters.
# Stacks are followed by frame pointers, so Millrace is built with them, beside the usual build. The C library has none:
# system calls hang below the thread, not below the function that made them.
set -eu

cd "$(dirname "$0")/.."
scenario=${1:?usage: scripts/flamegraph.sh SCENARIO [GATEWAY]}
gateway=${2:-millrace}
shift "$(($# > 1 ? 2 : 1))"
file="loadtest/scenarios/$scenario.yaml"
[ -f "$file" ] || { echo "no scenario $file" >&2; exit 2; }
command -v perf >/dev/null || { echo "perf is not installed" >&2; exit 2; }

bin=
if [ "$gateway" = millrace ]; then
    RUSTFLAGS="-C force-frame-pointers=yes" cargo build --release --locked --bin millrace --target-dir target/frame-pointers
    bin="--bin millrace=target/frame-pointers/release/millrace"
    name="$scenario"
else
    name="$scenario-$gateway"
fi
cargo build --release --locked -p loadtest
mkdir -p flamegraphs
# $bin is empty or two words.
# shellcheck disable=SC2086
target/release/loadtest compare "$file" --only "$gateway" $bin --rounds 1 "$@" \
    --flamegraph "flamegraphs/$(date -u +%Y-%m-%d)-$name.svg"

# The newest two of a scenario are kept.
old=$(find flamegraphs -name "????-??-??-$name.svg" | sort -r | tail -n +3)
for svg in $old; do
    echo "removing $svg"
    rm "$svg"
done
