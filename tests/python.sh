#!/bin/sh
# Makes `target/python`, a Python with the packages that the agents of `examples/python` need, at the versions and with
# the hashes that are written there. Needs python3 with `venv` (Debian: python3-venv) and, once, a package index. Quick
# when all is there already.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
wanted=$root/examples/python/requirements.txt
place=$root/target/python
mkdir -p "$root/target"

# Tests that begin at the same time wait for one of them.
exec 9>"$root/target/python.lock"
flock 9

if [ -x "$place/bin/python" ] && cmp -s "$wanted" "$place/installed.txt"; then
    exit 0
fi
rm -rf "$place"
python3 -m venv "$place"
"$place/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --requirement "$wanted"
cp "$wanted" "$place/installed.txt"
