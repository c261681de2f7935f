"""The nodes of a workflow, shaped as the API server lists them."""

import datetime
import hashlib

_NOW = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)


def _number(*words):
    return str(int(hashlib.sha256("/".join(words).encode()).hexdigest()[:7], 16))


def nodes(run_id, workflow, tasks):
    """Returns the task details of a run.

    Args:
        tasks: Task to its state, to {"state", "attempts", "error"}, or, in a loop, to a list.
            The state CACHED is a task whose executor was skipped.

    Returns:
        Details in the API's JSON, and pod to (task, index, attempt).
    """
    details, pods = [], {}

    def node(name, state, *, children=(), error=None, index=0, offset=0):
        identity = f"{workflow}-{_number(name, str(index), str(offset))}"
        start = _NOW + datetime.timedelta(seconds=offset)
        ended = state in ("SUCCEEDED", "FAILED", "SKIPPED")
        details.append(
            {
                "run_id": run_id,
                "task_id": hashlib.md5(identity.encode()).hexdigest(),
                "display_name": name,
                "create_time": start.isoformat().replace("+00:00", "Z"),
                "start_time": start.isoformat().replace("+00:00", "Z"),
                "end_time": (start + datetime.timedelta(seconds=90 if ended else 0))
                .isoformat()
                .replace("+00:00", "Z")
                if ended
                else "1970-01-01T00:00:00Z",
                "state": state,
                "error": {"code": 2, "message": error} if error else None,
                "child_tasks": [{"pod_name": child} for child in children],
                "pod_name": identity,
            }
        )
        return identity

    node(workflow, "RUNNING")
    node("root-driver", "SUCCEEDED")
    after = None
    for position, (task, given) in enumerate(tasks.items()):
        for index, said in enumerate(given if isinstance(given, list) else [given]):
            said = {"state": said} if isinstance(said, str) else said
            state, cached = said["state"], said["state"] == "CACHED"
            offset = position * 100 + index
            driver = node(f"{task}-driver", "SUCCEEDED", index=index, offset=offset)
            # Argo's children include the tasks that follow: a walk must not run on into them.
            following = [driver] if after is None else [driver, after]
            attempts = said.get("attempts", 1)
            executors = []
            for attempt in range(attempts):
                last = attempt == attempts - 1
                shown = ("SKIPPED" if cached else state) if last else "FAILED"
                if shown in ("PENDING",):
                    continue
                name = "executor" if attempts == 1 else f"executor({attempt})"
                pod = node(
                    name,
                    shown,
                    children=following if attempts == 1 else (),
                    error="Error (exit code 1)" if shown == "FAILED" else None,
                    index=index,
                    offset=offset + 10 * (attempt + 1),
                )
                executors.append(pod)
                if shown != "SKIPPED":
                    pods[pod] = (task, index, attempt)
            if attempts > 1:
                executors = [
                    node("executor", state, children=executors, index=index, offset=offset + 5)
                ]
            after = node(
                task,
                "SUCCEEDED" if cached else state,
                children=executors,
                error=said.get("error"),
                index=index,
                offset=offset + 1,
            )
    return details, pods
