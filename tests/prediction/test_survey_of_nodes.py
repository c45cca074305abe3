"""Nodes that go while they are asked are left out; a node that cannot run the job is not."""

from __future__ import annotations

from typing import Any

import pytest

from eightfold.errors import PlatformError

ray: Any = pytest.importorskip("ray")


def answering(monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any]) -> None:
    """Ray with nodes that answer so, or raise."""

    class Asked:
        def __init__(self, node: str) -> None:
            self.node = node[0]  # Ray takes ids of 56 digits

        def remote(self, *_: object) -> str:
            return self.node

    def get(node: str, timeout: float) -> dict[str, Any]:
        if isinstance(answers[node], Exception):
            raise answers[node]
        seen: dict[str, Any] = answers[node]
        return seen

    nodes = [
        {"NodeID": name * 56, "NodeManagerAddress": f"at-{name}", "Alive": True, "Resources": {"CPU": 2.0}}
        for name in answers
    ]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    monkeypatch.setattr(ray, "get", get)
    monkeypatch.setattr(
        ray, "remote", lambda *_, scheduling_strategy, **__: lambda look: Asked(scheduling_strategy.node_id)
    )


def survey(monkeypatch: pytest.MonkeyPatch, answers: dict[str, Any]) -> list[str]:
    from eightfold.prediction import ray_cluster

    answering(monkeypatch, answers)
    monkeypatch.setattr(ray_cluster, "Node", lambda name, *_, **__: name)
    return list(map(str, ray_cluster.surveyed("job", "content")))


def test_a_node_that_has_gone_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = ray.exceptions.TaskUnschedulableError("The node doesn't exist any more")
    assert survey(monkeypatch, {"a": {}, "b": gone, "c": {}}) == ["at-a", "at-c"]


def test_one_node_at_least_must_be_there(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = ray.exceptions.TaskUnschedulableError("The node doesn't exist any more")
    with pytest.raises(PlatformError, match="no node of the cluster answers: at-a have gone"):
        survey(monkeypatch, {"a": gone})


def test_a_node_that_cannot_run_it_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PlatformError, match="the node at-b cannot run eightfold.*no module"):
        survey(monkeypatch, {"a": {}, "b": ray.exceptions.RayError("no module")})
