"""``cryoframe completion``: tab completion for bash, zsh and fish, generated from the argument parsers themselves."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from cryoframe.cli.output import say

BASH = """\
# cryoframe tab completion for bash: eval "$(cryoframe completion bash)"
_cryoframe() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" verb="${{COMP_WORDS[1]}}"
    local words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{verbs} --help --version"
    else
        case "$verb" in
{cases}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
    if [ "$COMP_CWORD" -gt 1 ] && [[ "$word" != -* ]]; then
        COMPREPLY+=($(compgen -f -- "$word"))
    fi
}}
complete -o filenames -F _cryoframe cryoframe
"""
ZSH = """\
#compdef cryoframe
# cryoframe tab completion for zsh: eval "$(cryoframe completion zsh)"
_cryoframe() {{
    if (( CURRENT == 2 )); then
        local -a verbs=(
{verbs}
        )
        _describe 'verb' verbs
        return
    fi
    local -a flags=()
    case "${{words[2]}}" in
{cases}
    esac
    if [[ "${{words[CURRENT]}}" == -* ]]; then compadd -- $flags; else compadd -- ${{flags:#-*}}; _files; fi
}}
compdef _cryoframe cryoframe
"""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "fish"), help="bash, zsh or fish")


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    from cryoframe.cli.main import VERBS, parser

    made = {name: list(_words(child)) for name, child in _children(parser(VERBS))}
    say({"bash": _bash, "zsh": _zsh, "fish": _fish}[options.shell](made, VERBS).rstrip())
    return 0


def _children(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            yield from action.choices.items()


def _words(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yield the flags and fixed choices of one verb."""
    for action in parser._actions:
        yield from action.option_strings
        if action.choices and not action.option_strings:
            yield from (str(choice) for choice in action.choices)
    for name, child in _children(parser):
        yield name
        yield from (word for word in _words(child) if word not in ("-h", "--help"))


def _bash(words: dict[str, list[str]], verbs: dict[str, str]) -> str:
    cases = "\n".join(
        f'            {name}) words="{" ".join(dict.fromkeys(found))}" ;;' for name, found in words.items()
    )
    return BASH.format(verbs=" ".join(verbs), cases=cases)


def _zsh(words: dict[str, list[str]], verbs: dict[str, str]) -> str:
    listed = "\n".join(f"            {_quoted(f'{name}:{text}')}" for name, text in verbs.items())
    cases = "\n".join(f"        {name}) flags=({' '.join(dict.fromkeys(found))}) ;;" for name, found in words.items())
    return ZSH.format(verbs=listed, cases=cases)


def _fish(words: dict[str, list[str]], verbs: dict[str, str]) -> str:
    lines = ["# cryoframe tab completion for fish: cryoframe completion fish | source"]
    lines += [
        f"complete -c cryoframe -n __fish_use_subcommand -f -a {name} -d {_quoted(text)}"
        for name, text in verbs.items()
    ]
    for name, found in words.items():
        when = f"-n '__fish_seen_subcommand_from {name}'"
        for word in dict.fromkeys(found):
            flag = (
                f"-l {word[2:]}"
                if word.startswith("--")
                else f"-s {word[1:]}"
                if word.startswith("-")
                else f"-a {word}"
            )
            lines.append(f"complete -c cryoframe {when} {flag}")
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
