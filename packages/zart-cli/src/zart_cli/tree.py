"""`zart runs tree`: an execution with the children that it has started, and theirs."""

from __future__ import annotations

from collections.abc import Iterator

from rich.text import Text
from rich.tree import Tree

from zart_cli.terminal import printable, state_text
from zart_cli.times import took
from zart_core import ExecutionTree

_DIM = "bright_black"


def draw_tree(tree: ExecutionTree) -> Tree:
    """Return the tree, one line for each execution."""
    drawn = Tree(_label(tree), guide_style=_DIM)
    _add(drawn, tree)
    return drawn


def ids_of(tree: ExecutionTree) -> Iterator[str]:
    """Yield the ids of all executions, each before its children."""
    yield tree.run.execution_id
    for child in tree.children:
        yield from ids_of(child)


def _add(drawn: Tree, tree: ExecutionTree) -> None:
    for child in tree.children:
        _add(drawn.add(_label(child)), child)


def _label(tree: ExecutionTree) -> Text:
    run = tree.run
    length = took(run.started_at, run.completed_at)
    return Text.assemble(
        (printable(run.execution_id), "bold"),
        "  ",
        printable(run.workflow),
        "  ",
        state_text(run.state),
        (f"  {length}" if length else "", _DIM),
    )
