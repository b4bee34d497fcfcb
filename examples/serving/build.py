"""Compile a C++ program against the libtorch that the installed torch brings.

python build.py explain.cpp explain
"""

import subprocess
import sys

from torch.utils.cpp_extension import include_paths, library_paths


def command(source: str, target: str) -> list[str]:
    headers = [f"-I{path}" for path in include_paths()]
    libraries = [flag for path in library_paths() for flag in (f"-L{path}", f"-Wl,-rpath,{path}")]
    torch = ["-Wl,--no-as-needed", "-ltorch", "-ltorch_cpu", "-lc10"]  # operators register when loaded
    return ["g++", "-std=c++20", "-w", *headers, source, "-o", target, *libraries, *torch]


if __name__ == "__main__":
    sys.exit(subprocess.run(command(*sys.argv[1:])).returncode)
