"""`python -m soar_lib COMMAND`: see soar_lib/cli."""

import sys

from soar_lib.cli.commands import main

if __name__ == "__main__":
    sys.exit(main())
