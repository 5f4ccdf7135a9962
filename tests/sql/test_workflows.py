"""What workers register of their workflows, and what clients find of it."""

from __future__ import annotations

from typing import Any

from tests.sql.scene import Scene

from zart_scheduler.store import workflows


def register(scene: Scene, name: str, version: str, **options: Any) -> None:
    given: dict[str, Any] = {"parameters": ["order"], "required": ["order"], "current": True}
    given |= {"input_schema": {"type": "object", "b": 1, "a": 2}, "result_schema": None}
    scene.do(workflows.upsert(name, version, **given | options))


def test_a_version_is_registered_once_and_seen_again(scene: Scene) -> None:
    register(scene, "wf", "1")
    first = scene.do(workflows.get("wf"))
    register(scene, "wf", "1", parameters=["order", "note"], result_schema={"type": "string"})
    second = scene.do(workflows.get("wf"))

    assert first is not None
    assert second is not None
    assert (first.parameters, first.required, first.result_schema) == (("order",), ("order",), None)
    assert list(first.input_schema or {}) == ["type", "b", "a"]
    assert (second.parameters, second.result_schema) == (("order", "note"), {"type": "string"})
    assert second.last_seen_at > first.last_seen_at
    assert len(scene.do(workflows.list_all())) == 1


def test_a_name_means_the_current_version_that_was_seen_last(scene: Scene) -> None:
    register(scene, "wf", "1")
    register(scene, "wf", "2")
    register(scene, "wf", "3", current=False)

    found = scene.do(workflows.get("wf"))

    assert found is not None
    assert found.version == "2"
    assert scene.do(workflows.get("wf", "3")) is not None
    assert scene.do(workflows.get("wf", "4")) is None
    assert scene.do(workflows.get("other")) is None
    assert [one.version for one in scene.do(workflows.list_all())] == ["3", "2", "1"]
