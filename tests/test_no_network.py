"""Nothing connects to anything unless it is asked to."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

#: Runs before the program: each connection, and each question for an address, is an error.
GUARD = """
import socket

def refuse(*args, **kwargs):
    raise AssertionError(f"network: {args[1:]}")

for name in ("connect", "connect_ex", "sendto", "bind"):
    setattr(socket.socket, name, refuse)
for name in ("getaddrinfo", "gethostbyname", "create_connection"):
    setattr(socket, name, refuse)
"""


def guarded(program):
    source = f"{GUARD}\n{program}"
    return subprocess.run(
        [sys.executable, "-c", source],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_guard_refuses():
    done = guarded("import urllib.request; urllib.request.urlopen('http://127.0.0.1:9')")
    assert "AssertionError: network" in done.stderr


def test_no_module_and_no_script_connects_by_itself():
    # All in one process: TensorFlow takes seconds to import.
    done = guarded(
        """
import contextlib, importlib, os, pkgutil, sys
import tf_advseg
names = [m.name for m in pkgutil.walk_packages(tf_advseg.__path__, "tf_advseg.")]
names = [n for n in names if not n.endswith("__main__")]
for name in names:
    importlib.import_module(name)
for script in ("train", "evaluate", "export"):
    sys.argv = [script + ".py", "--help"]
    main = importlib.import_module(script).main
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(None):
        main()
print(len(names), "tensorflow" in sys.modules)
"""
    )
    assert done.returncode == 0, done.stderr
    count, loaded = done.stdout.split()
    assert int(count) > 90 and loaded == "True"
