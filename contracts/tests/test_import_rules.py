"""`.importlinter`: each rule lets the right imports through and catches the wrong ones."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from chikaya_contracts.schemas import REPOSITORY

RULES = REPOSITORY / ".importlinter"
PACKAGES = [
    f"chikaya_{name}"
    for name in (
        "contracts", "servicekit", "intake", "routing", "tracking", "notification", "sdk", "portal", "callcenter",
        "desk", "local",
    )
]  # fmt: skip
RIGHT = {
    "chikaya_servicekit/consuming.py": "import aiokafka\nimport chikaya_contracts.topics",
    "chikaya_contracts/topics.py": "",
    "chikaya_intake/domain/__init__.py": "import chikaya_contracts.topics",
    "chikaya_intake/adapters/__init__.py": "import motor",
    "chikaya_intake/adapters/mongo.py": "import motor",
    "chikaya_intake/bootstrap.py": "import chikaya_intake.adapters.mongo\nimport chikaya_servicekit.consuming",
    "chikaya_desk/app.py": "import chikaya_sdk\nimport chikaya_servicekit.consuming",
    "chikaya_local/up.py": "import chikaya_sdk",
}


def lint(root: Path, files: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """The rules applied to packages of the same names that hold only `files`."""
    for package in PACKAGES:
        (root / package).mkdir()
        (root / package / "__init__.py").touch()
    for path, text in files.items():
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_text(text, "utf-8")
    command = [str(Path(sys.executable).parent / "lint-imports"), "--config", str(RULES), "--no-cache", "--no-logo"]
    environment = os.environ | {"PYTHONPATH": str(root), "COLUMNS": "200"}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def test_what_is_right_passes(tmp_path: Path) -> None:
    done = lint(tmp_path, RIGHT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize(
    ("path", "text", "rule"),
    [
        ("chikaya_tracking/api.py", "import chikaya_intake", "No service, channel or desk imports a sibling"),
        ("chikaya_portal/api.py", "import chikaya_tracking", "No service, channel or desk imports a sibling"),
        ("chikaya_routing/api.py", "import chikaya_sdk", "The four services import contracts and servicekit"),
        ("chikaya_tracking/domain/__init__.py", "import httpx", "The domain decides in plain Python"),
        ("chikaya_intake/domain/case.py", "import chikaya_servicekit.consuming", "The domain decides in plain Python"),
        ("chikaya_contracts/states.py", "import chikaya_servicekit", "Contracts import nothing of the project"),
        ("chikaya_servicekit/http.py", "import chikaya_desk", "The plumbing imports contracts only"),
        ("chikaya_sdk/channel.py", "import chikaya_servicekit", "The SDK imports contracts only"),
        ("chikaya_intake/api.py", "import motor", "Only adapters speak to the database"),
        ("chikaya_servicekit/store.py", "import motor", "Only adapters speak to the database"),
    ],
)
def test_what_is_wrong_breaks_its_rule(tmp_path: Path, path: str, text: str, rule: str) -> None:
    done = lint(tmp_path, RIGHT | {path: text})
    assert done.returncode == 1, done.stdout + done.stderr
    assert "1 broken" in done.stdout
    assert any(rule in line and "BROKEN" in line for line in done.stdout.splitlines()), done.stdout
