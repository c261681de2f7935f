"""The nodes of a workflow, shaped as the API server lists them.

After the sources of Kubeflow Pipelines and Argo: the API gives of an Argo node its display name,
state, times and the ids of its children, not its own id, its pod or its error. A node's id is the
FNV-1a hash of its name, a pod's name has the template in between.
"""

import datetime
import hashlib

_NOW = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)


def fnv_1a(text):
    """The 32-bit hash that Argo names nodes by."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = ((value ^ byte) * 0x01000193) % 2**32
    return value


def _dag_tasks(spec):
    pipeline = spec.get("pipeline_spec", spec)
    dags = [pipeline["root"]["dag"]]
    dags += [
        component["dag"] for component in pipeline["components"].values() if "dag" in component
    ]
    return {name: task for dag in dags for name, task in dag["tasks"].items()}


def template(spec, task):
    """Returns the name of the template that a task's pod is made from, as argocompiler does."""
    tasks = _dag_tasks(spec) if spec else {}
    if task not in tasks:
        return "retry-system-container-impl"
    pipeline, platform = spec.get("pipeline_spec", spec), spec.get("platform_spec") or {}
    name = "system-container-impl"
    if "retryPolicy" in tasks[task]:
        name = f"retry-{name}"
    label = pipeline["components"][tasks[task]["componentRef"]["name"]].get("executorLabel")
    kubernetes = platform.get("platforms", {}).get("kubernetes", {})
    executor = kubernetes.get("deploymentSpec", {}).get("executors", {}).get(label, {})
    if "podMetadata" in executor:
        metadata = executor["podMetadata"]
        counts = len(metadata.get("annotations", {})), len(metadata.get("labels", {}))
        name = f"metadata-{counts[0]}-{counts[1]}-{name}"
    return name


def nodes(run_id, workflow, tasks, *, spec=None, pod_names="v2"):
    """Returns the task details of a run.

    Args:
        tasks: Task to its state, to {"state", "attempts"}, or, in a loop, to a list. The state
            CACHED is a task whose executor was skipped, OMITTED one whose turn never came.
        spec: Compiled pipeline; without it every task has a retry policy and no labels.
        pod_names: Argo's naming of pods.

    Returns:
        Details in the API's JSON, and pod to (task, index, attempt).
    """
    details, pods = {}, {}

    def identity(name):
        return name if name == workflow else f"{workflow}-{fnv_1a(name)}"

    def node(name, state, *, children=(), offset=0):
        start = _NOW + datetime.timedelta(seconds=offset)
        ended = state in ("SUCCEEDED", "FAILED", "SKIPPED")
        details[identity(name)] = {
            "run_id": run_id,
            "task_id": hashlib.md5(f"{run_id} {name}".encode()).hexdigest(),
            "display_name": name.rpartition(".")[2],
            "create_time": start.isoformat().replace("+00:00", "Z"),
            "start_time": start.isoformat().replace("+00:00", "Z"),
            "end_time": (start + datetime.timedelta(seconds=90)).isoformat().replace("+00:00", "Z")
            if ended
            else "1970-01-01T00:00:00Z",
            "child_tasks": [{"pod_name": identity(child)} for child in children],
        }
        if state != "OMITTED":
            details[identity(name)]["state"] = state

    root = f"{workflow}.root"
    node(workflow, "RUNNING", children=[f"{workflow}.root-driver"])
    node(f"{workflow}.root-driver", "SUCCEEDED", children=[root])
    listed = [
        (task, index, {"state": said} if isinstance(said, str) else said, isinstance(given, list))
        for task, given in tasks.items()
        for index, said in enumerate(given if isinstance(given, list) else [given])
    ]
    names = [
        f"{root}.for-loop-{task}.iteration-iterations({index}:{index}).iteration-item.{task}"
        if loop
        else f"{root}.{task}"
        for task, index, _, loop in listed
    ]
    for offset, ((task, index, said, _), name) in enumerate(zip(listed, names, strict=True)):
        state, cached, offset = said["state"], said["state"] == "CACHED", offset * 100
        if state == "OMITTED":
            node(name, state, offset=offset)
            continue
        node(f"{name}-driver", "SUCCEEDED", children=[name], offset=offset)
        executor, kind = f"{name}.executor", template(spec, task)
        # Argo's children include the tasks that follow.
        following = [f"{names[offset // 100 + 1]}-driver"] if offset // 100 + 1 < len(names) else []
        node(
            name, "SUCCEEDED" if cached else state,
            children=[*([executor] if state != "PENDING" else []), *following], offset=offset + 1,
        )  # fmt: skip
        if state == "PENDING":
            continue
        retried = "retry-" in kind and not cached
        attempts = [f"{executor}({n})" for n in range(said.get("attempts", 1))] if retried else []
        node(executor, "SKIPPED" if cached else state, children=attempts, offset=offset + 2)
        for number, attempt in enumerate(attempts):
            last = number == len(attempts) - 1
            node(attempt, state if last else "FAILED", offset=offset + 3 + number)
        for number, ran in enumerate(attempts or ([] if cached else [executor])):
            pod = f"{workflow}-{kind}-{fnv_1a(ran)}" if pod_names == "v2" else identity(ran)
            pods[pod] = (task, index, number)
    return [details[key] for key in sorted(details)], pods
