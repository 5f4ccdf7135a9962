"""Name and version to workflow: what a worker knows how to run."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from types import ModuleType
from typing import Any, TypeVar

from zart_core.context import Context
from zart_core.definition import Step, Workflow, check_same_step, describe, registered_step
from zart_core.duration import Duration
from zart_core.errors import ConfigurationError, DuplicateName, WorkflowNotFound
from zart_core.handlers import Handler

log = logging.getLogger("zart")

R = TypeVar("R")

Source = "Workflow[Any, Any] | ModuleType | str | Registry"


class Registry:
    """The workflows of one program. Also the door to the context style: `registry.workflow("name", fn)`."""

    def __init__(self) -> None:
        self._workflows: dict[tuple[str, str], Workflow[Any, Any]] = {}
        self._steps: dict[str, Step[Any, Any]] = {}

    @staticmethod
    def of(*sources: Any) -> Registry:
        """Return a registry of all workflows in `sources`: workflows, modules, module names, registries.

        Raises:
            ConfigurationError: A source is something else, or a module has no workflow.
            DuplicateName: Two workflows share name and version, or two steps share a name.
        """
        registry = Registry()
        for source in sources:
            registry._include(source)
        return registry

    def workflow(
        self,
        name: str,
        fn: Callable[..., Awaitable[R]],
        *,
        version: str = "1",
        current: bool = True,
        timeout: Duration | None = None,
        queue: str = "default",
        priority: int = 0,
        on_divergence: str = "warn",
        on_failure: Handler | None = None,
        on_cancel: Handler | None = None,
        max_crashes: int = 5,
    ) -> Workflow[..., R]:
        """Register `async def fn(ctx: Context, ...)` as a workflow and return it.

        Handlers are `async def on_failure(ctx: Context, failure: Failure, ...)`.
        """
        workflow: Workflow[..., R] = Workflow(
            fn,
            name,
            version=version,
            current=current,
            timeout=timeout,
            queue=queue,
            priority=priority,
            on_divergence=on_divergence,
            on_failure=on_failure,
            on_cancel=on_cancel,
            max_crashes=max_crashes,
            leading=(Context(),),
        )
        self.add(workflow)
        return workflow

    def add(self, workflow: Workflow[Any, Any]) -> None:
        """Register `workflow`. Adding the same one again does nothing.

        Raises:
            DuplicateName: Another workflow has its name and version, or another current version exists.
        """
        known = self._workflows.setdefault((workflow.name, workflow.version), workflow)
        if known is not workflow and describe(known.fn) != describe(workflow.fn):
            label = f"{workflow.name}, version {workflow.version}"
            raise DuplicateName("workflow", label, describe(known.fn), describe(workflow.fn))
        rivals = [w for w in self._workflows.values() if w.name == workflow.name and w.current]
        if len(rivals) > 1:
            versions = " and ".join(sorted(w.version for w in rivals))
            raise ConfigurationError(
                f"workflow {workflow.name!r} has two current versions, {versions}: "
                f"new runs need exactly one, so say current=False for the others"
            )

    def get(self, name: str, version: str) -> Workflow[Any, Any]:
        """Return the workflow of that name and version.

        Raises:
            WorkflowNotFound: It is not registered here.
        """
        try:
            return self._workflows[name, version]
        except KeyError:
            raise WorkflowNotFound(name, {known for known, _ in self._workflows}) from None

    def find_step(self, name: str, code: str) -> Step[Any, Any] | None:
        """Return the step that was spawned as `name`, defined at `code` (`module:qualname`), if it can be had here.

        A module is imported for it only if something of its top package was: what is stored must not choose the code
        that a worker runs.
        """
        if (step := self._steps.get(name) or registered_step(name, code)) is not None:
            return step
        module = code.partition(":")[0]
        if module in sys.modules or module.partition(".")[0] not in sys.modules:
            return None
        try:
            importlib.import_module(module)
        except Exception:
            log.warning("the module of spawned step %r fails to import: %s", name, module, exc_info=True)
        return registered_step(name, code)

    @property
    def steps(self) -> tuple[Step[Any, Any], ...]:
        """The steps that came with the modules."""
        return tuple(self._steps.values())

    def __iter__(self) -> Iterator[Workflow[Any, Any]]:
        return iter(self._workflows.values())

    def __len__(self) -> int:
        return len(self._workflows)

    def _include(self, source: Any) -> None:
        if isinstance(source, Workflow):
            self.add(source)
        elif isinstance(source, Registry):
            self._include_all(source, source.steps)
        elif isinstance(source, ModuleType):
            self._include_module(source)
        elif isinstance(source, str):
            self._include_module(importlib.import_module(source))
        else:
            raise ConfigurationError(
                f"a worker's source must be a workflow, a module, a module's name or a Registry, not {source!r}; "
                f"decorate a function with @durable, or register it with Registry().workflow(name, fn)"
            )

    def _include_module(self, module: ModuleType) -> None:
        members = list(vars(module).values())
        workflows = [member for member in members if isinstance(member, Workflow)]
        registries = [member for member in members if isinstance(member, Registry)]
        if not workflows and not registries:
            raise ConfigurationError(
                f"module {module.__name__!r} has no workflow: decorate an async function with @durable"
            )
        self._include_all(workflows, (member for member in members if isinstance(member, Step)))
        for registry in registries:
            self._include(registry)

    def _include_all(self, workflows: Iterable[Workflow[Any, Any]], steps: Iterable[Step[Any, Any]]) -> None:
        for workflow in workflows:
            self.add(workflow)
        for step in steps:
            check_same_step(self._steps.setdefault(step.name, step), step)
