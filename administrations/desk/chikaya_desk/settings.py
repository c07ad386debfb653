"""Settings of the desk, from the environment (prefix `CHIKAYA_`)."""

from typing import ClassVar

from chikaya_servicekit.settings import MongoSettings, ServiceSettings
from chikaya_servicekit.staff import StaffSettings
from pydantic import Field


class Settings(MongoSettings, StaffSettings, ServiceSettings):
    """Every value, with what it is for."""

    SERVICE: ClassVar[str] = "desk"

    port: int = Field(8005, description="Port to listen on.")
    mongo_database: str = Field("desk", description="The desk's own database.")
    oidc_client_id: str = Field("desk", description="This process's client at the OpenID provider.")
    public_url: str = Field("http://127.0.0.1:8005", description="Where browsers reach this process.")

    catalogue_period_s: float = Field(30.0, gt=0, description="How often other instances' catalogue rows are read.")
