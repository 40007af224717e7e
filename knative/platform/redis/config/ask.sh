# PORT ready|alive: succeeds when the server of this node at the port answers, for `alive` also while it reads its data.
# A renewed certificate is served without a restart of Redis, which is told to read it. Sentinel cannot be told: it is
# not alive any more when it is its turn to read it, so that the kubelet starts it again: node 0 at once, 1 after five
# minutes, 2 after ten.
set -eu
export REDISCLI_AUTH="$REDIS_PASSWORD"
tls=""
[ ! -e /tls/tls.crt ] || tls="--tls --cacert /tls/ca.crt"
ask() { # ARGUMENTS: the answer of the server
    # shellcheck disable=SC2086 # options, or none
    redis-cli -h localhost $tls -p "$port" "$@"
}
port=$1
case $2 in
ready) ask ping | grep -q PONG ;;
alive) ask ping | grep -q -e PONG -e LOADING ;;
esac
[ -n "$tls" ] || exit 0
# A Secret's files are in a folder that is another one after each change.
certificate=$(readlink -f /tls/tls.crt)
[ "$certificate" != "$(cat "/data/certificate-$port" 2>/dev/null)" ] || exit 0
case $port in
6379)
    ask config set tls-cert-file "$certificate" tls-key-file "${certificate%.crt}.key" | grep -q OK
    echo "$certificate" >"/data/certificate-$port"
    ;;
26379)
    [ "$2" = ready ] || [ -z "$(find "$certificate" -mmin "+$((5 * ${POD##*-}))")" ] || exit 1
    ;;
esac
