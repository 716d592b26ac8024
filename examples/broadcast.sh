#!/bin/sh
# A channel, and somebody who watches it into a file: `sh examples/broadcast.sh [seconds] [file]`.
# The link is all that a viewer needs, wherever it is; here it is this machine.
set -eu
seconds=${1:-5}
file=${2:-broadcast.ts}
work=$(mktemp -d)
publisher=
end() {
    [ -z "$publisher" ] || kill "$publisher" 2>/dev/null || :
    wait
    rm -rf "$work"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# A test picture with a clock; a camera's file or `-` for standard input go in place of `test`.
export LIVESTREAM_DATA_DIR="$work"  # A new channel each time; without this line it is the same.
mkfifo "$work/link"
livestream publish test --size 320x180 --fps 15 --bitrate 300k --listen 127.0.0.1:0 -q \
    >"$work/link" &
publisher=$!
exec 3<"$work/link"
read -r link <&3

livestream watch "$link" -o "$file" --duration "${seconds}s" --listen 127.0.0.1:0 -q
ls -l "$file"
