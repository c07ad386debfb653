"""Prints a `.env` with a new secret for each that docker-compose.yml names: `python3 deploy/compose/env.py > .env`."""

import re
import secrets
import string
import sys
from pathlib import Path

COMPOSE = Path(__file__).parents[2] / "docker-compose.yml"
# Letters and digits only, since they also stand in URIs and in Java's login configuration; 40 are 238 bits.
ALPHABET = string.ascii_letters + string.digits
LENGTH = 40

if __name__ == "__main__":
    if sys.stdout.isatty():
        sys.exit("These are secrets: write them to a file: python3 deploy/compose/env.py > .env && chmod 600 .env")
    for name in sorted(set(re.findall(r"\$\{([A-Z_]+)", COMPOSE.read_text("utf-8")))):
        sys.stdout.write(f"{name}={''.join(secrets.choice(ALPHABET) for _ in range(LENGTH))}\n")
