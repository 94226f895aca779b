# What is counted in the emulated machine: the scenarios whose names are given, all by default.
loadtest mock --listen 127.0.0.1:9000 --workers 1 >/dev/null 2>&1 &
sleep 1

# Counts all gateways on one load.
each() {
    echo "count: $1"
    shift
    for gateway in nginx millrace millrace-governed; do
        sh /m/count.sh $gateway "$@" | sed 's/^/count: /'
    done
}

for scenario in "${@:-requests one-connection bodies events}"; do
    for name in $scenario; do
        case $name in
        requests) each "a request of 800 bytes, 64 connections" fast 64 20000 --body-bytes 800 ;;
        one-connection) each "a request of 800 bytes, one connection" fast 1 4000 --body-bytes 800 ;;
        bodies) each "a request of 64 KiB, 64 connections" fast 64 3000 --body-bytes 65536 ;;
        events) each "an event of 250 bytes, 200 streams at once" stream 200 400 --body-bytes 800 --stream --events 102 ;;
        *) echo "count: no scenario $name" ;;
        esac
    done
done
echo "count: end"
