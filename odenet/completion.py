"""What a shell completes beside commands and options: the words after `with`."""

import click
from click.shell_completion import BashComplete, ZshComplete, add_completion_class, shell_complete

from pipeline.util.errors import InvalidInput, brief

VARIABLE = "_ODENET_COMPLETE"
"""In the environment where a shell asks, as in: eval "$(_ODENET_COMPLETE=bash_source odenet)"."""


def complete(group: click.Group, instruction: str) -> int:
    """Answer a shell's question; the exit status."""
    add_completion_class(_Bash)
    add_completion_class(_Zsh)
    try:
        status = shell_complete(group, {}, "odenet", VARIABLE, instruction)
    except (KeyError, ValueError) as error:
        raise InvalidInput(f"{VARIABLE} is a shell's own question, which comes with COMP_WORDS: unset it") from error
    if status != 0:
        raise InvalidInput(
            f"{VARIABLE} is {brief(instruction)}; it is bash_source, zsh_source or fish_source, or unset"
        )
    return status


def complete_words(takes_names: bool, context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """`with`, then keys, and named configurations where a command takes them; nothing for a key's value."""
    from experiments.presets import presets
    from pipeline.tasks.lookup import DEFAULT, config_class

    given = context.params[parameter.name] or ()
    keys = [f"{key}=" for key in config_class(DEFAULT).keys()]  # noqa: SIM118
    if not given:
        known = ["with"]
    elif f"{given[-1]}=" in keys or given[-1] == "=":  # bash takes training.lr=0.1 for three words
        known = []
    else:
        known = [*presets(), *keys] if takes_names else keys
    return [word for word in known if word.startswith(incomplete)]


class _Bash(BashComplete):
    """As click has it, without the space that bash would set after `training.lr=`."""

    def source(self) -> str:
        return f"""{super().source()}
_odenet_words() {{
    {self.func_name} "$@"
    [[ ${{COMPREPLY[0]}} == *= ]] && compopt -o nospace
    return 0
}}
complete -o nosort -F _odenet_words odenet
"""


class _Zsh(ZshComplete):
    """Likewise; fish sets no space there."""

    def source(self) -> str:
        theirs = "compadd -U -V unsorted -a completions"
        ours = "compadd -U -V unsorted -S '' -- ${(M)completions:#*=}; compadd -U -V unsorted -- ${completions:#*=}"
        return super().source().replace(theirs, ours)
