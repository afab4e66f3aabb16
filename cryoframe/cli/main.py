"""The command line's entry: finds the verb, imports that verb's module alone, turns errors into messages and codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from importlib import import_module
from typing import NoReturn

from cryoframe.errors import CryoframeError, EnvironmentFault, nearest

#: Each verb is a module of ``cryoframe.cli`` with ``arguments(parser)`` and ``run(options) -> exit code``.
VERBS = {
    "demo": "process a small real session, from micrograph to map, and write a report",
    "run": "run a configuration until nothing is left to do",
    "watch": "process files as they land in a folder, until stopped",
    "simulate": "make a session of a simulated microscope, movies and truth",
    "score": "hold a run against the truth of a simulated session",
    "plan": "show what a configuration would run, and what is missing",
    "stage": "run any one stage on any files",
    "plugins": "list the implementations that are installed",
    "check": "hold an implementation to the conformance kit",
    "soak": "harm sessions by the hundred on this machine, and judge what is left",
    "compare": "run several implementations of a stage on the same files",
    "bench": "measure ours and other programs on simulated data whose truth is known",
    "schema": "show hooks, products and table columns exactly",
    "conventions": "print units, axes, angles and signs",
    "doctor": "look for what is wrong with this installation",
    "retry": "list what was given up, and queue it again",
    "status": "show how far a run has come",
    "pause": "start nothing new in a run until it is resumed",
    "resume": "let a paused run, or a held stage, go on",
    "reload": "have the process at work read its configuration anew, implementations included",
    "cancel": "stop what a run is doing, and the process that does it",
    "backup": "copy a run's state while it is in use",
    "rebuild": "make a run's state anew from its log and its store",
    "explain": "tell a particle's way: where from, who touched it, why dropped",
    "new": "write a plugin folder that is ready to install",
    "warmup": "compile the numeric kernels now, so that the first stage need not",
    "completion": "print tab completion for bash, zsh or fish",
}
EXIT_FAILED, EXIT_USER, EXIT_INTERRUPTED = 1, 2, 130


class _Parser(argparse.ArgumentParser):
    """Names the nearest verb where there is none of the name given."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, on standard output as JSON as well where that was asked for."""
        given = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
        if self.prog == "cryoframe" and given and given not in VERBS:
            message = f"no verb is called '{given}'{nearest(given, VERBS)}"
        asked = f"{self.prog} {given}" if self.prog == "cryoframe" and given in VERBS else self.prog
        if "--json" in sys.argv:
            import json

            what = {"class": "ConfigError", "kind": "user", "what": message, "remedy": f"{asked} --help"}
            sys.stdout.write(json.dumps({"error": what}, ensure_ascii=False) + "\n")
        self.exit(EXIT_USER, f"{asked}: {message}\n  remedy:   {asked} --help\n")


def entry() -> NoReturn:
    """Run the command line and leave the process."""
    sys.exit(main(sys.argv[1:]))


def main(words: Sequence[str]) -> int:
    """Run one command and return its exit code: 0 done, 1 failed, 2 the user's command or configuration is wrong."""
    verb = next((word for word in words if not word.startswith("-")), "")
    options = parser([verb] if verb in VERBS else ()).parse_args(words)
    if options.version:
        return _version()
    if not options.verb:
        parser(()).print_help()
        return 0
    return _guarded(options)


def parser(loaded: Iterable[str]) -> argparse.ArgumentParser:
    """Return the parser with the arguments of the named verbs; the others are listed only."""
    top = _Parser(prog="cryoframe", description="Single-particle cryo-EM: typed products, stages as plugins.")
    top.add_argument("--version", action="store_true", help="print the versions of program, hooks and schemas")
    verbs = top.add_subparsers(dest="verb", metavar="VERB", title="verbs", parser_class=_Parser)
    wanted = set(loaded)
    for name, text in VERBS.items():
        child = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        if name in wanted:
            import_module(f"cryoframe.cli.{name}").arguments(child)
    return top


def _guarded(options: argparse.Namespace) -> int:
    from cryoframe.cli.output import complain, fail

    try:
        return int(import_module(f"cryoframe.cli.{options.verb}").run(options))
    except CryoframeError as error:
        fail(options, error)
        return EXIT_USER if error.kind == "user" else EXIT_FAILED
    except KeyboardInterrupt:
        complain(f"cryoframe {options.verb}: interrupted")
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # the reader of our output has gone, which is its right
        sys.stderr.close()
        return EXIT_FAILED
    except OSError as error:  # a path nobody foresaw: the system's words are for people, a traceback is not
        what = error.strerror or str(error) or type(error).__name__
        fail(options, EnvironmentFault(f"{error.filename}: {what}" if error.filename else what))
        return EXIT_FAILED


def _version() -> int:
    import inspect

    from cryoframe import __version__
    from cryoframe.cli.output import say
    from cryoframe.data.ids import digest_facts
    from cryoframe.data.schemas import ALL_SCHEMAS
    from cryoframe.kernel import hookspecs
    from cryoframe.kernel.stage import hook_names, service_names, stage_specs

    signatures = digest_facts({name: str(inspect.signature(getattr(hookspecs, name))) for name in hook_names()})[:8]
    say(f"cryoframe {__version__}")
    say(f"hooks     {len(stage_specs())} stages, {len(service_names())} services; signatures {signatures}")
    say(f"schemas   {' '.join(schema.label for schema in ALL_SCHEMAS)}")
    return 0
