#!/bin/sh
# Counts the instructions of a request and of an event, in user space and kernel, for nginx and for Millrace.
#
#   scripts/instructions.sh                     # target/release/millrace
#   scripts/instructions.sh OTHER/millrace requests events      # another build, some of the scenarios
#
# Most virtual machines have no instruction counter. So a small machine is emulated whose clock *is* one: QEMU without
# hardware help adds a nanosecond to it for each instruction, so the time that the scheduler books for a thread is the
# number of instructions that it ran, kernel included, whatever else the outer machine does. It repeats to about 1 %.
# The inner kernel is told that its clock ticks 6 times as fast. Then what is done once a second, such as the commit of
# usage, falls on as many requests as on a machine with the speed of these days.
#
# Needs: Linux on x86-64 with Debian's packages, root to install them, 3 GiB of memory. QEMU before 8.2 emulates no SHA
# extensions: it works, but costs each request 6,400 instructions for the digest of its key.
set -eu

cd "$(dirname "$0")/.."
millrace=${1:-target/release/millrace}
[ $# -eq 0 ] || shift
loadtest=target/release/loadtest
here=loadtest/instructions
for program in "$millrace" "$loadtest"; do
    [ -x "$program" ] || { echo "$program is missing: cargo build --release --locked --workspace" >&2; exit 2; }
done

lacking=
for pair in qemu-system-x86_64:qemu-system-x86 cpio:cpio busybox:busybox-static nginx:nginx; do
    PATH="$PATH:/usr/sbin" command -v "${pair%%:*}" >/dev/null || lacking="$lacking ${pair#*:}"
done
# shellcheck disable=SC2086
[ -z "$lacking" ] || apt-get install --yes --no-install-recommends $lacking

work=target/instructions
root=$work/root
rm -rf "$root"
mkdir -p "$work/kernel" "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/bin" "$root/etc/ssl/certs" "$root/run" \
    "$root/var/log/nginx" "$root/var/lib/nginx" "$root/m/loadtest"
if [ -z "$(find "$work/kernel" -name 'vmlinuz-*')" ]; then
    package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[^ ]*\).*/\1/p' | head -n 1)
    (cd "$work/kernel" && apt-get download "$package" && dpkg-deb -x "$package"_*.deb .)
fi
kernel=$(find "$work/kernel" -name 'vmlinuz-*' | head -n 1)

# What runs in the machine, with the libraries that it is linked against.
programs="$(PATH="$PATH:/usr/sbin" command -v nginx) $(command -v chrt)"
for program in $programs; do
    cp -L "$program" "$root/bin/"
done
for program in $programs "$millrace" "$loadtest"; do
    ldd "$program" | grep -o '/[^ ]*' | while read -r library; do
        mkdir -p "$root$(dirname "$library")"
        cp -L "$library" "$root$library"
    done
done
strip -o "$root/bin/millrace" "$millrace"
strip -o "$root/bin/loadtest" "$loadtest"
cp "$(command -v busybox)" "$root/bin/busybox"
ln -s busybox "$root/bin/sh"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
printf 'root:x:0:0::/:/bin/sh\nwww-data:x:33:33::/:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' >"$root/etc/passwd"
printf 'root:x:0:\nwww-data:x:33:\nnogroup:x:65534:\n' >"$root/etc/group"
cp -r loadtest/gateways "$root/m/gateways"
cp "$here/init.sh" "$root/init"
cp "$here/count.sh" "$here/scenarios.sh" "$root/m/"
chmod +x "$root/init"
(cd "$root" && find . | cpio --quiet -o -H newc) | gzip -1 >"$work/root.gz"

# The count comes from the machine's console; QEMU's own lines and the console's control codes are left out.
timeout 1800 qemu-system-x86_64 -accel tcg -icount shift=0,sleep=off -cpu max -smp 1 -m 2048 -M q35 -nodefaults -nographic \
    -serial stdio -no-reboot -kernel "$kernel" -initrd "$work/root.gz" \
    -append "console=ttyS0 quiet tsc=reliable clocksource=tsc tsc_early_khz=6000000 panic=-1 scenarios=$(echo "$@" | tr ' ' ,)" |
    tr -d '\r' | sed -un "s|^count: ||p" | tee "$work/counts.txt"
grep -q '^end$' "$work/counts.txt" || { echo "the machine did not come to its end" >&2; exit 1; }
