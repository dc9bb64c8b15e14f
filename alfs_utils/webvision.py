"""An earlier spelling of ``python -m alfs_utils webvision``; it goes with the next release."""

import sys

from alfs_utils.__main__ import main

if __name__ == "__main__":
    sys.exit(main(["webvision", *sys.argv[1:]]))
