#!/usr/bin/env bash
# Runs one stage of the build and keeps its time: stage.sh NAME COMMAND...
# `stage.sh --reset` forgets the times of an earlier run, `stage.sh --report` prints them.
# The exit status is that of the command.
set -u
cd "$(dirname "$0")/.."
times=target/stages.tsv
mkdir -p target

case "${1:-}" in
--reset)
	: >"$times"
	exit 0
	;;
--report)
	echo "== time of each stage, in seconds"
	awk -F'\t' '{ printf "%6d  %s\n", $2, $1; sum += $2 } END { printf "%6d  all\n", sum }' "$times"
	exit 0
	;;
esac

name=$1
shift
echo "== $name: $*"
start=$SECONDS
"$@"
status=$?
printf '%s\t%d\n' "$name" "$((SECONDS - start))" >>"$times"
if [ "$status" -ne 0 ]; then
	echo "== $name: FAILED with status $status after $((SECONDS - start)) s" >&2
else
	echo "== $name: $((SECONDS - start)) s"
fi
exit "$status"
