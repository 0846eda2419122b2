"""Many small programs in forks of one process, which imports once what all of them need."""

import json
import subprocess
import sys

_PARENT = """
import importlib, json, os, sys, tempfile, traceback

asked = json.load(sys.stdin)
for name in asked["imported"]:
    importlib.import_module(name)
found = {}
for name, code in asked["programs"].items():
    with tempfile.TemporaryFile("w+") as output:
        child = os.fork()
        if child == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            status = 0
            try:
                exec(compile(code, name, "exec"), {"__name__": "__main__"})
            except SystemExit as end:
                status = int(end.code or 0)
            except BaseException:
                traceback.print_exc()
                status = 1
            sys.stdout.flush()
            os._exit(status)
        _, status = os.waitpid(child, 0)
        output.seek(0)
        found[name] = [os.waitstatus_to_exitcode(status), output.read()]
print(json.dumps(found))
"""


def run_in_forks(programs, imported=(), **options):
    """Run programs; return the exit status and the output of each.

    Parameters
    ----------
    programs : their texts by name
    imported : modules that the process which forks imports
    options : of ``subprocess.run``
    """
    asked = json.dumps({"imported": list(imported), "programs": programs})
    command = [sys.executable, "-c", _PARENT]
    done = subprocess.run(
        command, input=asked, stdout=subprocess.PIPE, text=True, check=True, timeout=600, **options
    )
    return json.loads(done.stdout)
