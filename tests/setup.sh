#!/bin/sh
# Installs what the tests need (Debian 12, as root or with sudo): the servers that they start for themselves, and, with
# `tests/python.sh`, the Python of the agents in that language. No service is started, now or at the next boot: tests
# run servers of their own, on free ports and with data of their own. Quick when all is there already.
set -eu

# The package and a file of it that the tests use.
wanted='
rabbitmq-server /usr/lib/rabbitmq/bin/rabbitmq-server
redis-server /usr/bin/redis-server
'

missing=$(printf '%s' "$wanted" | while read -r package file; do
    [ -z "$package" ] || [ -e "$file" ] || printf '%s ' "$package"
done)
# The file of this one bears the version of Python.
python3 -c 'import ensurepip' 2>/dev/null || missing="${missing}python3 python3-venv "
missing=${missing% }
if [ -z "$missing" ]; then
    "$(dirname "$0")/python.sh"
    echo "tests/setup.sh: all servers and packages are there."
    exit 0
fi

if ! command -v apt-get >/dev/null 2>&1 || ! [ -e /etc/debian_version ]; then
    echo "tests/setup.sh knows Debian only. Install these with what your system has, and run the tests again:" >&2
    echo "    $missing" >&2
    echo "Or leave out the tests that need them: CODITECT_SKIP_SERVERS=1 cargo test --workspace --all-features" >&2
    exit 1
fi

if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "tests/setup.sh has to install $missing: run it as root, or install sudo." >&2
        exit 1
    fi
    sudo sh "$0" --packages-only
    exec "$(dirname "$0")/python.sh"
fi

echo "tests/setup.sh: installing $missing"

# Debian starts a service as soon as it is installed, unless this file forbids it.
policy=/usr/sbin/policy-rc.d
if ! [ -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    trap 'exit 1' HUP INT TERM
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
elif "$policy" rabbitmq-server start; then
    echo "tests/setup.sh: $policy is there and may let services start; they are not needed." >&2
fi

export DEBIAN_FRONTEND=noninteractive
# The lists of a fresh machine are empty or old; those of others will do.
# shellcheck disable=SC2086 # One word for each package.
if ! apt-get install -y -q --no-install-recommends $missing; then
    apt-get update -q
    apt-get install -y -q --no-install-recommends $missing
fi

# Where systemd runs, a service that was installed is started at the next boot.
if [ -d /run/systemd/system ]; then
    for package in $missing; do
        systemctl disable "$package" || true
    done
fi

# As root on behalf of somebody else: the folder of the Python shall be theirs.
[ "${1-}" = --packages-only ] || "$(dirname "$0")/python.sh"
