#!/bin/sh
# Give each service a key of its own and register it, once. Run with the image and its MongoDB settings.
set -eu
for service in pix registry repository auth audit; do
  key=/data/service-keys/$service.jwk
  [ -f "$key" ] && continue
  mkdir -p /data/service-keys
  throughline clients keygen "$key"
  throughline clients add "service-$service" --jwks "/data/service-keys/$service.jwks.json" \
    --scope throughline.internal
done
