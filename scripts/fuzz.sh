#!/usr/bin/env bash
# Fuzzes every target for a while, two at a time: fuzz.sh [SECONDS [TARGET...]]
#
# libFuzzer on the stable toolchain: coverage comes from LLVM's own pass, so neither a nightly compiler nor a sanitizer
# is needed. What it finds beside panics: overflows, timeouts above 10 s an input, memory above 1 GiB.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-60}
if [ "$seconds" -lt 1 ]; then
	echo "fuzz for at least one second; 0 would be without end" >&2
	exit 2
fi
shift || true
targets=("$@")
if [ "${#targets[@]}" -eq 0 ]; then
	for file in fuzz/targets/*.rs; do targets+=("$(basename "$file" .rs)"); done
fi

coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
-Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
host=$(rustc -vV | sed -n 's/^host: //p')
# With --target the flags do not reach build scripts.
RUSTFLAGS="$coverage --cfg fuzzing" cargo build --locked --release --target "$host" \
	--manifest-path fuzz/Cargo.toml --target-dir fuzz/target

run() { # run TARGET
	local target=$1 log=fuzz/target/$1.log
	mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target" "fuzz/seeds/$target"
	if fuzz/target/"$host"/release/"$target" "fuzz/corpus/$target" "fuzz/seeds/$target" \
		-max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 -max_len=65536 -print_final_stats=1 \
		-artifact_prefix="fuzz/artifacts/$target/" >"$log" 2>&1; then
		echo "fuzz $target: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs in $seconds s, no finding"
	else
		echo "fuzz $target: FAILED, see fuzz/artifacts/$target"
		tail -n 60 "$log"
		return 1
	fi
}

passed=0 failed=0
for ((i = 0; i < ${#targets[@]}; i += 2)); do
	pids=()
	for target in "${targets[@]:i:2}"; do
		run "$target" &
		pids+=($!)
	done
	for pid in "${pids[@]}"; do
		if wait "$pid"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
	done
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
