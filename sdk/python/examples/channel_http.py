"""A channel over HTTP: submits one complaint and prints what the citizen is given.

Needs CHIKAYA_INTAKE_URL and CHIKAYA_CHANNEL_KEY. Run: python channel_http.py "what the citizen wrote"
"""

import asyncio
import os
import sys

from chikaya_sdk import Contact, Intake, Place, Refused, Submission


async def main(text: str) -> None:
    contact = Contact(name="Salma Bennani", phone="0612345678")
    submission = Submission(text=text, contact=contact, place=Place(text="Rabat"), consent=True)
    async with Intake(os.environ["CHIKAYA_INTAKE_URL"], os.environ["CHIKAYA_CHANNEL_KEY"]) as intake:
        try:
            receipt = await intake.submit(submission)
        except Refused as refused:
            sys.exit("\n".join(f"{error.field}: {error.message_fr}" for error in refused.errors))
    print(f"reference {receipt.reference}, access code {receipt.access_code}")
    print(f"answer due {receipt.deadlines['answer']:%Y-%m-%d}")


asyncio.run(main(sys.argv[1]))
