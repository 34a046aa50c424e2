"""The texts that a run leaves, from the templates in templates/. What goes into HTML is escaped."""

from collections.abc import Callable
from typing import Any


def render(name: str, **values: Any) -> str:
    """A template of templates/ filled in; a value that is missing is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from thaw_trainer.outputs import markdown, wording

    environment = Environment(
        loader=PackageLoader("thaw_trainer.outputs", "templates"),
        autoescape=lambda template: bool(template and template.endswith(".html.jinja")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    filters: tuple[Callable[..., str], ...] = (
        *(wording.number, wording.exact, wording.count, wording.share, wording.duration),
        *(wording.clean, wording.shortened, wording.in_words, markdown.plain, markdown.code, markdown.block),
    )
    environment.filters |= {function.__name__: function for function in filters}
    return environment.get_template(name).render(**values)
