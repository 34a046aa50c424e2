#!/bin/sh
# The first process of the node's namespaces. Arguments: the cluster's state folder, containerd's folder.
set -eu
# Ignored, so that the kernel itself reaps the orphans that this process inherits.
trap '' CHLD

# Volumes that kubelet mounts must reach its containers; nothing of this reaches the machine, whose
# mounts `unshare` has made private here.
mount --make-rshared /
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p "$1/var-lib/containerd" "$1/var-lib/kubelet" "$1/var-log"
mount --bind "$2" "$1/var-lib/containerd"
mount --rbind "$1/var-lib" /var/lib
mount --bind "$1/var-log" /var/log

ip link set lo up
echo 1 > /proc/sys/net/ipv4/ip_forward
touch /run/node-ready
exec sleep infinity
