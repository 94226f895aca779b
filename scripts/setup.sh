#!/usr/bin/env bash
# Installs what the tests need, pinned: system packages only if missing, .venv, node_modules.
# Run twice it does nothing the second time. `setup.sh --real` and `--admin` add what
# `make e2e-real` and `make admin` need, `--load` what `make loadtest` and `scripts/edge-cost.sh` compare with.
set -euo pipefail
cd "$(dirname "$0")/.."

apt_missing=()
need() { # need COMMAND PACKAGE
	command -v "$1" >/dev/null 2>&1 || apt_missing+=("$2")
}
need cc build-essential
need g++ build-essential
need node nodejs
need npm npm
need python3 python3
need openssl openssl
# Tests that make system calls of the gateway fail.
need strace strace
# Tests that set the gateway's wall clock; what they use is the library of this package.
need faketime faketime
python3 -c 'import ensurepip' 2>/dev/null || apt_missing+=(python3-venv)
if [ "${1:-}" = "--load" ]; then
	need nginx nginx-light
	need haproxy haproxy
	need h2load nghttp2-client
fi
if [ "${#apt_missing[@]}" -gt 0 ]; then
	echo "installing ${apt_missing[*]}"
	as_root=()
	[ "$(id -u)" -eq 0 ] || as_root=(sudo)
	"${as_root[@]}" apt-get update -qq
	DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${apt_missing[@]}"
fi

for tool in cargo cargo-fmt cargo-clippy; do
	command -v "$tool" >/dev/null 2>&1 || {
		echo "$tool is missing: install Rust with rustfmt and clippy, version as in Cargo.toml's rust-version" >&2
		exit 1
	}
done

# A stamp holds the digest of the pins, so that a changed pin installs again and an equal one costs nothing.
venv() { # venv FOLDER REQUIREMENTS
	local stamp="$1/.installed" want
	want=$(sha256sum <"$2")
	[ -f "$stamp" ] && [ "$(cat "$stamp")" = "$want" ] && return
	python3 -m venv "$1"
	"$1/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$2"
	"$1/bin/pip" check
	echo "$want" >"$stamp"
}
venv .venv tests/clients/requirements.txt
if [ "${1:-}" = "--real" ]; then
	venv .venv-real tests/clients/requirements-real.txt
fi
if [ "${1:-}" = "--admin" ]; then
	venv .venv-admin tests/admin/requirements.txt
fi

(
	cd tests/clients/node
	want=$(sha256sum <package-lock.json)
	if ! { [ -f node_modules/.installed ] && [ "$(cat node_modules/.installed)" = "$want" ]; }; then
		npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
		echo "$want" >node_modules/.installed
	fi
)
