"""How the shells complete: as click has it, but where that breaks what is typed."""

from __future__ import annotations

import os
import re
import shlex

from click import shell_completion
from click.shell_completion import CompletionItem, ShellComplete

_BASH = """\
%(complete_func)s() {
    mapfile -t COMPREPLY < <(COMP_LINE="${COMP_LINE:0:COMP_POINT}" COMP_WORD="$2" \
%(complete_var)s=bash_complete "$1" 2>/dev/null)
    [[ ${COMPREPLY[*]} ]] || COMPREPLY=()
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_END = "\0"
"""What is at the end of a line that is taken apart: no line that is typed has one."""

_SPECIAL = {"": r"[^\w@%+=:,./-]", '"': r'["$`\\]', "'": "'"}
"""What cannot stand as it is in a word, by the quotation mark that is open."""


class _WholeWords(ShellComplete):
    """Completes `--option=value` to all of it, as a shell takes it for one word."""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """What the word that is typed can become."""
        items = super().get_completions(args, incomplete)
        option, equals, _ = incomplete.partition("=")
        if equals and option.startswith("-"):
            for item in items:
                item.value = f"{option}={item.value}"
        return items


class Zsh(_WholeWords, shell_completion.ZshComplete):
    """zsh."""


class Fish(_WholeWords, shell_completion.FishComplete):
    """fish."""


class Bash(_WholeWords, shell_completion.BashComplete):
    """bash, which replaces no more than what follows the last `:`, `=` or `@` of a word.

    click takes these parts for words of their own, and inserts what a runner names as it is: an id
    such as `it's` or `a;b` would be read as something else.
    """

    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one that is typed, and that."""
        words, self._quote = _words(os.environ["COMP_LINE"])
        replaced, _ = _words(self._quote + os.environ["COMP_WORD"])
        # A word is replaced up to here.
        self._kept = len(words[-1]) - len(replaced[-1])
        return words[1:-1], words[-1]

    def format_completion(self, item: CompletionItem[str]) -> str:
        """What is inserted in the place of what bash replaces."""
        escaped = r"'\''" if self._quote == "'" else r"\\\g<0>"
        return re.sub(_SPECIAL[self._quote], escaped, item.value[self._kept :])


def _words(line: str) -> tuple[list[str], str]:
    """The words of a line, the last of which may be empty, and the quotation mark that is open."""
    for quote in _SPECIAL:
        try:
            *words, last = shlex.split(line + _END + quote)
        except ValueError:
            continue
        return [*words, last.removesuffix(_END)], quote
    raise ValueError(line)


def add() -> None:
    """Have click use these."""
    for shell in (Bash, Fish, Zsh):
        shell_completion.add_completion_class(shell)
