"""Settings of the 3737 console, from the environment (prefix `CHIKAYA_`)."""

from typing import ClassVar

from chikaya_servicekit.settings import ServiceSettings
from chikaya_servicekit.staff import StaffSettings
from pydantic import Field, SecretStr


class Settings(StaffSettings, ServiceSettings):
    """Every value, with what it is for. The console has no database and does not speak to Kafka."""

    SERVICE: ClassVar[str] = "callcenter"

    port: int = Field(8006, description="Port to listen on.")
    public_url: str = Field("http://127.0.0.1:8006", description="Where agents' browsers reach the console.")
    oidc_client_id: str = Field("callcenter", description="This process's client at the OpenID provider.")
    intake_url: str = Field("http://127.0.0.1:8001", description="Intake's API.")
    routing_url: str = Field("http://127.0.0.1:8002", description="Routing's API: administrations and communes.")
    tracking_url: str = Field("http://127.0.0.1:8003", description="Tracking's API.")
    channel_key: SecretStr = Field(description="The console's key at intake (`chikaya channels add callcenter`).")
