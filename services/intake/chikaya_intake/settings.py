"""Intake's settings. All come from the environment, prefix `CHIKAYA_`."""

import secrets
from typing import ClassVar

from chikaya_servicekit.settings import MongoSettings, ServiceSettings
from chikaya_servicekit.staff import StaffSettings
from pydantic import Field, SecretStr


class DatabaseSettings(MongoSettings):
    """Intake's own database: all that the `chikaya channels` command needs."""

    mongo_database: str = Field(default="intake", description="The service's own database.")


class Settings(DatabaseSettings, StaffSettings, ServiceSettings):
    """Intake's settings. It signs nobody in: of OpenID Connect it needs the issuer alone, for staff's tokens."""

    SERVICE: ClassVar[str] = "intake"

    port: int = Field(default=8001, description="Port to listen on.")
    access_code_secret: SecretStr = Field(
        min_length=32, description="Access codes are derived from it: to change it is to change every code."
    )
    verifier_key: SecretStr = Field(
        min_length=32, description="Keys what messages carry in place of the code; tracking has the same."
    )
    attachment_link_secret: SecretStr = Field(
        min_length=32, description="Signs links to attachments; a new one makes links void that are out."
    )
    attachment_link_s: int = Field(default=3600, gt=0, description="How long a link to an attachment opens it.")
    reference_block: int = Field(
        default=1000, gt=0, description="Reference numbers that a process leases at a time; a crash wastes the rest."
    )
    requests_per_minute: int = Field(
        default=60_000, gt=0, description="What one channel may send to one process before it is asked to wait."
    )
    public_url: str = Field(default="http://127.0.0.1:8001", description="Where links to attachments lead.")
    oidc_client_id: str = Field(default="intake", description="Not used to sign in: intake has no pages.")
    oidc_client_secret: SecretStr = Field(default=SecretStr(""), description="Not used to sign in either.")
    session_secret: SecretStr = Field(
        default_factory=lambda: SecretStr(secrets.token_urlsafe(32)),
        min_length=32,
        description="Intake gives no sessions: one of its own making, so that no cookie opens anything here.",
    )
