"""docker-compose.yml against the code that it runs: no setting, secret, user, port or address lacks its other side."""

import importlib
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from chikaya_contracts.topics import SERVICES
from chikaya_servicekit.provisioning import principals
from pydantic_settings import BaseSettings

SETTINGS = {
    "intake": "chikaya_intake.settings:Settings",
    "routing": "chikaya_routing.settings:Settings",
    "tracking": "chikaya_tracking.settings:Settings",
    "notification": "chikaya_notification.settings:Settings",
    "portal": "chikaya_portal.settings:Settings",
    "callcenter": "chikaya_callcenter.settings:Settings",
    "desk": "chikaya_desk.settings:Settings",
    "inbox": "chikaya_local.inbox.app:InboxSettings",
    "identity": "chikaya_local.identity.provider:IdentitySettings",
    "topics": "chikaya_servicekit.cli:OperatorSettings",
    "channels": "chikaya_intake.settings:DatabaseSettings",
    "catalogue": "chikaya_routing.settings:CatalogueSettings",
    "chikaya": "chikaya_servicekit.cli:OperatorSettings",
}
"""Service → what reads its environment."""
OF_LOCAL = {"inbox", "identity"}
ONE_ALONE = {"kafka", "mongo", "gateway", "mailpit", "inbox", "identity"}
"""What `--scale` is not for."""


def settings_class(service: str) -> type[BaseSettings]:
    module, name = SETTINGS[service].split(":")
    return getattr(importlib.import_module(module), name)


def dockerfile(compose: Any, root: Path, service: str) -> str:
    return (root / compose.services[service]["build"]["dockerfile"]).read_text("utf-8")


def environment(compose: Any, root: Path, service: str) -> dict[str, str]:
    """What the process sees: the image's own values, and over them the service's."""
    words = re.findall(r"(CHIKAYA_[A-Z_]+)=(\S+)", dockerfile(compose, root, service))
    return {**dict(words), **compose.environment(service)}


# -- images and how they are run


def test_each_service_has_an_image_from_its_own_folder(compose: Any, root: Path) -> None:
    assert set(compose.built) == set(SETTINGS)
    for name, service in compose.built.items():
        build = service["build"]
        assert build["context"] == "."
        assert (root / build["dockerfile"]).is_file(), build["dockerfile"]
        if name in compose.lasting:
            assert Path(build["dockerfile"]).parent.name == ("local" if name in OF_LOCAL else name)


def test_others_images_are_official_and_their_version_is_named(compose: Any) -> None:
    images = {service["image"].split(":")[0] for service in compose.services.values() if "image" in service}
    assert images == {"apache/kafka", "mongo", "haproxy", "axllent/mailpit"}
    for service in compose.services.values():
        assert "image" not in service or re.search(r":v?\d", service["image"])


def test_nothing_runs_as_root_writes_to_its_image_or_gains_rights(compose: Any) -> None:
    for name, service in compose.services.items():
        assert service["user"] in ("10001:10001", "appuser", "mongodb"), name
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert any(where.startswith("/tmp") for where in service["tmpfs"]), name
        assert "privileged" not in service, name


def test_an_image_runs_as_the_user_that_compose_names(compose: Any, root: Path) -> None:
    for name in compose.built:
        assert re.search(r"^USER 10001$", dockerfile(compose, root, name), re.MULTILINE), name


def test_each_has_time_to_drain_and_a_limit_of_resources(compose: Any) -> None:
    for name, service in compose.services.items():
        assert int(service["stop_grace_period"].removesuffix("s")) >= 30, name
        limits = service["deploy"]["resources"]["limits"]
        assert float(limits["cpus"]) > 0, name
        assert re.fullmatch(r"\d+[MG]", limits["memory"]), name


def test_what_stays_has_a_healthcheck_and_what_leaves_has_none(compose: Any, root: Path) -> None:
    for name, service in compose.services.items():
        if name in compose.lasting:
            assert "test" in service.get("healthcheck", {}) or "HEALTHCHECK" in dockerfile(compose, root, name), name
        else:
            assert service["healthcheck"] == {"disable": True}, name


def test_ports_are_on_loopback_alone(compose: Any) -> None:
    published = [port for service in compose.services.values() for port in service.get("ports", [])]
    assert published
    assert [port for port in published if not port.startswith("127.0.0.1:")] == []


def test_files_that_containers_read_are_in_the_repository(compose: Any, root: Path) -> None:
    named = set(compose.document["volumes"])
    for name, service in compose.services.items():
        for volume in service.get("volumes", []):
            source, _, mode = volume.partition(":")
            if source.startswith("./"):
                assert mode.endswith(":ro"), f"{name}: {volume}"
                tracked = subprocess.run(["git", "ls-files", "--", source], cwd=root, capture_output=True, check=True)
                assert tracked.stdout, f"{name}: {source}"
            else:
                assert source in named, f"{name}: {volume}"


# -- scaling


def test_what_scales_has_no_name_and_no_port_of_its_own(compose: Any) -> None:
    scaled = set(compose.lasting) - ONE_ALONE
    assert {*SERVICES, "portal", "callcenter"} == scaled
    for name in scaled:
        assert "container_name" not in compose.services[name], name
        assert "ports" not in compose.services[name], name


def test_the_gateway_leads_to_each_that_scales_at_its_own_port(compose: Any, root: Path) -> None:
    config = (root / "deploy" / "compose" / "gateway.cfg").read_text("utf-8")
    sections = re.findall(
        r"^listen (\w+)\n    bind :(\d+)\n(?:    .*\n)*?    server-template \1 \d+ \1:(\d+)$", config, re.M
    )
    assert {name for name, *_ in sections} == set(compose.lasting) - ONE_ALONE
    first, last = re.fullmatch(r"127.0.0.1:(\d+)-(\d+):\1-\2", compose.services["gateway"]["ports"][0]).groups()  # type: ignore[union-attr]
    for name, bound, inside in sections:
        assert bound == inside == compose.environment(name)["CHIKAYA_PORT"], name
        assert int(first) <= int(bound) <= int(last), name


# -- settings


@pytest.mark.parametrize("service", SETTINGS)
def test_settings_are_known_complete_and_valid(
    service: str, compose: Any, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = environment(compose, root, service)
    for name in [name for name in os.environ if name.startswith("CHIKAYA_")]:
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    settings = settings_class(service)
    known = {f"CHIKAYA_{field.upper()}" for field in settings.model_fields}
    # The images' address and port are for their services; commands of the same image do not listen.
    named = {name for name in compose.environment(service) if name.startswith("CHIKAYA_")}
    assert named - known == set()
    settings()


@pytest.mark.parametrize("service", SETTINGS)
def test_no_setting_is_left_that_leads_to_this_machine(service: str, compose: Any, root: Path) -> None:
    given = environment(compose, root, service)
    fields = settings_class(service).model_fields
    inside = {"kafka_bootstrap"} if "CHIKAYA_KAFKA_USER" not in given else set[str]()
    left = [
        name
        for name, field in fields.items()
        if "127.0.0.1" in repr(field.default) and f"CHIKAYA_{name.upper()}" not in given and name not in inside
    ]
    if service not in compose.lasting:
        left = [name for name in left if name != "host"]
    assert left == []


@pytest.mark.parametrize("service", SETTINGS)
def test_addresses_are_of_services_at_the_port_where_they_listen(service: str, compose: Any) -> None:
    listening = {name: compose.environment(name).get("CHIKAYA_PORT") for name in compose.built}
    listening |= {"kafka": "9092", "mongo": "27017", "mailpit": "1025", "identity.localhost": listening["identity"]}
    for name, value in compose.environment(service).items():
        if name.endswith("SMTP_HOST"):
            assert compose.environment(service)["CHIKAYA_SMTP_PORT"] == listening[value]
        for host, port in re.findall(r"(?:^|//|@)([a-z][a-z.-]+):(\d+)\b(?!\w*@)", value):
            assert listening.get(host) == port, f"{name}={host}:{port}"


def test_the_identity_provider_answers_to_the_name_that_all_call_it(compose: Any) -> None:
    alias = compose.services["identity"]["networks"]["inside"]["aliases"]
    issuers = {values.get("CHIKAYA_OIDC_ISSUER") for values in map(compose.environment, compose.built)} - {None}
    assert issuers == {compose.environment("identity")["CHIKAYA_PUBLIC_URL"]}
    assert [urlsplit(issuer).hostname for issuer in issuers] == alias


def test_every_site_with_staff_is_known_to_the_identity_provider(compose: Any) -> None:
    clients = json.loads(compose.environment("identity")["CHIKAYA_OIDC_CLIENTS"])
    expected = {
        values["CHIKAYA_OIDC_CLIENT_ID"]: {
            "secret": values["CHIKAYA_OIDC_CLIENT_SECRET"],
            "redirect_uris": [values["CHIKAYA_PUBLIC_URL"] + "/login/callback"],
        }
        for values in map(compose.environment, compose.built)
        if "CHIKAYA_OIDC_CLIENT_ID" in values
    }
    assert clients == expected


def test_a_site_is_reached_where_it_says_that_it_is(compose: Any) -> None:
    for name in set(compose.lasting) - ONE_ALONE:
        values = compose.environment(name)
        assert values["CHIKAYA_PUBLIC_URL"] == f"http://127.0.0.1:{values['CHIKAYA_PORT']}", name


def test_no_text_is_the_key_of_two_settings_of_a_service(compose: Any) -> None:
    for name in compose.built:
        secret = [value for value in compose.environment(name).values() if value in compose.secrets.values()]
        assert len(secret) == len(set(secret)), name


# -- secrets and users


def test_a_secret_that_is_missing_stops_compose(compose: Any) -> None:
    guarded = set(re.findall(r"\$\{([A-Z_]+):\?run deploy/compose/env.py\}", compose.text))
    assert guarded == set(compose.secrets)
    assert not re.search(r"(?i)(password|secret|token|key): (?![\"']?\$)\S", compose.text)


def test_secrets_are_added_and_never_replaced(env_program: ModuleType, compose: Any, tmp_path: Path) -> None:
    (tmp_path / "docker-compose.yml").write_text(compose.text)
    (tmp_path / ".env").write_text("SMS_TOKEN=kept\nOTHER=too")
    env_program.main(tmp_path)
    written = (tmp_path / ".env").read_text()
    env_program.main(tmp_path)
    assert (tmp_path / ".env").read_text() == written
    values = dict(line.split("=", 1) for line in written.splitlines())
    assert values["SMS_TOKEN"] == "kept"
    assert set(values) == {"OTHER", *compose.secrets}
    assert all(
        re.fullmatch(r"[A-Za-z0-9]{40}", value) for name, value in values.items() if value not in ("kept", "too")
    )
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600


def test_kafka_has_the_users_of_the_table_of_topics(compose: Any) -> None:
    made = {
        found[1].lower()
        for name in compose.environment("topics")
        if (found := re.fullmatch(r"KAFKA_([A-Z]+)_PASSWORD", name))
    }
    assert made == set(principals([], []))
    used = {values.get("CHIKAYA_KAFKA_USER") for values in map(compose.environment, compose.built)} - {None}
    assert used == made | {"admin"}


def test_each_signs_in_to_kafka_and_mongo_as_itself(compose: Any) -> None:
    acts_as = {"channels": "intake", "catalogue": "routing", "topics": "admin", "chikaya": "operator"}
    for name in compose.built:
        values, who = compose.environment(name), acts_as.get(name, name)
        if "CHIKAYA_KAFKA_USER" in values:
            assert values["CHIKAYA_KAFKA_USER"] == who, name
            assert values["CHIKAYA_KAFKA_PASSWORD"] == compose.secrets[f"KAFKA_{who.upper()}_PASSWORD"], name
        if "CHIKAYA_MONGO_URI" in values:
            uri = urlsplit(values["CHIKAYA_MONGO_URI"])
            assert (uri.username, values["CHIKAYA_MONGO_DATABASE"]) == (who, who), name
            assert uri.password == compose.secrets[f"MONGO_{who.upper()}_PASSWORD"], name
            assert parse_qs(uri.query) == {"authSource": [who], "replicaSet": ["rs0"]}, name


def test_mongo_has_a_user_for_each_database_and_no_other(compose: Any, root: Path) -> None:
    script = (root / "deploy" / "compose" / "mongo-users.sh").read_text("utf-8")
    listed = re.search(r"for \(const name of (\[.*\])\)", script)
    assert listed is not None
    databases = {values.get("CHIKAYA_MONGO_DATABASE") for values in map(compose.environment, compose.built)} - {None}
    assert set(json.loads(listed[1])) == databases
    assert {f"MONGO_{name.upper()}_PASSWORD" for name in (*databases, "admin")} == set(
        compose.environment("mongo-users")
    )


def test_channels_have_the_keys_that_intake_is_told(compose: Any) -> None:
    keys = compose.environment("channels")
    for channel in ("portal", "callcenter"):
        assert compose.environment(channel)["CHIKAYA_CHANNEL_KEY"] == keys[f"{channel.upper()}_KEY"]
        assert f'"$${channel.upper()}_KEY" chikaya channels add {channel}' in compose.services["channels"]["command"][2]


def test_what_a_script_reads_it_is_given_and_nothing_more(compose: Any, root: Path) -> None:
    for name in ("kafka", "mongo", "mongo-users"):
        script = (root / "deploy" / "compose" / f"{name}.sh").read_text("utf-8")
        read = set(re.findall(r"\$\{?((?:KAFKA|MONGO)_[A-Z_]+)", script))
        given = set(compose.environment(name)) - {"KAFKA_HEAP_OPTS"}
        if name == "mongo-users":  # the others by their databases' names: tested above
            given = {"MONGO_ADMIN_PASSWORD"}
        assert read == given, name


# -- the real thing


def plugin() -> list[str] | None:
    named = os.environ.get("DOCKER_COMPOSE")
    commands = [[named]] if named else [["docker", "compose"]] if shutil.which("docker") else []
    for command in commands:
        if subprocess.run([*command, "version"], capture_output=True, check=False).returncode == 0:
            return command
    return None


def configured(command: list[str], root: Path, secrets: dict[str, str], tmp_path: Path, *options: str) -> Any:
    file = tmp_path / "secrets"
    file.write_text("".join(f"{name}={value}\n" for name, value in secrets.items()))
    clean = {name: value for name, value in os.environ.items() if name not in secrets}
    arguments = ["--project-directory", str(root), "--env-file", str(file), *options]
    return subprocess.run([*command, *arguments], env=clean, capture_output=True, text=True, check=False)


def test_docker_compose_understands_the_file(compose: Any, root: Path, tmp_path: Path) -> None:
    command = plugin()
    if command is None:
        pytest.skip("no docker compose here: deploy/compose/install-plugin.sh makes it, or name one in DOCKER_COMPOSE")
    done = configured(
        command, root, dict(compose.secrets), tmp_path, "--profile", "tools", "config", "--format", "json"
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)["services"]
    assert set(seen) == set(compose.services)
    for name in compose.services:
        given = {key: value.strip() for key, value in compose.environment(name).items()}
        assert (seen[name].get("environment") or {}) == given, name
    one_less = {name: value for name, value in compose.secrets.items() if name != "VERIFIER_KEY"}
    refused = configured(command, root, one_less, tmp_path, "config", "-q")
    assert refused.returncode != 0
    assert "run deploy/compose/env.py" in refused.stderr
