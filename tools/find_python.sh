#!/bin/sh
# Print the path of a Python 3.10 or 3.11 that can make a virtual environment.
#
# Each candidate is run, because a name proves nothing: version managers leave
# launchers called python3.11 that fail or start another version, and some systems
# ship a Python without ensurepip. 3.11 is preferred to 3.10.
#
# Two variables steer the search:
#   PYTHON              an interpreter (path or name) to use if it works
#   PYTHON_SEARCH_PATH  folders to look in after PATH, separated by colons, in place
#                       of the usual ones listed below; may hold * and may be empty
#
# Only what is built into the shell is used, so this also works with a bare PATH.

set -u

home=${HOME:-}
usual="${PYENV_ROOT:-$home/.pyenv}/versions/*/bin"
usual="$usual:/usr/bin:/usr/local/bin:$home/.local/bin:$home/bin"
usual="$usual:/opt/*/bin:/opt/python/*/bin:/opt/hostedtoolcache/Python/*/*/bin"
usual="$usual:/opt/homebrew/bin:/opt/homebrew/opt/python@3*/bin:/usr/local/opt/python@3*/bin"
usual="$usual:/Library/Frameworks/Python.framework/Versions/3*/bin"
for conda in miniconda3 anaconda3 miniforge3 mambaforge micromamba; do
    usual="$usual:$home/$conda/bin:$home/$conda/envs/*/bin"
done
usual="$usual:/opt/*/envs/*/bin"
usual="$usual:$home/.local/share/uv/python/*/bin"
usual="$usual:${ASDF_DATA_DIR:-$home/.asdf}/installs/python/*/bin"
usual="$usual:$home/.local/share/mise/installs/python/*/bin"
usual="$usual:$home/.rye/py/*/bin"
places=${PYTHON_SEARCH_PATH-$usual}

# TensorFlow has wheels for 64-bit CPython only. pip needs ssl and zlib.
# ensurepip.version() fails where the bundled pip was left out.
probe='
import sys
if sys.implementation.name != "cpython" or sys.maxsize < 2**32:
    sys.exit(1)
if sys.version_info[:2] not in ((3, 10), (3, 11)):
    sys.exit(1)
import ctypes, ensurepip, ssl, venv, zlib
ensurepip.version()
print("%d.%d" % sys.version_info[:2])
'

newline='
'
seen=$newline
looked_at=0
fallback=

# Run one candidate. Sets `version` to 3.10 or 3.11, or to nothing if it will not do.
check() {
    version=
    [ -f "$1" ] && [ -x "$1" ] || return 0
    case $seen in *"$newline$1$newline"*) return 0 ;; esac
    seen=$seen$1$newline
    looked_at=$((looked_at + 1))
    version=$("$1" -c "$probe" 2>/dev/null </dev/null) || version=
    case $version in 3.10 | 3.11) ;; *) version= ;; esac
}

# Check one candidate. Ends the search at the first 3.11, remembers the first 3.10.
consider() {
    check "$1"
    case $version in
        3.11)
            printf '%s\n' "$1"
            exit 0
            ;;
        3.10) fallback=${fallback:-$1} ;;
    esac
}

# Unquoted lists below are split at colons, and their * are expanded.
IFS=:

# What the user names is used as it is, also when it is 3.10.
if [ -n "${PYTHON:-}" ]; then
    case $PYTHON in
        */*) check "$PYTHON" && chosen=$PYTHON ;;
        *)
            for folder in $PATH; do
                chosen=${folder:-.}/$PYTHON
                check "$chosen"
                [ -z "$version" ] || break
            done
            ;;
    esac
    if [ -n "${version:-}" ]; then
        printf '%s\n' "$chosen"
        exit 0
    fi
    printf '%s\n' "PYTHON=$PYTHON is not a working Python 3.10 or 3.11; looking for another" >&2
fi

for name in python3.11 python3.10 python3 python; do
    for folder in $PATH; do
        consider "${folder:-.}/$name"
    done
done

for folder in $places; do
    for name in python3.11 python3.10 python3 python; do
        consider "$folder/$name"
    done
done

if [ -n "$fallback" ]; then
    printf '%s\n' "$fallback"
    exit 0
fi

printf '%s\n' "no working Python 3.10 or 3.11 with venv found (looked at $looked_at);\
 install one, e.g. \`apt install python3.11 python3.11-venv\`,\
 or set PYTHON=/path/to/python3.11" >&2
exit 1
