"""``python -m cellnet`` is the command ``cellnet``."""

import sys

from cellnet.cli import main

if __name__ == "__main__":
    sys.exit(main())
