"""Arguments that several commands share."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Output = Annotated[Literal["text", "json", "yaml", "name"], typer.Option("-o", help="How to print the outcome.")]
Manifest = Annotated[Path, typer.Argument(help="The FineTuneJob's manifest.", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Replace a field of the spec; may be repeated.")
]
