#!/usr/bin/env bash
# CPU time a request of Millrace's edge against nginx, which ends TLS and HTTP/2 as well and proxies to the same provider.
#
#   scripts/edge-cost.sh            # 3 rounds of 20,000 requests each
#   scripts/edge-cost.sh 5 10000    # ROUNDS REQUESTS
#
# Needs: Linux, two idle cores, nginx, h2load and openssl (`scripts/setup.sh --load`), a release build of the workspace.
# Both gateways run on core 0, one after the other in each round; provider and load run on core 1. Counted is the CPU time of
# all threads of the gateway, from /proc. Millrace checks a key, finds a route and accounts for each request; nginx does none
# of that. Both close a connection after 1,000 requests, so that handshakes are part of it.
set -euo pipefail
cd "$(dirname "$0")/.."
rounds=${1:-3} requests=${2:-20000}
[ "$requests" -le 30000 ] || { echo "at most 30000 requests" >&2; exit 2; }
bin=${MILLRACE_BIN:-target/release/millrace} loadtest=${LOADTEST_BIN:-target/release/loadtest}
for tool in nginx h2load openssl taskset; do
	command -v "$tool" >/dev/null || { echo "$tool is missing: run scripts/setup.sh --load" >&2; exit 2; }
done

dir=$(mktemp -d -t millrace-edge-cost.XXXXXX)
chmod 0700 "$dir"
started=()
finish() {
	for id in "${started[@]}"; do kill "$id" 2>/dev/null || true; done
	wait 2>/dev/null || true
	rm -rf "$dir"
}
trap finish EXIT
trap "exit 1" INT TERM

key=mr_test_LoadTestOnlyNotASecret0000000000000000000000000000000000q8dog
digest=$(printf %s "$key" | sha256sum | cut -d' ' -f1)
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1 \
	-addext subjectAltName=IP:127.0.0.1 -keyout "$dir/key.pem" -out "$dir/cert.pem" 2>/dev/null
chmod 0600 "$dir/key.pem"

# The line of a program that says where it listens.
said() { # said FILE MARKER
	for _ in $(seq 100); do
		local line
		line=$(grep -om1 "$2[0-9.:]*" "$1" 2>/dev/null) && { echo "${line#"$2"}"; return; }
		sleep 0.1
	done
	echo "no '$2' in $1:" >&2
	cat "$1" >&2
	exit 1
}

taskset -c 1 "$loadtest" mock --listen 127.0.0.1:0 >"$dir/mock.log" 2>&1 &
started+=($!)
mock=$(said "$dir/mock.log" "listening on ")

mkdir "$dir/projects"
for route in fast stream; do
	model=$route
	[ "$route" = stream ] && model="stream/events=100,gap_ms=10"
	models+="  - {model_id: $route, model: \"openai/$model\", credentials: {base_url: \"http://$mock/v1\"}}"$'\n'
done
printf 'chat_models:\n%sroutes: {fast: {chat_models: [fast]}, stream: {chat_models: [stream]}}\n' "$models" >"$dir/projects/bench.yaml"
printf 'keys: [{id: bench, digest: "sha256:%s", projects: [bench]}]\n' "$digest" >"$dir/keys.yaml"
cat >"$dir/millrace.yaml" <<-END
	listen: 127.0.0.1:0
	admin_listen: 127.0.0.1:0
	projects_dir: projects
	keys_file: keys.yaml
	data_dir: .
	egress: {allow: [{cidr: 127.0.0.1/32, ports: [${mock##*:}]}]}
	runtime: {workers: 1, pin: "off"}
	log: {access: false}
	limits: {max_connections_per_address: 4096, keepalive_requests: 1000}
	edge: {listen: "127.0.0.1:0", certificates: [{cert: cert.pem, key: key.pem}]}
END
chmod 0600 "$dir/keys.yaml" "$dir/millrace.yaml"
taskset -c 0 "$bin" serve -c "$dir/millrace.yaml" >"$dir/millrace.log" 2>&1 &
millrace=$!
started+=($millrace)
millrace_plain=$(said "$dir/millrace.log" "listening on http://")
millrace_edge=$(said "$dir/millrace.log" "edge on https://")

# nginx prints no port that the kernel chose.
ports() { # A free port; two calls may not race in practice.
	python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
nginx_plain=127.0.0.1:$(ports) nginx_edge=127.0.0.1:$(ports)
cat >"$dir/nginx.conf" <<-END
	worker_processes 1;
	pid $dir/nginx.pid;
	error_log $dir/nginx.log crit;
	events { worker_connections 8192; multi_accept on; }
	http {
	    access_log off; tcp_nodelay on; server_tokens off; keepalive_requests 1000;
	    client_body_temp_path $dir/body; proxy_temp_path $dir/proxy; fastcgi_temp_path $dir/fastcgi;
	    uwsgi_temp_path $dir/uwsgi; scgi_temp_path $dir/scgi;
	    upstream provider { server $mock; keepalive 1024; keepalive_requests 1000000000; }
	    server {
	        listen $nginx_plain backlog=4096;
	        listen $nginx_edge ssl http2 backlog=4096;
	        ssl_certificate $dir/cert.pem; ssl_certificate_key $dir/key.pem; ssl_protocols TLSv1.2 TLSv1.3;
	        client_body_buffer_size 256k;
	        location / {
	            proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header connection ""; proxy_buffering off;
	        }
	    }
	}
END
taskset -c 0 nginx -p "$dir" -c "$dir/nginx.conf" -g "daemon off; master_process off;" &
nginx=$!
started+=($nginx)
sleep 1

ticks=$(getconf CLK_TCK)
cpu() { # CPU time of a process in ticks
	# The name in parentheses may hold spaces, what is behind it not.
	sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 }'
}
content="hello $(head -c 640 /dev/zero | tr '\0' x)"
printf '{"model":"bench/fast","messages":[{"role":"user","content":"%s"}]}' "$content" >"$dir/fast.json"
printf '{"model":"bench/stream","stream":true,"messages":[{"role":"user","content":"%s"}]}' "$content" >"$dir/stream.json"
# The provider knows its script by the name alone.
sed 's|bench/fast|fast|' "$dir/fast.json" >"$dir/fast-nginx.json"
sed 's|bench/stream|stream/events=100,gap_ms=10|' "$dir/stream.json" >"$dir/stream-nginx.json"

# One run: microseconds of CPU time a unit. A request that failed ends the comparison.
run() { # run PID BODY COUNT UNITS H2LOAD_ARGS...
	local id=$1 body=$2 count=$3 units=$4 before after
	shift 4
	before=$(cpu "$id")
	taskset -c 1 h2load -n "$count" -d "$body" -H "content-type: application/json" -H "authorization: Bearer $key" "$@" \
		>"$dir/h2load.log" 2>&1
	after=$(cpu "$id")
	grep -q "$count succeeded, 0 failed, 0 errored, 0 timeout" "$dir/h2load.log" &&
		grep -q "status codes: $count 2xx" "$dir/h2load.log" || { cat "$dir/h2load.log" >&2; exit 1; }
	awk -v t=$((after - before)) -v hz="$ticks" -v n=$((count * units)) 'BEGIN { printf "%.2f", t / hz * 1e6 / n }'
}

streams=$((requests / 20))
compare() { # compare NAME BODY COUNT UNITS PORT H2LOAD_ARGS...
	local name=$1 body=$2 count=$3 units=$4 port=$5 scheme=https at ours=() theirs=()
	shift 5
	[ "$port" = plain ] && scheme=http
	for _ in $(seq "$rounds"); do
		at=nginx_$port
		theirs+=("$(run "$nginx" "$dir/$body-nginx.json" "$count" "$units" "$@" "$scheme://${!at}/v1/chat/completions")")
		at=millrace_$port
		ours+=("$(run "$millrace" "$dir/$body.json" "$count" "$units" "$@" "$scheme://${!at}/v1/chat/completions")")
	done
	paste <(printf '%s\n' "${theirs[@]}") <(printf '%s\n' "${ours[@]}") | awk -v name="$name" '
		{ n[NR] = $1; m[NR] = $2; all = all sprintf(" %.2f", $2 / $1) }
		function median(v,   i, j, t) {
			for (i = 1; i <= NR; i++) for (j = i + 1; j <= NR; j++) if (v[j] < v[i]) { t = v[i]; v[i] = v[j]; v[j] = t }
			return NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2
		}
		END { a = median(n); b = median(m); printf "%-44s %8.1f %8.1f %6.2f   rounds:%s\n", name, a, b, b / a, all }'
}

"$bin" --version
nginx -v 2>&1
printf '%-44s %8s %8s %6s\n' "us of CPU time" nginx millrace ratio
compare "request, plain HTTP/1.1, 64 connections" fast "$requests" 1 plain --h1 -c 64
compare "request, TLS and HTTP/1.1, 64 connections" fast "$requests" 1 edge --h1 -c 64
compare "request, TLS and HTTP/2, 64 x 1 streams" fast "$requests" 1 edge -c 64 -m 1
compare "request, TLS and HTTP/2, 32 x 4 streams" fast "$requests" 1 edge -c 32 -m 4
compare "event, plain HTTP/1.1, 100 connections" stream "$streams" 100 plain --h1 -c 100
compare "event, TLS and HTTP/1.1, 100 connections" stream "$streams" 100 edge --h1 -c 100
compare "event, TLS and HTTP/2, 10 x 10 streams" stream "$streams" 100 edge -c 10 -m 10
