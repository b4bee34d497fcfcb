"""Saved files are checked in forks of one process that has torch and never imported fxscope.

``save`` starts a process for every file, and most of its time is the import of torch. Here one process a
worker imports torch, with fxscope barred, and forks for every check: the child runs the same program on the
same files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

SERVER = """
import json, os, sys, traceback
class Block:
    def find_spec(self, name, *rest):
        if name.split(".")[0] == "fxscope":
            raise ImportError("fxscope must not be needed to run a saved file")
sys.meta_path.insert(0, Block())
import warnings; warnings.simplefilter("ignore")
import torch, torch.export, sympy
for line in sys.stdin:
    told = json.loads(line)
    child = os.fork()
    if not child:
        code = 1
        try:
            os.chdir(told["cwd"])
            os.environ.clear(); os.environ.update(told["environment"])
            for number, path in ((1, told["out"]), (2, told["err"])):
                os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
            sys.argv = ["-c", *told["arguments"]]
            exec(compile(told["program"], "<string>", "exec"), {"__name__": "__main__"})
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush(); sys.stderr.flush()
            os._exit(code)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    print(json.dumps(status), flush=True)
"""


class Fresh:
    """Where ``check`` has the module ``subprocess``: ``run`` takes ``[python, "-c", program, ...]``."""

    def __init__(self) -> None:
        self._server: subprocess.Popen | None = None

    def run(self, command, capture_output=True, text=True, cwd=None):
        """The program in a fork of a process that has torch and never had fxscope."""
        if sys.platform != "linux":  # elsewhere a process with torch may not be forked
            return subprocess.run(command, capture_output=capture_output, text=text, cwd=cwd)
        python, option, program, *arguments = command
        assert (python, option) == (sys.executable, "-c")
        with tempfile.TemporaryDirectory() as folder:
            out, err = Path(folder, "out"), Path(folder, "err")
            told = {"program": program, "arguments": arguments, "cwd": str(cwd), "out": str(out)}
            told |= {"err": str(err), "environment": dict(os.environ)}
            code = self._asked(json.dumps(told))
            return SimpleNamespace(returncode=code, stdout=out.read_text(), stderr=err.read_text())

    def _asked(self, line: str) -> int:
        server = self._server
        if server is None or server.poll() is not None:
            command = [sys.executable, "-c", SERVER]
            server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            self._server = server
        server.stdin.write(line + "\n")
        server.stdin.flush()
        return json.loads(server.stdout.readline())

    def end(self) -> None:
        """At the end of its input the process ends."""
        if self._server is not None:
            self._server.communicate()
