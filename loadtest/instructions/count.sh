# Counts what one gateway spends on one load: count.sh GATEWAY MODEL CONNECTIONS REQUESTS DRIVE_FLAGS...
gateway=$1 model=$2 connections=$3 requests=$4
shift 4
folder=/tmp/$gateway-$model-$connections-$requests
mkdir -p "$folder/projects" "$folder/data"
buffering=on
[ "$model" = stream ] && buffering=off

fill() {
    sed -e "s#{listen}#127.0.0.1:8080#g; s#{admin}#127.0.0.1:8081#g; s#{upstream}#127.0.0.1:9000#g; s#{upstream_port}#9000#g" \
        -e "s#{workers}#1#g; s#{connections}#1000#g; s#{sockets}#2400#g; s#{buffering}#$buffering#g; s#{dir}#$folder#g" \
        -e "s#{model}#$model#g" "/m/gateways/$1.template" >"$folder/$2"
}

case $gateway in
nginx)
    fill nginx.conf nginx.conf
    nginx -p "$folder" -c "$folder/nginx.conf" -g "daemon off;" >"$folder/output" 2>&1 &
    ;;
*)
    project=millrace-project
    [ "$gateway" = millrace-governed ] && project=millrace-governed
    fill millrace-server.yaml server.yaml
    fill "$project.yaml" projects/bench.yaml
    fill millrace-keys.yaml keys.yaml
    # The key of all load tests; it opens nothing but this.
    export LOADTEST_KEY=mr_test_LoadTestOnlyNotASecret0000000000000000000000000000000000q8dog
    model=bench/chat
    millrace serve -c "$folder/server.yaml" --data-dir "$folder/data" >"$folder/output" 2>&1 &
    ;;
esac
process=$!
sleep 2

drive() {
    sent=$1
    shift
    loadtest drive http://127.0.0.1:8080/v1/chat/completions --json --model "$model" --connections "$connections" \
        --duration 600 --requests "$sent" "$@" >"$folder/report" 2>"$folder/said" && return
    echo "$gateway failed: $(tail -n 3 "$folder/report" "$folder/said" "$folder/output" 2>&1 | cut -c 1-300)"
    kill $process
    wait $process
    exit 1
}

# Name and nanoseconds of every thread of the gateway, nginx's worker process included.
spent() {
    for id in $(ps -o pid,ppid | awk -v gateway=$process '$1 == gateway || $2 == gateway { print $1 }'); do
        for thread in /proc/"$id"/task/*; do
            echo "$(tr ' ' '_' <"$thread/comm")-${thread##*/} $(cat "$thread/schedstat")"
        done
    done
}

drive $((requests / 4)) "$@"
spent >"$folder/before"
drive "$requests" "$@"
spent >"$folder/after"
units=$(sed -n 's/.*"events": *\([1-9][0-9]*\).*/\1/p' "$folder/report" | head -n 1)
# The clock of the kernel is 6 times that of the emulator, which is an instruction a nanosecond.
awk -v units="${units:-$requests}" -v gateway="$gateway" '
    NR == FNR { before[$1] = $2; next }
    {
        count = ($2 - before[$1]) * 6 / units
        sum += count
        name = $1
        sub(/-[0-9]+$/, "", name)
        if (count >= 50) parts = parts sprintf(", %s %.0f", name, count)
    }
    END { printf "%-18s %7.0f%s\n", gateway, sum, parts }
' "$folder/before" "$folder/after"
kill $process
wait $process
rm -rf "$folder"
