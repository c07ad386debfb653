"""The CNSS's own system, small: it asks before it answers, and passes on what is not its own."""

import asyncio
import os

from chikaya_sdk import Administration, Dossier, FollowUp


async def main() -> None:
    names = ("CHIKAYA_KAFKA_BOOTSTRAP", "CHIKAYA_KAFKA_USER", "CHIKAYA_KAFKA_PASSWORD")
    async with Administration("cnss", *(os.environ[name] for name in names)) as cnss:
        async for item in cnss.inbox():
            match item:
                case Dossier(data=dossier) if "fonctionnaire" in dossier.text:
                    await item.request_transfer("Les fonctionnaires relèvent de la CNOPS.", proposed="cnops")
                    print(f"{dossier.reference}: passed on to cnops", flush=True)
                case Dossier(data=dossier):
                    print(dossier.model_dump_json(indent=2, exclude_none=True), flush=True)
                    await item.acknowledge(officer="guichet 4")
                    await item.ask("Quel est votre numéro d'immatriculation ?", officer="guichet 4")
                    print(f"{dossier.reference}: acknowledged, and a question asked", flush=True)
                case FollowUp(data=news) if news.kind == "question-answered":
                    print(f"{news.reference}: the citizen says: {news.text}", flush=True)
                    await item.answer("Votre carte est prête à l'agence de votre quartier.", officer="guichet 4")
                    print(f"{news.reference}: answered", flush=True)
                case FollowUp(data=news):
                    print(f"{news.reference}: {news.kind}", flush=True)


asyncio.run(main())
