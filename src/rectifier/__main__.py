"""``python -m rectifier``: the same as the command ``rectifier``."""

from .cli import main

if __name__ == "__main__":
    main()
