# Writes redis.conf and sentinel.conf for this node. The primary is the one that a Sentinel names, otherwise redis-0.
set -eu
domain=redis-nodes.redis.svc.cluster.local
export REDISCLI_AUTH="$REDIS_PASSWORD"
tls=""
[ ! -e /tls/tls.crt ] || tls="--tls --cacert /tls/ca.crt"
listen() { # PORT: the lines of a server that listens there, with TLS only where there is a certificate
    if [ -z "$tls" ]; then
        echo "port $1"
        return
    fi
    echo "port 0"
    echo "tls-port $1"
    echo "tls-cert-file /tls/tls.crt"
    echo "tls-key-file /tls/tls.key"
    echo "tls-ca-cert-file /tls/ca.crt"
    # Clients have a password and no certificate.
    echo "tls-auth-clients no"
    echo "tls-replication yes"
}
primary=""
for node in 0 1 2; do
    # shellcheck disable=SC2086 # options, or none
    primary=$(timeout 3 redis-cli $tls -h "redis-$node.$domain" -p 26379 sentinel get-master-addr-by-name lastro 2>/dev/null | head -n 1) || primary=""
    case $primary in redis-*) break ;; *) primary="" ;; esac
done
[ -n "$primary" ] || primary="redis-0.$domain"
{
    listen 6379
    echo "dir /data"
    echo "requirepass $REDIS_PASSWORD"
    echo "masterauth $REDIS_PASSWORD"
    echo "replica-announce-ip $POD.$domain"
    # Everything has an expiry; what is least used goes first.
    echo "maxmemory 768mb"
    echo "maxmemory-policy allkeys-lru"
    echo "appendonly no"
    echo "save ''"
    # A primary that has lost its replicas stops accepting writes, so that a cut-off one does not go on alone.
    echo "min-replicas-to-write 1"
    echo "min-replicas-max-lag 10"
    [ "$primary" = "$POD.$domain" ] || echo "replicaof $primary 6379"
} >/data/redis.conf
{
    listen 26379
    echo "dir /data"
    echo "requirepass $REDIS_PASSWORD"
    echo "sentinel resolve-hostnames yes"
    echo "sentinel announce-hostnames yes"
    echo "sentinel announce-ip $POD.$domain"
    echo "sentinel monitor lastro $primary 6379 2"
    echo "sentinel auth-pass lastro $REDIS_PASSWORD"
    echo "sentinel down-after-milliseconds lastro 5000"
    echo "sentinel failover-timeout lastro 30000"
    echo "sentinel parallel-syncs lastro 1"
} >/data/sentinel.conf
