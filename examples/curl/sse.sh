#!/bin/sh
# Follows a collection as server-sent events with nothing but curl, and comes back where it was.
# Prints the data of each event, one JSON line each; ends when the service says that there is no more.
#
#   TIDEWIRE_TOKEN=… sh sse.sh http://127.0.0.1:8480 orders '{"status":"open"}'
set -eu
base=$1
collection=$2
filter=${3:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
echo 1000 >"$work/retry"
: >"$work/id"

# The token goes in by standard input: the command line is for all users of the machine to see.
stream() {
  printf 'Authorization: Bearer %s\n' "$TIDEWIRE_TOKEN" >"$work/headers"
  if [ -s "$work/id" ]; then printf 'Last-Event-ID: %s\n' "$(cat "$work/id")" >>"$work/headers"; fi
  curl --no-buffer --silent --get "$base/v1/sse" --header @- <"$work/headers" \
    --data-urlencode "collection=$collection" --data-urlencode "filter=$filter" \
    --write-out '\nstatus: %{http_code}\n' || true
}

while :; do
  stream | {
    id='' data=''
    while IFS=' ' read -r field value; do
      case $field in
      id:) id=$value ;;
      data:) data=$value ;;
      retry:) echo "$value" >"$work/retry" ;;
      status:) echo "$value" >"$work/status" ;;
      '{'*) printf '%s\n' "$field $value" >&2 ;; # an error before the stream began
      '')
        # An event is complete at its blank line; one that was cut off comes again.
        if [ -n "$data" ]; then printf '%s\n' "$data"; fi
        if [ -n "$data" ] && [ -n "$id" ]; then printf '%s\n' "$id" >"$work/id"; fi
        id='' data=''
        ;;
      esac
    done
  }
  case $(cat "$work/status") in
  200 | 000) ;; # the stream broke off, or the service cannot be reached
  204) exit 0 ;;
  *) exit 1 ;;
  esac
  retry=$(cat "$work/retry")
  sleep "$((retry / 1000)).$(printf %03d $((retry % 1000)))"
done
