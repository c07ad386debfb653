"""The catalogue of administrations, one record a row, compacted by slug."""

from typing import ClassVar, Literal

from .. import topics
from ..envelope import Message
from ..submission import Slug
from ..topics import Topic


class AdministrationListed(Message):
    """A row. `own_system` is true when the administration has a topic pair of its own, else desk serves it;
    `version` counts imports. `competence` is in words for the citizen; `closed` says that nothing is relayed to it
    any more, while its name still stands in older cases."""

    TYPE: ClassVar[str] = "ma.chikaya.catalogue.administration.v1"
    TOPIC: ClassVar[Topic] = topics.CATALOGUE
    OWNER: ClassVar[str] = "routing"

    slug: Slug
    name_fr: str
    name_ar: str
    kind: Literal["ministry", "department", "establishment", "commune"]
    parent: str | None = None
    competence: str = ""
    own_system: bool
    version: int
    closed: bool = False

    @property
    def key(self) -> str:
        return self.slug

    @property
    def inbox(self) -> str:
        """The topic that it reads its dossiers from."""
        return topics.INBOX.named(self.slug if self.own_system else topics.DESK).name

    @property
    def outbox(self) -> str:
        """The topic that it writes its decisions to."""
        return topics.OUTBOX.named(self.slug if self.own_system else topics.DESK).name
