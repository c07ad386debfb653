"""An administration's own system: acknowledges each dossier, answers it, and prints what happens afterwards.

Needs CHIKAYA_ADMINISTRATION, CHIKAYA_KAFKA_BOOTSTRAP, CHIKAYA_KAFKA_USER and CHIKAYA_KAFKA_PASSWORD.
Ctrl-C, SIGTERM or a crash stop it at any point: the next start goes on with the item that was not finished.
"""

import asyncio
import os

from chikaya_sdk import Administration, Dossier, FollowUp


async def main() -> None:
    names = ("CHIKAYA_ADMINISTRATION", "CHIKAYA_KAFKA_BOOTSTRAP", "CHIKAYA_KAFKA_USER", "CHIKAYA_KAFKA_PASSWORD")
    async with Administration(*(os.environ[name] for name in names)) as administration:
        async for item in administration.inbox():
            match item:
                case Dossier(data=dossier):
                    await item.acknowledge()
                    await item.answer(f"Votre dossier {dossier.reference} est réglé.")
                    print(f"answered {dossier.reference}", flush=True)
                case FollowUp(data=news):
                    print(f"{news.kind} {news.reference}", flush=True)


asyncio.run(main())
