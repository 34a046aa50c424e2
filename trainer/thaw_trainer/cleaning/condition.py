"""Expressions over the columns of a table, in SQL: values, and conditions."""

import re

import polars as pl

from thaw_trainer.errors import COLUMN_NOT_FOUND, DATA_INVALID, TrainerError

_OF_MANY_ROWS = re.compile(
    r"\b(avg|sum|count|min|max|median|mean|mode|std\w*|var\w*|first|last|quantile\w*|corr\w*|covar\w*|over|rank|"
    r"dense_rank|row_number|lag|lead|ntile|first_value|last_value|array_agg|string_agg|bool_and|bool_or)\s*\(|\b(select)\b",
    re.IGNORECASE,
)


class RowExpression:
    """Gives each row a value.

    Polars reads it and runs it as an expression over columns: it reaches no other table and no file. What it says of a
    row depends on that row alone: a mean of a column would be one of held-out rows too.

    Args:
        field: path of the field that has it.
        what: it is, for errors.

    Raises:
        TrainerError: DataInvalid: it does not parse.
    """

    def __init__(self, text: str, field: str, what: str = "an expression") -> None:
        self.text, self.field = text, field
        of_many = _OF_MANY_ROWS.search(re.sub(r"'[^']*'", "''", text))
        if of_many:
            found = of_many[0].strip(" (")
            message = f"{text!r} looks at many rows at a time ({found}): {what} is about one row"
            raise TrainerError(DATA_INVALID, message, field)
        try:
            self._expression = pl.sql_expr(text)
        except pl.exceptions.PolarsError as error:
            raise TrainerError(
                DATA_INVALID, f"{text!r} is no {what.partition(' ')[2]}: {first_line(error)}", field
            ) from error

    def values(self, frame: pl.DataFrame) -> pl.Series:
        """Its value in each row; missing where one that it asks for is.

        Raises:
            TrainerError: ColumnNotFound, or DataInvalid: it cannot be computed, or not of each row.
        """
        found = self.computed(frame)
        if len(found) != len(frame):
            raise TrainerError(DATA_INVALID, f"{self.text!r} does not give each row a value", self.field)
        return found

    def computed(self, frame: pl.DataFrame) -> pl.Series:
        """What it gives, be it a value for each row or not; raises as `values`."""
        unknown = sorted(set(self._expression.meta.root_names()) - set(frame.columns))
        if unknown:
            message = f"the data has no column {unknown[0]!r}; it has {', '.join(frame.columns)}"
            raise TrainerError(COLUMN_NOT_FOUND, message, self.field)
        try:
            found = frame.select(self._expression.alias("value")).to_series()
        except pl.exceptions.PolarsError as error:
            raise TrainerError(DATA_INVALID, f"{self.text!r}: {first_line(error)}", self.field) from error
        return found


class Condition(RowExpression):
    """Says of each row whether something holds; see RowExpression."""

    def __init__(self, text: str, field: str) -> None:
        super().__init__(text, field, "a condition")

    def holds(self, frame: pl.DataFrame) -> pl.Series:
        """Whether it holds, of each row; where a value that it asks for is missing, it does not.

        Raises:
            TrainerError: as `values`, or DataInvalid: it says something else of a row.
        """
        holds = self.computed(frame)
        if holds.dtype != pl.Boolean or len(holds) != len(frame):
            message = f"{self.text!r} gives {holds.dtype}, not whether a row is meant"
            raise TrainerError(DATA_INVALID, message, self.field)
        return holds.fill_null(False)


def first_line(error: Exception) -> str:
    """What an error of polars says, without the plan that it shows below."""
    return str(error).partition("\n")[0]
