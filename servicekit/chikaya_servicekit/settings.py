"""Settings that every process has; each service adds its own. All come from the environment, prefix `CHIKAYA_`."""

from typing import Any, ClassVar, Literal

from faststream.security import BaseSecurity, SASLScram512
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

FROM_ENVIRONMENT = SettingsConfigDict(env_prefix="CHIKAYA_", extra="ignore", frozen=True)
"""Of everything that is mixed into settings: with several bases, it is the last one's that holds."""


class ServiceSettings(BaseSettings):
    """The common part. `SERVICE` names the process in logs, metrics, topics and consumer groups."""

    model_config = FROM_ENVIRONMENT

    SERVICE: ClassVar[str]

    host: str = Field("127.0.0.1", description="Address to listen on; loopback unless said otherwise.")
    port: int = Field(8000, description="Port to listen on.")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")
    kafka_bootstrap: str = Field("127.0.0.1:9092", description="Kafka brokers, host:port, comma between.")
    kafka_user: str = Field("", description="This process's Kafka principal; consumer groups begin with it.")
    kafka_password: SecretStr = Field(SecretStr(""), description="Its SCRAM-SHA-512 password.")
    kafka_security: Literal["PLAINTEXT", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "SASL_PLAINTEXT", description="How to speak to Kafka; PLAINTEXT only for a broker with no users."
    )
    otlp_endpoint: str = Field("", description="OTLP/HTTP address that traces go to; empty sends none.")

    @property
    def principal(self) -> str:
        """The Kafka user, or the service's name where the broker has no users."""
        return self.kafka_user or self.SERVICE

    def kafka_client(self) -> dict[str, Any]:
        """Keyword arguments of an aiokafka client."""
        common: dict[str, Any] = {"bootstrap_servers": self.kafka_bootstrap, "security_protocol": self.kafka_security}
        if self.kafka_security != "PLAINTEXT":
            common |= {
                "sasl_mechanism": "SCRAM-SHA-512",
                "sasl_plain_username": self.kafka_user,
                "sasl_plain_password": self.kafka_password.get_secret_value(),
            }
        if self.kafka_security == "SASL_SSL":
            import ssl

            common["ssl_context"] = ssl.create_default_context()
        return common

    def kafka_broker_security(self) -> BaseSecurity | None:
        """The same for FastStream."""
        if self.kafka_security == "PLAINTEXT":
            return None
        context = self.kafka_client().get("ssl_context")
        return SASLScram512(
            username=self.kafka_user,
            password=self.kafka_password.get_secret_value(),
            use_ssl=context is not None,
            ssl_context=context,
        )


class MongoSettings(BaseSettings):
    """Mixed in where a process has a database of its own."""

    model_config = FROM_ENVIRONMENT

    mongo_uri: SecretStr = Field(
        SecretStr("mongodb://127.0.0.1:27017/?directConnection=true"),
        description="The database server, with this service's own user.",
    )
    mongo_database: str = Field(description="The service's own database.")
