"""Settings of the portal, from the environment (prefix `CHIKAYA_`)."""

from ipaddress import ip_network
from typing import ClassVar

from chikaya_servicekit.settings import ServiceSettings
from pydantic import Field, SecretStr, field_validator


class Settings(ServiceSettings):
    """Every value, with what it is for. The portal has no database and does not speak to Kafka."""

    SERVICE: ClassVar[str] = "portal"

    port: int = Field(8000, description="Port to listen on.")
    public_url: str = Field("http://127.0.0.1:8000", description="Where browsers reach the portal.")
    intake_url: str = Field("http://127.0.0.1:8001", description="Intake's API.")
    routing_url: str = Field("http://127.0.0.1:8002", description="Routing's API: administrations and communes.")
    tracking_url: str = Field("http://127.0.0.1:8003", description="Tracking's API.")
    channel_key: SecretStr = Field(description="The portal's key at intake (`chikaya channels add portal`).")
    session_secret: SecretStr = Field(min_length=32, description="Signs the cookies; the same for all instances.")
    session_s: int = Field(1800, ge=60, description="Seconds without a page after which a case must be opened again.")

    filings_per_hour: int = Field(60, ge=1, description="Complaints from one address; many citizens may share one.")
    files_per_hour: int = Field(200, ge=1, description="Files from one address.")
    openings_per_10_minutes: int = Field(60, ge=1, description="Attempts to open a case from one address.")
    trusted_proxies: str = Field(
        "", description="Addresses or networks, comma between, whose X-Forwarded-For is believed."
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, written: str) -> str:
        for part in filter(None, (part.strip() for part in written.split(","))):
            ip_network(part, strict=False)
        return written
