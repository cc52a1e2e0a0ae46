"""`python -m node.cli`: how a drill starts its gateways, with the interpreter it runs under."""

import sys

from node.cli import main

if __name__ == "__main__":
    sys.exit(main())
