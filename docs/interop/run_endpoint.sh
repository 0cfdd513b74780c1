#!/usr/bin/env bash
# Entry point of the image. The runner sets ROLE, TESTCASE, REQUESTS (URLs, for clients), CLIENT_PARAMS, SERVER_PARAMS,
# SSLKEYLOGFILE and QLOGDIR, the last two of which mio-quiche reads itself. Exits with 127 for what is not supported.
set -eu

# Only the case http3 is over HTTP/3; the others are over HTTP/0.9, which mio-quiche does not speak. Those of WebTransport
# other than the handshake want files to be requested by GET and PUSH on streams, which its demo does not do; the handshake
# wants the subprotocols of PROTOCOLS, of which the demo knows its own only.
case ${TESTCASE-} in
    http3) ;;
    *)
        echo "unsupported: ${TESTCASE-}"
        exit 127
        ;;
esac

# The routes of the simulated network.
/setup.sh

case ${ROLE-} in
    client)
        /wait-for-it.sh sim:57832 -s -t 30
        read -ra params <<<"${CLIENT_PARAMS-}"
        read -ra urls <<<"${REQUESTS-}"
        cd /downloads
        exec mio-quiche get -k -f -s -S -Z -O "${params[@]}" "${urls[@]}"
        ;;
    server)
        read -ra params <<<"${SERVER_PARAMS-}"
        exec mio-quiche serve --listen '[::]:443' --cert /certs/cert.pem --key /certs/priv.key \
            --retry off "${params[@]}" /www
        ;;
    *)
        echo "ROLE is client or server, not '${ROLE-}'" >&2
        exit 2
        ;;
esac
