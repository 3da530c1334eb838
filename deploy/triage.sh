#!/bin/sh
# The triage command of this server: with its settings, and as the daemon's own account when root calls it,
# so that no file of root's lies where the daemon must write. LOGNAME tells the audit log who asked; HOME is where
# libpq looks for .pgpass.
set -eu
triage=/opt/ich-triage/current/bin/triage
settings=/etc/ich-triage/triage.toml

if [ "$(id -u)" -ne 0 ]; then
    exec "$triage" --config "$settings" "$@"
fi
LOGNAME=${SUDO_USER:-root}
HOME=/var/lib/ich-triage
export LOGNAME HOME
exec setpriv --reuid ich-triage --regid ich-triage --init-groups "$triage" --config "$settings" "$@"
