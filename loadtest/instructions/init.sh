#!/bin/sh
# First process of the emulated machine: mounts, loopback, the scenarios, power off.
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /tmp
ip link set lo up
ulimit -n 20000
grep -q -w sha_ni /proc/cpuinfo || echo "count: no SHA extensions: 6,400 instructions more for each key"
# Nobody is preempted by who gets awake: each takes all that waits for it, as with a core of its own under load.
# The kernel hands over what it does not know of its command line as variables.
# shellcheck disable=SC2046,SC2154
chrt -b 0 sh /m/scenarios.sh $(echo "$scenarios" | tr , ' ')
poweroff -f
