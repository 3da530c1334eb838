#!/bin/sh
# The triage command of the image, with its settings: what runs by exec in a container passes the ENTRYPOINT by.
set -eu
exec /opt/ich-triage/bin/triage --config /etc/ich-triage/triage.toml "$@"
