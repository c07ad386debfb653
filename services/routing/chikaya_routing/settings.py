"""Settings of routing, from the environment (prefix `CHIKAYA_`)."""

from pathlib import Path
from typing import ClassVar

from chikaya_servicekit.settings import MongoSettings, ServiceSettings
from chikaya_servicekit.staff import StaffSettings
from pydantic import Field


class CatalogueSettings(ServiceSettings, MongoSettings):
    """What `chikaya catalogue` needs: routing's database and its Kafka user."""

    SERVICE: ClassVar[str] = "routing"

    mongo_database: str = Field("routing", description="Routing's own database.")


class Settings(CatalogueSettings, StaffSettings):
    """All that routing can be told."""

    port: int = Field(8002, description="Port to listen on.")
    oidc_client_id: str = Field("routing", description="Routing's client at the OpenID provider.")
    public_url: str = Field("http://127.0.0.1:8002", description="Where browsers reach routing's pages.")
    model_path: Path = Field(
        description="The trained model: `python -m chikaya_routing.train --out FILE.npz` makes it in about a minute."
    )
    triage_undo_s: float = Field(
        60.0, ge=0, description="How long an officer's decision rests, and can be undone, before it is published."
    )
    triage_lease_s: float = Field(300.0, gt=0, description="How long an officer holds a complaint that they opened.")
    classify_per_minute: int = Field(
        120, gt=0, description="Calls of the public `POST /v1/classify` a minute, over all callers."
    )
