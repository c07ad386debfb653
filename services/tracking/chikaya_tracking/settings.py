"""Settings of tracking, from the environment (prefix `CHIKAYA_`)."""

from typing import ClassVar

from chikaya_servicekit.settings import MongoSettings, ServiceSettings
from chikaya_servicekit.staff import StaffSettings
from pydantic import Field, SecretStr


class Settings(MongoSettings, StaffSettings, ServiceSettings):
    """Every value, with what it is for."""

    SERVICE: ClassVar[str] = "tracking"

    port: int = Field(default=8003, description="Port to listen on.")
    mongo_database: str = Field(default="tracking", description="The service's own database.")
    oidc_client_id: str = Field(default="tracking", description="This process's client at the OpenID provider.")
    public_url: str = Field(default="http://127.0.0.1:8003", description="Where browsers reach this process.")
    verifier_key: SecretStr = Field(min_length=32, description="Checks access codes; intake's, the same.")

    clock_period_s: float = Field(
        default=30.0, gt=0, description="How often due cases, and what is parked, are looked for."
    )
    parked_too_long_s: float = Field(
        default=3_600.0, gt=0, description="After how long a message that waits for its predecessor is shown as late."
    )
    catalogue_period_s: float = Field(default=30.0, gt=0, description="How often the catalogue is read anew.")
    warn_days: int = Field(default=10, ge=1, le=50, description="Days before the answer is due that warn of it.")
    reopen_days: int = Field(default=30, ge=1, description="Days after the answer in which it can be objected to.")
    tries_each: int = Field(default=10, ge=1, description="Wrong access codes for one reference in 15 minutes.")
    tries_all: int = Field(default=1_000, ge=1, description="Wrong access codes over all references in one minute.")
