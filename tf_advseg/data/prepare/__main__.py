"""Prepares a published data set, or checks any: `python -m tf_advseg.data.prepare NAME ...`.

NumPy is imported after the flags are checked, and TensorFlow is not at all.
"""

import sys

from tf_advseg import cli, registry
from tf_advseg.data.prepare.settings import PROGRAM
from tf_advseg.errors import InputError

_HELP = f"""usage: {PROGRAM} NAME [flags]

Brings a published data set from its archives into a folder that train.py reads:

names: {", ".join(registry.PREPARED)}

Or lists all that is wrong with such a folder:

names: {", ".join(registry.DATA_TOOLS)}

The flags of each: {PROGRAM} NAME --help"""


def main() -> None:
    name, *rest = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(_HELP)
        return
    known = {**registry.PREPARED, **registry.DATA_TOOLS}
    if name not in known:
        raise InputError(f"{name!r} is no data set; allowed: {', '.join(known)}")
    registry.load(known, name)(rest)


if __name__ == "__main__":
    # A check begins anew.
    goes_on = not set(sys.argv[1:2]) & set(registry.DATA_TOOLS)
    cli.run(main, stopped="stopped; the same command goes on" if goes_on else "stopped")
