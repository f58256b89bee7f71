#!/bin/sh
# Restarts nodes one after another, so that no client loses a change: each client moves to another node and resumes.
#
#   rolling-restart.sh URL COMMAND [URL COMMAND]...
#
# URL is the address of a node's port for clients, as the proxy reaches it. COMMAND restarts that node and ends when the old process
# has drained and the new one has been started, as `systemctl restart` does:
#
#   rolling-restart.sh \
#     http://10.0.0.11:8480 "ssh node1 systemctl restart tidewire" \
#     http://10.0.0.12:8480 "ssh node2 systemctl restart tidewire" \
#     http://10.0.0.13:8480 "ssh node3 systemctl restart tidewire"
#
# It stops at the first node that does not become ready, and leaves the others as they are. It may be run again.
set -eu

# Seconds that a node may take until it is ready.
READY_WITHIN=${READY_WITHIN:-120}
# Seconds between a node's readiness and the next restart: longer than the proxy needs to notice (`inter` in haproxy.cfg is 1 s).
SETTLE=${SETTLE:-5}

if [ $# -lt 4 ] || [ $(($# % 2)) -ne 0 ]; then
  echo "usage: rolling-restart.sh URL COMMAND URL COMMAND [URL COMMAND]..." >&2
  exit 2
fi

is_ready() {
  curl --silent --fail --max-time 5 --output /dev/null "$1/readyz"
}

wait_until_ready() {
  waited=0
  until is_ready "$1"; do
    if [ "$waited" -ge "$READY_WITHIN" ]; then
      echo "$1 is not ready after $READY_WITHIN s: $(curl --silent --max-time 5 "$1/readyz" || true)" >&2
      exit 1
    fi
    sleep 1
    waited=$((waited + 1))
  done
}

# Every node must be ready before another one is taken away.
check_all() {
  while [ $# -gt 0 ]; do
    if ! is_ready "$1"; then
      echo "$1 is not ready: no node is restarted while another one is missing" >&2
      exit 1
    fi
    shift 2
  done
}

# The number of nodes that are left to restart; the arguments rotate by two with each.
left=$(($# / 2))
while [ "$left" -gt 0 ]; do
  check_all "$@"
  echo "restarting $1"
  sh -c "$2"
  wait_until_ready "$1"
  echo "$1 is ready"
  sleep "$SETTLE"
  url=$1
  command=$2
  shift 2
  set -- "$@" "$url" "$command"
  left=$((left - 1))
done
