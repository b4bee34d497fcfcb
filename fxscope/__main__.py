"""``python -m fxscope``: the command line, also under ``torchrun -m fxscope``."""

from .cli.main import main

if __name__ == "__main__":
    main()
