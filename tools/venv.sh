#!/bin/sh
# Makes or updates a virtual environment, once:
#
#   tools/venv.sh DIRECTORY PYTHON REQUIREMENTS...
#
# DIRECTORY/.ready records, as the very last step, what was installed: the Python version and
# one checksum a requirements file. While it agrees, this script returns at once. It is removed
# before anything is changed, so an interrupted set-up is never taken for a finished one: the
# next call finds no record and starts from an empty directory.
set -eu

fail() {
    printf '\nset-up failed: %s\n' "$1" >&2
    exit 1
}

[ "$#" -ge 3 ] || fail "usage: tools/venv.sh DIRECTORY PYTHON REQUIREMENTS..."
venv=$1
python=$2
shift 2

command -v "$python" >/dev/null 2>&1 || fail "there is no '$python' on the PATH.
  Install Python 3.11 or newer (Debian: apt-get install python3 python3-venv),
  or name another one: make PYTHON=python3.12 ..."
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])') ||
    fail "'$python' does not run. Name another one: make PYTHON=python3.12 ..."
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail \
    "'$python' is Python $version, and 3.11 or newer is needed.
  Name another one: make PYTHON=python3.12 ..."

# Two commands started at once would otherwise install into one directory together.
if command -v flock >/dev/null 2>&1; then
    mkdir -p "$(dirname "$venv")"
    exec 9>"$venv.lock"
    flock 9
fi

ready="$venv/.ready"
wanted="python $version"
for file in "$@"; do
    [ -f "$file" ] || fail "there is no '$file' here; run this from the top of the repository."
    wanted="$wanted
$(cksum "$file")"
done

# Ready when every wanted line is on record, whatever else was installed beside it.
if [ -f "$ready" ] && "$venv/bin/python" -c '' 2>/dev/null &&
    ! printf '%s\n' "$wanted" | grep -qvxF -f "$ready"; then
    exit 0
fi

requirements=$(printf -- '-r\n%s\n' "$@")
install() {
    # Compiling every module of every package takes a third of the time, and Python compiles the
    # few that are imported on the first run anyway.
    # shellcheck disable=SC2086 # one argument a word
    "$venv/bin/python" -m pip install -qq --no-compile --disable-pip-version-check --no-input \
        "$@" $requirements ||
        fail "pip could not install the requirements (see above). If the network failed, run the
  same command again; if a version is not to be had for Python $version, try another Python."
}

keep=""
if [ -f "$ready" ] && "$venv/bin/python" -c '' 2>/dev/null && grep -qxF "python $version" "$ready"; then
    # A finished environment of the same Python, to which something is added or updated. What
    # is on record and not named in this call stays installed, so it stays on record.
    keep=$(cat "$ready")
    for file in "$@"; do
        keep=$(printf '%s\n' "$keep" | grep -v " $file\$" || true)
    done
    # Without a network this fails, and leaves the environment as it was.
    install --dry-run
    rm -f "$ready"
else
    if [ -e "$venv" ] && [ ! -f "$venv/pyvenv.cfg" ] && [ -n "$(ls -A "$venv")" ]; then
        fail "'$venv' exists and is not a virtual environment; move it away,
  or name another directory: make VENV=.venv-mine ..."
    fi
    if "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        module="venv"
    elif "$python" -m virtualenv --version >/dev/null 2>&1; then
        module="virtualenv --quiet"
    else
        fail "'$python' has no venv module. On Debian and Ubuntu it is a package of its own:
  apt-get install python3-venv        (or python$version-venv for a Python that is not the default)
  as root or with sudo, and then run the same command again."
    fi
    echo "Setting up $venv with Python $version (once; takes a minute or two) ..."
    rm -rf "$venv"
    # shellcheck disable=SC2086 # one argument a word
    "$python" -m $module "$venv"
fi
install

printf '%s\n%s\n' "$wanted" "$keep" | grep . | sort -u >"$ready.new"
mv "$ready.new" "$ready"
