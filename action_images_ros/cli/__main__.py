"""`python -m action_images_ros.cli`: the command line where no executable is installed."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
