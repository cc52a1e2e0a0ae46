"""`python -m node.computing`: computes what comes through standard input, until that ends.

Rules: it reads nothing else, and writes nothing but answers; what is no computation ends it.
"""

import sys

from node.computing import LENGTH_OCTETS, framed
from proto.ike.agreement import compute


def main() -> None:
    """Read, compute, write."""
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while len(head := requests.read(LENGTH_OCTETS)) == LENGTH_OCTETS:
        request = requests.read(int.from_bytes(head, "big"))
        answers.write(framed(compute(request)))
        answers.flush()


if __name__ == "__main__":
    main()
