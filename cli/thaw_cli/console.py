"""A run's progress for people: a live table on a terminal, one line for each event elsewhere."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from thaw_api.search_space import assignment_text
from thaw_trainer.reporting.board import Board
from thaw_trainer.reporting.events import EpochEnded, Event, Observer, RunStarted, TrialStarted
from thaw_trainer.reporting.lines import event_line, summary_text
from thaw_trainer.search.journal import TrialRecord

_SHOWN_TRIALS = 12


@contextmanager
def open_console(stream: TextIO) -> Iterator[Observer]:
    """An observer that shows the run on a stream."""
    board = Board(time.monotonic)
    if not stream.isatty():

        def tell(event: Event) -> None:
            board.tell(event)
            if line := event_line(event, board):
                print(line, file=stream, flush=True)

        yield tell
        return
    from rich.console import Console
    from rich.live import Live

    console = Console(file=stream, highlight=False)
    with Live(console=console, refresh_per_second=4, get_renderable=lambda: _table(board)) as live:

        def show(event: Event) -> None:
            board.tell(event)
            if not isinstance(event, RunStarted | TrialStarted | EpochEnded):
                live.console.print(event_line(event, board), markup=False)

        yield show


def _table(board: Board) -> Any:
    """The running and the best trials, as rich draws them."""
    from rich.table import Table
    from rich.text import Text

    search = board.search
    if search is None:
        return Text("preparing data, starting Ray …")
    table = Table(box=None, title=f"{search.trials} trials {summary_text(board)}", title_justify="left")
    for name in ("trial", "state", "phase", "epoch", search.metric, "values"):
        table.add_column(name)
    best = board.best()
    for record in _shown(board):
        last = record.reports[-1] if record.reports else None
        value = board.objective(record)
        table.add_row(
            record.name,
            record.state,
            last["phase"] if last else "",
            f"{len(record.reports)}/{search.epochs}",
            "" if value is None else f"{value:.4f}",
            Text(assignment_text(record.parameters)),
            style="bold" if record is best else "dim" if record.state != "running" else "",
        )
    return table


def _shown(board: Board) -> list[TrialRecord]:
    running = [record for record in board.records.values() if record.state == "running"]
    over = [record for record in board.records.values() if record.state != "running"]
    sign = -1 if board.search and board.search.mode == "max" else 1
    over.sort(key=lambda record: (sign * (board.objective(record) or -sign * float("inf")), record.ordinal))
    return [*running, *over][:_SHOWN_TRIALS]
