# PORT [LOADING]: succeeds when the server of this node at the port answers, for LOADING also while it reads its data.
set -eu
set -- "$1" "${2:-PONG}"
export REDISCLI_AUTH="$REDIS_PASSWORD"
tls=""
[ ! -e /tls/tls.crt ] || tls="--tls --cacert /tls/ca.crt"
# shellcheck disable=SC2086 # options, or none
redis-cli -h localhost $tls -p "$1" ping | grep -q -e PONG -e "$2"
