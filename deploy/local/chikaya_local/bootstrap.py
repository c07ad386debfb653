"""From an empty directory to a system that works, in order; what is done already is known by its stamp and skipped."""

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path

from chikaya_local.secrets import CHANNELS
from chikaya_local.stack import ROOT, Stack

CATALOGUE = ROOT / "services" / "routing" / "chikaya_routing" / "data" / "administrations.csv"
"""The administrations of the demonstration; those marked `own_system` get a pair of topics each."""
KAFKA_CHANNELS = ("kiosk",)
"""External channels of the demonstration that submit through Kafka."""
TOPICS = ROOT / "contracts" / "chikaya_contracts" / "topics.yaml"
COMMAND = "chikaya_servicekit.cli"
READY_WITHIN_S = 120.0


def bring_up(stack: Stack, *, demonstrate: Callable[[Stack], None] | None = None) -> None:
    """Starts everything, and returns when every process can work and the demonstration data is there.

    The servers start side by side. When nothing is left to provision, the processes start with them and wait for
    them; routing also waits for its model. `demonstrate` is called once for a directory, when all is ready.

    Raises:
        CannotStart: something is in the way; says what, and what helps.
    """
    stack.check()
    others = [name for name in stack.names if stack.program(name)[0].name != "routing"]
    routing = [name for name in stack.names if name not in others]
    with ThreadPoolExecutor(8) as pool:
        servers = [pool.submit(stack.start_kafka), pool.submit(stack.start_mongo)]
        model = pool.submit(ensure_model, stack) if routing else None
        if not _is_done(stack, "topics", _topics_hash(stack)):
            _finish(stack, *servers)
            _once(stack, "topics", _topics_hash, provision_topics)
        stack.start(*others)
        steps = [pool.submit(_start_after, model, stack, routing)] if model else []
        _finish(stack, *servers)
        if "intake" in others:
            steps.append(pool.submit(_once, stack, "channels", _channels_hash, add_channels))
        if routing:
            steps.append(pool.submit(_once, stack, "catalogue", _catalogue_hash, import_catalogue))
        _finish(stack, *steps)
    stack.wait_ready(timeout_s=READY_WITHIN_S)
    if demonstrate:
        _once(stack, "demonstration", _storage_hash, demonstrate)


def ensure_model(stack: Stack) -> None:
    """Trains the routing model, unless one trained on the same inputs is kept, and points the stack to it.

    Raises:
        CannotStart: training failed.
    """
    inputs = stack.run("chikaya_routing.train", "--print-hash", env={}).strip()
    model = stack.settings.models / f"{inputs}.npz"
    if not model.exists():
        model.parent.mkdir(parents=True, exist_ok=True)
        with stack.report.task("Training the routing model (once)"):
            new = model.with_name(f"new-{stack.ports.of('routing')}-{model.name}")
            stack.run("chikaya_routing.train", "--out", str(new), env={})
            new.replace(model)
    stack.model = model


def provision_topics(stack: Stack) -> None:
    """Creates the topics, their users and their rights.

    Raises:
        CannotStart: the command failed.
    """
    channels = [option for channel in KAFKA_CHANNELS for option in ("--channel", channel)]
    credentials = str(stack.directory / "kafka-credentials.json")
    options = ("--administrations", str(CATALOGUE), *channels, "--credentials", credentials, "--yes")
    with stack.report.task("Making topics, users and rights"):
        stack.run(COMMAND, "topics", "provision", *options, env=stack.admin_env())


def add_channels(stack: Stack) -> None:
    """Makes the channels' keys known to intake.

    Raises:
        CannotStart: the command failed.
    """

    def add(channel: str) -> None:
        key = {"CHIKAYA_CHANNEL_KEY": stack.secrets.channel_keys[channel]}
        stack.run(COMMAND, "channels", "add", channel, env=stack.env_for("intake") | key)

    with stack.report.task("Making the channels' keys known"), ThreadPoolExecutor(len(CHANNELS)) as pool:
        list(pool.map(add, CHANNELS))


def import_catalogue(stack: Stack) -> None:
    """Gives routing the administrations of the demonstration.

    Raises:
        CannotStart: the command failed.
    """
    with stack.report.task("Importing the catalogue of administrations"):
        stack.run(COMMAND, "catalogue", "import", str(CATALOGUE), "--yes", env=stack.env_for("routing"))


def _topics_hash(stack: Stack) -> str:
    return _digest(stack.kafka.identity, TOPICS.read_text("utf-8"), CATALOGUE.read_text("utf-8"), *KAFKA_CHANNELS)


def _channels_hash(stack: Stack) -> str:
    return _digest(stack.mongo.identity, json.dumps(stack.secrets.channel_keys))


def _catalogue_hash(stack: Stack) -> str:
    return _digest(_storage_hash(stack), CATALOGUE.read_text("utf-8"))


def _storage_hash(stack: Stack) -> str:
    return _digest(stack.kafka.identity, stack.mongo.identity)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _stamps(stack: Stack) -> Path:
    return stack.directory / "stamps"


def _is_done(stack: Stack, step: str, inputs: str) -> bool:
    stamp = _stamps(stack) / step
    return stamp.exists() and stamp.read_text("utf-8") == inputs


def _once(stack: Stack, step: str, inputs: Callable[[Stack], str], action: Callable[[Stack], None]) -> None:
    if not _is_done(stack, step, inputs(stack)):
        action(stack)
        _stamps(stack).mkdir(exist_ok=True)
        (_stamps(stack) / step).write_text(inputs(stack), "utf-8")


def _start_after(model: "Future[None]", stack: Stack, names: list[str]) -> None:
    model.result()
    stack.start(*names)


def _finish(stack: Stack, *futures: "Future[None]") -> None:
    """Waits for all. The first failure ends the rest: it is the one to be told of, and at once."""
    done, _ = wait(futures, return_when=FIRST_EXCEPTION)
    for future in done:
        if error := future.exception():
            stack.stopping.set()
            raise error
