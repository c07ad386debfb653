"""Writes `kafka.lock` for a version of Kafka: `python -m chikaya_local.kafka_lock 4.3.1`. For who upgrades it."""

import argparse
import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jgo.maven import Artifact, MavenContext

from chikaya_local.kafka import LOCK
from chikaya_local.stack import LOCAL


def lock(version: str, repository: Path) -> list[str]:
    """The rows of the lock: every jar that the broker of that version runs on, fetched into `repository`."""
    context = MavenContext(repo_cache=repository, timeout=60)
    # One root only: given several, jgo takes each for a list of versions that binds the others.
    root = context.create_dependency(f"org.apache.kafka:kafka_2.13:{version}")
    top, rest = context.resolver.resolve([root])
    artifacts = [one.artifact for one in [*top, *(one for one in rest if one.scope in ("compile", "runtime"))]]
    log4j = next(one.version for one in artifacts if one.artifactId == "log4j-core")
    binding = context.project("org.apache.logging.log4j", "log4j-slf4j-impl").at_version(log4j).artifact()

    def row(artifact: Artifact) -> str:
        jar = Path(artifact.resolve()).read_bytes()
        coordinate = f"{artifact.groupId}:{artifact.artifactId}:{artifact.version}"
        return f"{coordinate} {hashlib.sha256(jar).hexdigest()} {len(jar)}"

    with ThreadPoolExecutor(8) as pool:
        return sorted(pool.map(row, [*artifacts, binding]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("version")
    rows = lock(parser.parse_args().version, LOCAL / "cache" / "jars")
    LOCK.write_text("\n".join(rows) + "\n", "utf-8")
    print(f"{len(rows)} jars in {LOCK}")
