"""docs/oomol.md says of the flow runner what it does."""

from __future__ import annotations

import re

from scripts.flow.cli import main
from tests.docs.markdown import ROOT, code_of, section_of

PAGE = ROOT / "docs" / "oomol.md"


def test_every_option_has_a_row_and_no_other_has() -> None:
    options, _exit_codes = section_of(PAGE, "The flow runner").tables

    documented = [re.sub(" .*", "", code_of(row[0])[0]) for row in options[1:]]
    assert sorted(documented) == sorted(
        option for one in main.params for option in one.opts if option.startswith("--")
    )
