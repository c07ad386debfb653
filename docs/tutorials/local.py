"""For the tutorials: runs a command as one of those who share the local stack, signs a person in, gives addresses.

`python docs/tutorials/local.py as operator chikaya topics lag`: WHO is a process of the table (`routing`: its Kafka
user and its database) or a Kafka user (`operator`, `admin`, `cnss`, `channel-kiosk`). PORT_OFFSET and CHIKAYA_LOCAL_DIR
mean what they mean to `make up`. On a real system everybody has their own settings, and nobody has all of them.
"""

import argparse
import json
import os
import sys

from chikaya_local import pidfile
from chikaya_local.login import SignInFailed, token_for
from chikaya_local.programs import PROGRAMS, Ports
from chikaya_local.stack import Stack
from chikaya_local.up import default_directory


def settings_of(stack: Stack, who: str) -> dict[str, str]:
    """The environment of a process of the table, or of a Kafka user.

    Raises:
        KeyError: neither is called so.
    """
    if who in {program.name for program in PROGRAMS}:
        trained = sorted(stack.settings.models.glob("*.npz"), key=lambda file: file.stat().st_mtime)
        stack.model = trained[-1] if trained else None
        return stack.env_for(who)
    return {f"CHIKAYA_{setting}": value for setting, value in stack.kafka_env(who).items()}


def addresses(stack: Stack) -> str:
    """Shell assignments: INTAKE, ROUTING, TRACKING, DESK, PORTAL, INBOX, KAFKA."""
    names = ("intake", "routing", "tracking", "notification", "desk", "portal", "inbox")
    lines = [f"{name.upper()}={stack.ports.url(name)}" for name in names]
    return "\n".join([*lines, f"KAFKA={stack.kafka.bootstrap}", f"STACK={stack.directory}"])


def main() -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    acting = commands.add_parser("as", help="run a command as somebody")
    acting.add_argument("who")
    acting.add_argument("argv", nargs=argparse.REMAINDER)
    signing = commands.add_parser("token", help="an access token of a person, signed in at a site")
    signing.add_argument("site", choices=("routing", "tracking", "desk", "callcenter"))
    signing.add_argument("person")
    commands.add_parser("key", help="a channel's key at intake").add_argument("channel")
    commands.add_parser("pid", help="the process id of a process of the stack").add_argument("name")
    commands.add_parser("addresses", help="where everything is, for a shell")
    options = parser.parse_args()
    stack = Stack(default_directory(), Ports(int(os.environ.get("PORT_OFFSET", "0"))))
    try:
        if options.command == "as":
            environment = os.environ | settings_of(stack, options.who)
            os.execvpe(options.argv[0], options.argv, environment)  # noqa: S606 (one's own words)
        if options.command == "token":
            site, secret = stack.url(options.site), stack.secrets.oidc_clients[options.site]
            print(token_for(stack.url("identity"), options.site, secret, f"{site}/login/callback", options.person))
        elif options.command == "key":
            print(stack.secrets.channel_keys[options.channel])
        elif options.command == "pid":
            print(json.loads((stack.directory / pidfile.NAME).read_text("utf-8"))[options.name][0])
        else:
            print(addresses(stack))
    except KeyError as unknown:
        sys.exit(f"nobody of that name: {unknown}")
    except SignInFailed as refused:
        sys.exit(f"not signed in: {refused}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
