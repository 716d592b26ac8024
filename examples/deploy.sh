#!/bin/sh
# Bring a folder to many machines, which pass it on to each other, and run something on each once it
# is whole there. In this example all machines are this one, and everything is in a new folder that
# goes away at the end: `sh examples/deploy.sh [how many machines]`.
set -eu
machines=${1:-3}
work=$(mktemp -d)
pids=
end() {
    for pid in $pids; do kill "$pid" 2>/dev/null || :; done
    wait
    rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

export LIVESTREAM_DATA_DIR="$work/data"  # Where else it would remember what it did.

# What is deployed.
mkdir "$work/app"
head -c 20000000 /dev/urandom >"$work/app/image.bin"
echo 'echo started' >"$work/app/start.sh"

# Once: a tracker says who else is there. Its first line is its URL.
mkfifo "$work/urls"
livestream tracker --listen 127.0.0.1:0 -q >"$work/urls" &
pids="$pids $!"
exec 3<"$work/urls"
read -r url <&3

# For each release: a torrent, and the first machine that has it.
livestream create "$work/app" -o "$work/app.torrent" -t "$url" -q >"$work/magnet"
livestream seed "$work/app.torrent" --data "$work" --listen 127.0.0.1:0 -q &
pids="$pids $!"

# On each machine: exit code 0 means that all of it is there, and was checked. Whoever has it goes on
# giving for a while, so that the others need not wait for the first machine.
downloads=
for machine in $(seq "$machines"); do
    LIVESTREAM_DATA_DIR="$work/data$machine" \
        livestream download "$work/app.torrent" -o "$work/machine$machine" --listen 127.0.0.1:0 \
        --seed-time 2s --on-done "sh \"\$LIVESTREAM_PATH/start.sh\" >\"$work/said$machine\"" -q &
    downloads="$downloads $!"
    pids="$pids $!"
done
for download in $downloads; do wait "$download"; done

for machine in $(seq "$machines"); do
    cmp "$work/app/image.bin" "$work/machine$machine/app/image.bin"
    echo "machine $machine has it, and said: $(cat "$work/said$machine")"
done
