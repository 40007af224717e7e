# PORT PROGRAM ARGUMENTS: starts a server, and writes which certificate it reads.
set -eu
readlink -f /tls/tls.crt >"/data/certificate-$1" || true
shift
exec "$@"
