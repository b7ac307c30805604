# One dockerd of a test run's own, with its own containerd. Run as process 1 of a pid and mount namespace (unshare),
# so that whatever is left when this script ends is ended by the kernel. Everything is below $PEER; $BRIDGE is a link
# and $GROUP a control group that belong to it alone. It lives until standard input ends.
set -u
ip link add "$BRIDGE" type bridge && ip addr add "$SUBNET" dev "$BRIDGE" && ip link set "$BRIDGE" up

cat >"$PEER/containerd.toml" <<END
version = 2
root = "$PEER/containerd-root"
state = "$PEER/containerd-state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "$PEER/containerd.sock"
END
containerd --config "$PEER/containerd.toml" >"$PEER/containerd.log" 2>&1 &
containerd=$!
# A bridge of its own: with `none` dockerd would remove the machine's docker0, and by default it would take it over.
dockerd --data-root "$PEER/data" --exec-root "$PEER/exec" --pidfile "$PEER/docker.pid" --host "unix://$PEER/docker.sock" \
    --containerd "$PEER/containerd.sock" --cgroup-parent "/$GROUP" --bridge "$BRIDGE" --iptables=false --ip6tables=false \
    --ip-forward=false --userland-proxy=false --insecure-registry 127.0.0.0/8 --shutdown-timeout 1 \
    >"$PEER/dockerd.log" 2>&1 &
dockerd=$!

cat >/dev/null

# In order, each with a limit; what does not obey goes with the pid namespace.
containers=$(timeout 10 docker -H "unix://$PEER/docker.sock" ps -aq)
[ -z "$containers" ] || timeout 20 docker -H "unix://$PEER/docker.sock" rm -f $containers >/dev/null 2>&1
for pid in $dockerd $containerd; do
    kill -TERM "$pid" 2>/dev/null
    timeout 15 tail --pid="$pid" -f /dev/null || kill -KILL "$pid"
    wait "$pid"
done
ip link del "$BRIDGE"
grep -F " $PEER/" /proc/self/mountinfo | cut -d' ' -f5 | sort -r | xargs -r umount -l
rm -rf "$PEER"
find /sys/fs/cgroup -depth -type d -path "*/$GROUP*" -exec rmdir {} \; 2>/dev/null
