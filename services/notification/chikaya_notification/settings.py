"""Settings of notification; the common ones are in `chikaya_servicekit.settings`."""

import secrets
from typing import ClassVar, Literal

from chikaya_servicekit.settings import MongoSettings, ServiceSettings
from chikaya_servicekit.staff import StaffSettings
from pydantic import Field, SecretStr

from .domain.wording import LONGEST_PORTAL_URL


class Settings(ServiceSettings, MongoSettings, StaffSettings):
    """From the environment, prefix `CHIKAYA_`. Notification signs nobody in: of OpenID Connect it needs the issuer
    alone, for staff's tokens."""

    SERVICE: ClassVar[str] = "notification"

    port: int = Field(8004, description="Port to listen on.")
    mongo_database: str = Field("notification", description="The service's own database.")
    smtp_host: str = Field("127.0.0.1", description="The mail server.")
    smtp_port: int = Field(8026, description="Its port.")
    smtp_tls: Literal["none", "starttls", "tls"] = Field("none", description="How the connection is encrypted.")
    smtp_user: str = Field("", description="Who signs in to the mail server; empty for nobody.")
    smtp_password: SecretStr = Field(SecretStr(""), description="That user's password.")
    mail_from: str = Field(
        "Chikaya <ne-pas-repondre@chikaya.local>",
        pattern=r"^[^<>]*<?[^<>@\s]+@[^<>@\s]+>?$",
        description="Who mails are from; the domain ends their Message-Ids too.",
    )
    mails_at_once: int = Field(4, ge=1, le=50, description="Connections to the mail server, each used for many mails.")
    sms_url: str = Field("http://127.0.0.1:8025/sms", description="The SMS gateway.")
    sms_token: SecretStr = Field(description="Bearer token that the gateway asks for.")
    sms_at_once: int = Field(8, ge=1, le=50, description="Requests to the gateway at the same time.")
    claim_s: int = Field(
        60,
        ge=10,
        description="How long a process may keep a notice to itself: what one that was killed had claimed is sent by "
        "another after that. A try may take half of it.",
    )
    portal_url: str = Field(
        "http://127.0.0.1:8000",
        max_length=LONGEST_PORTAL_URL,
        description="The portal's address, for links; short, since an Arabic SMS has 134 characters in all.",
    )
    public_url: str = Field("http://127.0.0.1:8004", description="Where this process is reached.")
    oidc_client_id: str = Field("notification", description="Not used to sign in: notification has no pages.")
    oidc_client_secret: SecretStr = Field(SecretStr(""), description="Not used to sign in either.")
    session_secret: SecretStr = Field(
        default_factory=lambda: SecretStr(secrets.token_urlsafe(32)),
        min_length=32,
        description="Notification gives no sessions: one of its own making, so that no cookie opens anything here.",
    )
