"""Writes .env beside docker-compose.yml: a new secret for each that it names. Those that are there already stay.

Kafka and Mongo take a service's password when their volumes are made: to change one later, change it there too.
"""

import os
import re
import secrets
import string
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Letters and digits only, since they also stand in URIs and in Java's login configuration; 40 are 238 bits.
ALPHABET = string.ascii_letters + string.digits
LENGTH = 40


def complete(compose: str, present: str) -> str:
    """`present`, the text of a .env, and after it a new secret for each name in `compose` that it has no line for."""
    wanted = sorted(set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", compose)))
    known = set(re.findall(r"^([A-Z_]+)=", present, re.MULTILINE))
    lines = [
        f"{name}={''.join(secrets.choice(ALPHABET) for _ in range(LENGTH))}" for name in wanted if name not in known
    ]
    kept = present if not present or present.endswith("\n") else f"{present}\n"
    return kept + "".join(f"{line}\n" for line in lines)


def main(root: Path = ROOT) -> None:
    file, draft = root / ".env", root / ".env.new"
    present = file.read_text("utf-8") if file.exists() else ""
    text = complete((root / "docker-compose.yml").read_text("utf-8"), present)
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    draft.replace(file)
    new = text.count("\n") - present.count("\n")
    sys.stdout.write(f"{file}: {new} new secrets, readable by you alone.\n")


if __name__ == "__main__":
    main()
