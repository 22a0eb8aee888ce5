#!/usr/bin/env bash
# The whole of procwatch on a fresh Debian machine, as root: installs the package, enables the service, lets a program's
# threads explode and a process of `aimgr` go astray by `su`, and looks at both wherever they are told.
#
#   sudo tests/tour.sh target/debian/procwatch_*.deb
#
# Needs python3, beside what every Debian has. It is meant for a machine that can be thrown away: the package and the user
# stay. Ends with 1 at the first thing missing.
set -euo pipefail

package=${1:?usage: tour.sh PACKAGE.deb}
[[ $EUID == 0 ]] || { echo "tour.sh: needs root" >&2; exit 2; }
here=$(mktemp --directory)
trap 'kill $(jobs -p) 2>/dev/null || true; rm -rf "$here"' EXIT

step() { printf '\n== %s\n' "$*"; }

# Waits until a command writes a line in which all of these words stand, and shows that line.
seen() {
  local command=$1 line word
  shift
  for ((i = 0; i < 300; i++)); do
    while IFS= read -r line || [[ $line ]]; do
      for word; do [[ $line == *"$word"* ]] || continue 2; done
      printf '%.160s\n' "$line"
      return
    done < <($command 2>&1)
    sleep 0.1
  done
  echo "tour.sh: in vain waited for \"$*\" in: $command" >&2
  $command >&2 || true
  exit 1
}

step "installed, configured, enabled"
dpkg --install "$package" > /dev/null
id aimgr > /dev/null 2>&1 || useradd --uid 1003 --create-home aimgr
mkdir --parents /etc/procwatch/procwatch.d
cat > /etc/procwatch/procwatch.d/tour.toml <<'TOML'
mode = "enforce"
[[place]]
user = "aimgr"
slice = "user-1003.slice"
from = ["user.slice"]
[metrics]
listen = "127.0.0.1:9464"
[[outlet]]
name = "tour"
kind = "webhook"
url = "http://127.0.0.1:9465/"
on = ["alert", "outcome"]
severity = "notice"
TOML
procwatch check --only-config
systemctl enable --quiet --now procwatch
systemctl --no-pager --lines=0 status procwatch | sed -n '1p;/Active:/p;/Status:/p'

# What receives the webhook's messages, and one who listens to events from the beginning.
python3 - > "$here/webhook" <<'PY' &
import socket
server = socket.create_server(("127.0.0.1", 9465))
while True:
    peer = server.accept()[0]
    stream = peer.makefile("rwb")
    size = 0
    for line in iter(stream.readline, b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            size = int(line.split(b":")[1])
    print(stream.read(size).decode(), flush=True)
    stream.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    stream.close()
    peer.close()
PY
procwatch events > "$here/events" &
seen "cat $here/events" armed > /dev/null

step "an explosion: one process, 400 threads"
python3 -c '
import threading, time
for _ in range(399): threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
time.sleep(3600)' &
explosion=$!
seen "cat /proc/$explosion/status" Threads: 400

step "a stray: su from a login of root, which is not in aimgr's slice"
systemd-run --quiet --collect --unit=tour-login --property=PAMName=login --uid=root -- \
  su aimgr -c 'exec sleep 3600'
seen "pgrep --uid aimgr --exact sleep" "" > "$here/pid"
stray=$(< "$here/pid")
seen "cat /proc/$stray/cgroup" user-1003.slice

step "events";     seen "cat $here/events" alert "$explosion" WARNING; seen "cat $here/events" "$stray" user-1003.slice
step "journalctl"; seen "journalctl --quiet --output=cat PROCWATCH_KIND=alert PROCWATCH_PID=$explosion" WARNING
                   seen "journalctl --quiet --output=cat PROCWATCH_KIND=outcome PROCWATCH_PID=$stray" user-1003.slice
step "status";     seen "procwatch status" "$explosion" WARNING; seen "procwatch status" moved
step "history";    seen "procwatch history --kind alert" "$explosion" WARNING
                   seen "procwatch history --user aimgr" "$stray" user-1003.slice
step "metrics"
scrape() {
  exec 3<> /dev/tcp/127.0.0.1/9464
  printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3
  cat <&3
}
seen scrape "procwatch_process_threads{" "pid=\"$explosion\"" 400
seen scrape "procwatch_placed_processes_total " 1
step "webhook";    seen "cat $here/webhook" alert "$explosion" warning; seen "cat $here/webhook" outcome "$stray"

step "top"
# It runs in a terminal of its own until the process is on its screen, and is left by its key.
(
  seen "cat $here/top" "$explosion" > /dev/null
  printf q
) | timeout 120 script --quiet --flush --return --command 'stty rows 40 cols 130; exec procwatch top --no-colour' \
  "$here/top" > /dev/null
tr '\033' '\n' < "$here/top" > "$here/screen"
seen "cat $here/screen" "$explosion"

step "all of it was told everywhere"
systemctl stop tour-login
