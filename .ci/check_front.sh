#!/usr/bin/env bash
# Types of the front end of pages, from its JSDoc. It needs npm, which .ci/run does not: run it after a change of fxscope/viewer/front/.
set -euo pipefail
cd "$(dirname "$0")/.."
npx -y -p typescript@5.9 tsc --allowJs --checkJs --noEmit --strict --noUnusedLocals --noUnusedParameters --skipLibCheck --target es2022 --module esnext --lib es2023,dom,dom.iterable \
    fxscope/viewer/front/{page,folder,worker,viewer,framed,widget}.js
