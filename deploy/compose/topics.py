"""Makes topics, users and rights as Kafka's administrator, in the container `topics`. Safe to repeat.

Passwords of the services are those of .env (KAFKA_<NAME>_PASSWORD); those of administrations and channels are made
once. All are kept in the volume /credentials, which nothing else reads.
"""

import json
import os
import re
from pathlib import Path

CREDENTIALS = Path("/credentials/kafka.json")
COMMAND = [
    *("chikaya", "topics", "provision", "--yes", "--channel", "kiosk"),
    *("--administrations", "/etc/chikaya/catalogue/administrations.csv", "--credentials", str(CREDENTIALS)),
]

if __name__ == "__main__":
    os.umask(0o077)
    known = json.loads(CREDENTIALS.read_text("utf-8")) if CREDENTIALS.exists() else {}
    given = {
        found[1].lower(): password
        for name, password in os.environ.items()
        if (found := re.fullmatch(r"KAFKA_([A-Z]+)_PASSWORD", name))
    }
    CREDENTIALS.write_text(json.dumps(known | given, indent=1), "utf-8")
    os.execvp(COMMAND[0], COMMAND)  # noqa: S606 (nothing of it comes from outside)
