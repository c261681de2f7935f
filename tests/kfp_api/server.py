"""A test double of Kubeflow Pipelines' API server: v2beta1 over HTTP, with state, in its own process.

python server.py [--token T] [--multi-user] prints its port and serves until it is killed.

It refuses what the real one refuses: payloads are held against the published models of
`kfp_server_api` and the protos of the pipeline (payloads.py). What a run does is told beforehand
with POST /_double/plan; each GET of the run is one step further. POST /_double/behave has it
misbehave, and /_double/tick/ID is one tick of a schedule.
"""

import argparse
import datetime
import email.parser
import json
import re
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from urllib.parse import parse_qs, urlsplit

import yaml
from payloads import Refusal, check_cron, check_parameters, checked, checked_pipeline
from workflow import nodes

ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
SUCCESS = {"frames": [{"state": "SUCCEEDED", "tasks": {}}], "logs": {}}


class State:
    def __init__(self, options, lock=None):
        self.options = options
        self.experiments, self.runs, self.recurring, self.pipelines = {}, {}, {}, {}
        self.versions = {}
        self.plan = SUCCESS
        self.behaviour = {"mode": "well", "times": 0}
        self.requests = []
        self.lock = lock or Lock()


def now():
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def required(table, identity, kind):
    if identity not in table:
        raise Refusal(
            404, f"Failed to get {kind} {identity}: ResourceNotFoundError: {kind} not found"
        )
    return table[identity]


def page(entries, query):
    """One page of a list: filter on the display name, order by creation, page tokens."""
    if "filter" in query:
        predicates = json.loads(query["filter"])["predicates"]
        for predicate in predicates:
            checked(predicate, "V2beta1Predicate")
            if predicate["key"] != "display_name" or predicate["operation"] != "EQUALS":
                raise Refusal(400, "Invalid input error: unsupported filter")
            entries = [e for e in entries if e["display_name"] == predicate["string_value"]]
    order = query.get("sort_by", "")
    if order not in ("", "created_at desc", "created_at asc"):
        raise Refusal(400, f"Invalid input error: invalid sort_by {order}")
    if order.endswith("desc"):
        entries = entries[::-1]
    size, start = int(query.get("page_size") or 20), int(query.get("page_token") or 0)
    token = str(start + size) if start + size < len(entries) else ""
    return entries[start : start + size], token


class Api:
    """The calls, each with the state and what the request holds."""

    def __init__(self, state):
        self.state = state

    def healthz(self, _):
        return {"multi_user": self.state.options.multi_user}

    def create_experiment(self, request):
        body = checked(request.body, "V2beta1Experiment")
        if not body.get("display_name"):
            raise Refusal(400, "Invalid input error: experiment's name is empty")
        if any(e["display_name"] == body["display_name"] for e in self.state.experiments.values()):
            raise Refusal(409, "Already exist error: experiment with the name exists")
        entry = {**body, "experiment_id": str(uuid.uuid4()), "created_at": now()}
        self.state.experiments[entry["experiment_id"]] = entry
        return entry

    def list_experiments(self, request):
        return self._list(request, self.state.experiments, "experiments")

    def _list(self, request, table, name):
        narrowed = request.query.get("namespace") or request.query.get("experiment_id")
        if self.state.options.multi_user and not narrowed:
            raise Refusal(400, "Invalid input error: a namespace is required")
        entries = list(table.values())
        experiment = request.query.get("experiment_id")
        if experiment:
            required(self.state.experiments, experiment, "experiment")
            entries = [e for e in entries if e["experiment_id"] == experiment]
        entries, token = page(entries, request.query)
        return {name: entries, "total_size": len(table), "next_page_token": token}

    def _source(self, body):
        """The pipeline of a run: in the request, or kept on the server; exactly one of the two."""
        reference, spec = body.get("pipeline_version_reference"), body.get("pipeline_spec")
        if bool(reference) == bool(spec):
            raise Refusal(400, "Invalid input error: specify a pipeline spec or a version")
        if reference:
            version = required(
                self.state.versions, reference.get("pipeline_version_id"), "pipeline version"
            )
            if version["pipeline_id"] != reference.get("pipeline_id"):
                raise Refusal(400, "Invalid input error: the version is of another pipeline")
            return version["pipeline_spec"]
        return spec

    def _check_job(self, body):
        if not body.get("display_name"):
            raise Refusal(400, "Invalid input error: the run's name is empty")
        required(self.state.experiments, body.get("experiment_id"), "experiment")
        spec = checked_pipeline(self._source(body))
        check_parameters((body.get("runtime_config") or {}).get("parameters") or {}, spec)

    def create_run(self, request):
        body = checked(request.body, "V2beta1Run")
        self._check_job(body)
        return self._start(body)

    def _start(self, body, **more):
        identity = str(uuid.uuid4())
        entry = {**body, **more, "run_id": identity, "created_at": now(), "state": "PENDING"}
        entry["_plan"], entry["_frame"] = self.state.plan, -1
        self.state.runs[identity] = entry
        return self._shown(entry)

    def _shown(self, entry, *, details=False):
        shown = {k: v for k, v in entry.items() if not k.startswith("_")}
        if not details:
            shown.pop("run_details", None)
        return shown

    def list_runs(self, request):
        answer = self._list(request, self.state.runs, "runs")
        return {**answer, "runs": [self._shown(entry) for entry in answer["runs"]]}

    def get_run(self, request):
        entry = required(self.state.runs, request.path["run_id"], "run")
        if entry["state"] == "CANCELING":
            entry |= {"state": "CANCELED", "finished_at": now()}
        elif entry["state"] not in ENDED:
            frames = entry["_plan"]["frames"]
            entry["_frame"] = min(entry["_frame"] + 1, len(frames) - 1)
            frame = frames[entry["_frame"]]
            details, entry["_pods"] = nodes(
                entry["run_id"],
                f"detection-training-{entry['run_id'][:5]}",
                frame["tasks"],
                spec=self._source(entry),
                pod_names=entry["_plan"].get("pod_names", "v2"),
            )
            entry |= {"state": frame["state"], "run_details": {"task_details": details}}
            if frame["state"] in ENDED:
                entry["finished_at"] = now()
        return self._shown(entry, details=True)

    def terminate_run(self, request):
        entry = required(self.state.runs, request.path["run_id"], "run")
        if entry["state"] in ENDED:
            raise Refusal(400, "Invalid input error: the run has finished")
        entry["state"] = "CANCELING"
        return {}

    def log(self, request):
        entry = required(self.state.runs, request.path["run_id"], "run")
        pod = request.path["node_id"]
        if pod not in entry.get("_pods", {}):
            raise Refusal(500, f"Failed to read logs: pods {pod} not found")
        task, index, _ = entry["_pods"][pod]
        logs = entry["_plan"]["logs"].get(task)
        if logs is None:
            raise Refusal(500, f"Failed to read logs: pods {pod} not found")
        return logs if isinstance(logs, str) else logs[index if len(logs) > index else -1]

    def create_recurring(self, request):
        body = checked(request.body, "V2beta1RecurringRun")
        self._check_job(body)
        if not 1 <= int(body.get("max_concurrency") or 0) <= 10:
            raise Refusal(400, "The max concurrency of the recurring run is out of range: 1-10")
        cron = ((body.get("trigger") or {}).get("cron_schedule") or {}).get("cron")
        if not cron:
            raise Refusal(400, "Invalid input error: no trigger")
        check_cron(cron)
        entry = {**body, "recurring_run_id": str(uuid.uuid4()), "created_at": now()}
        entry["status"] = "ENABLED" if body.get("mode") == "ENABLE" else "DISABLED"
        self.state.recurring[entry["recurring_run_id"]] = entry
        return entry

    def list_recurring(self, request):
        return self._list(request, self.state.recurring, "recurringRuns")

    def enable(self, request):
        self._recurring(request)["status"] = "ENABLED"
        return {}

    def disable(self, request):
        self._recurring(request)["status"] = "DISABLED"
        return {}

    def delete_recurring(self, request):
        del self.state.recurring[self._recurring(request)["recurring_run_id"]]
        return {}

    def _recurring(self, request):
        return required(self.state.recurring, request.path["recurring_run_id"], "recurring run")

    def tick(self, request):
        entry = self._recurring(request)
        identity = entry["recurring_run_id"]
        active = [
            run
            for run in self.state.runs.values()
            if run.get("recurring_run_id") == identity and run["state"] not in ENDED
        ]
        if entry["status"] != "ENABLED" or len(active) >= int(entry["max_concurrency"]):
            return {"started": None}
        copied = ("experiment_id", "pipeline_spec", "runtime_config", "description")
        run = self._start(
            {name: entry[name] for name in copied},
            display_name=f"{entry['display_name']}-{len(self.state.runs)}",
            recurring_run_id=identity,
        )
        return {"started": run["run_id"]}

    def upload(self, request):
        name = request.query.get("name")
        if any(p["display_name"] == name for p in self.state.pipelines.values()):
            raise Refusal(409, f"Already exist error: pipeline {name}")
        spec = self._uploaded(request)
        entry = {"pipeline_id": str(uuid.uuid4()), "display_name": name, "name": name}
        entry |= {"created_at": now(), "description": request.query.get("description", "")}
        self.state.pipelines[entry["pipeline_id"]] = entry
        self._add_version(entry["pipeline_id"], name, spec)
        return entry

    def upload_version(self, request):
        pipeline = required(self.state.pipelines, request.query.get("pipelineid"), "pipeline")
        return self._add_version(
            pipeline["pipeline_id"], request.query.get("name"), self._uploaded(request)
        )

    def _add_version(self, pipeline, name, spec):
        for version in self.state.versions.values():
            if version["pipeline_id"] == pipeline and version["display_name"] == name:
                raise Refusal(409, f"Already exist error: pipeline version {name}")
        entry = {"pipeline_id": pipeline, "pipeline_version_id": str(uuid.uuid4())}
        entry |= {"display_name": name, "created_at": now(), "pipeline_spec": spec}
        self.state.versions[entry["pipeline_version_id"]] = entry
        return entry

    def _uploaded(self, request):
        head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
        message = email.parser.BytesParser().parsebytes(head + request.raw)
        parts = [
            part
            for part in message.walk()
            if part.get_param("name", header="Content-Disposition") == "uploadfile"
        ]
        if not parts:
            raise Refusal(400, "Failed to read pipeline: no uploadfile")
        first, *platforms = yaml.safe_load_all(parts[0].get_payload(decode=True))
        spec = {"pipeline_spec": first, "platform_spec": platforms[0]} if platforms else first
        checked_pipeline(spec)
        return spec

    def list_pipelines(self, request):
        entries, token = page(list(self.state.pipelines.values()), request.query)
        return {"pipelines": entries, "next_page_token": token}

    def list_versions(self, request):
        pipeline = request.path["pipeline_id"]
        entries = [v for v in self.state.versions.values() if v["pipeline_id"] == pipeline]
        entries, token = page(entries, request.query)
        return {"pipeline_versions": entries, "next_page_token": token}

    def get_version(self, request):
        return required(
            self.state.versions, request.path["pipeline_version_id"], "pipeline version"
        )

    def plan(self, request):
        self.state.plan = request.body
        return {}

    def behave(self, request):
        self.state.behaviour = {"times": 1_000_000, **request.body}
        return {}

    def reset(self, _):
        self.state.__init__(self.state.options, lock=self.state.lock)
        return {}

    def seen(self, _):
        return {"requests": self.state.requests}


ROUTES = [
    ("GET", r"/apis/v2beta1/healthz", Api.healthz),
    ("POST", r"/apis/v2beta1/experiments", Api.create_experiment),
    ("GET", r"/apis/v2beta1/experiments", Api.list_experiments),
    ("POST", r"/apis/v2beta1/runs", Api.create_run),
    ("GET", r"/apis/v2beta1/runs", Api.list_runs),
    ("GET", r"/apis/v2beta1/runs/(?P<run_id>[^/:]+)", Api.get_run),
    ("POST", r"/apis/v2beta1/runs/(?P<run_id>[^/:]+):terminate", Api.terminate_run),
    ("GET", r"/apis/v1alpha1/runs/(?P<run_id>[^/]+)/nodes/(?P<node_id>[^/]+)/log", Api.log),
    ("POST", r"/apis/v2beta1/recurringruns", Api.create_recurring),
    ("GET", r"/apis/v2beta1/recurringruns", Api.list_recurring),
    ("POST", r"/apis/v2beta1/recurringruns/(?P<recurring_run_id>[^/:]+):enable", Api.enable),
    ("POST", r"/apis/v2beta1/recurringruns/(?P<recurring_run_id>[^/:]+):disable", Api.disable),
    ("DELETE", r"/apis/v2beta1/recurringruns/(?P<recurring_run_id>[^/:]+)", Api.delete_recurring),
    ("POST", r"/apis/v2beta1/pipelines/upload", Api.upload),
    ("POST", r"/apis/v2beta1/pipelines/upload_version", Api.upload_version),
    ("GET", r"/apis/v2beta1/pipelines", Api.list_pipelines),
    ("GET", r"/apis/v2beta1/pipelines/(?P<pipeline_id>[^/:]+)/versions", Api.list_versions),
    (
        "GET",
        r"/apis/v2beta1/pipelines/[^/:]+/versions/(?P<pipeline_version_id>[^/:]+)",
        Api.get_version,
    ),
    ("POST", r"/_double/plan", Api.plan),
    ("POST", r"/_double/behave", Api.behave),
    ("POST", r"/_double/tick/(?P<recurring_run_id>[^/:]+)", Api.tick),
    ("POST", r"/_double/reset", Api.reset),
    ("GET", r"/_double/seen", Api.seen),
]


class Body(Exception):
    """An answer that no API server gives, but what may stand before it."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


class Request:
    def __init__(self, handler):
        parts = urlsplit(handler.path)
        self.route = parts.path
        self.query = {k: v[-1] for k, v in parse_qs(parts.query).items()}
        self.headers = handler.headers
        self.raw = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.path = {}
        self.body = None
        if "json" in (handler.headers.get("Content-Type") or "") and self.raw:
            self.body = json.loads(self.raw)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self):
        request = Request(self)
        state = self.server.state
        with state.lock:
            try:
                content, kind = self._answer(request, state), "application/json"
                if isinstance(content, str):
                    self._send(200, content.encode(), "text/plain")
                else:
                    self._send(200, json.dumps(content).encode(), kind)
            except Body as body:
                self._send(body.status, str(body).encode(), "application/json")
            except Refusal as refusal:
                body = {"error": str(refusal), "code": refusal.code, "message": str(refusal)}
                self._send(
                    refusal.status, json.dumps({**body, "details": []}).encode(), "application/json"
                )

    def _answer(self, request, state):
        control = request.route.startswith("/_double/")
        if not control:
            state.requests.append(
                {
                    "method": self.command,
                    "path": self.path,
                    "body": request.body,
                    "cookie": self.headers.get("Cookie"),
                    "authorization": self.headers.get("Authorization"),
                }
            )
            page = self._misbehave(request, state)
            if page is not None:
                return page
            expected = state.options.token
            if expected and self.headers.get("Authorization") != f"Bearer {expected}":
                raise Refusal(
                    401, "Unauthenticated: request header error: there is no user identity"
                )
        if request.route == "/k8s/pod/logs" and state.behaviour["mode"] == "user interface":
            request.path = {"run_id": request.query["runid"], "node_id": request.query["podname"]}
            return Api(state).log(request)
        for method, pattern, call in ROUTES:
            match = re.fullmatch(pattern, request.route)
            if match and method == self.command:
                request.path = match.groupdict()
                return call(Api(state), request)
        raise Refusal(404, "Not Found")

    def _misbehave(self, request, state):
        behaviour = state.behaviour
        if behaviour["times"] <= 0:
            return None
        mode = behaviour["mode"]
        applies = re.search(behaviour.get("path", ""), request.route)
        if mode in ("well", "user interface") or not applies:
            if mode == "user interface" and request.route.startswith("/apis/v1alpha1"):
                raise Refusal(404, "Not Found")
            return None
        behaviour["times"] -= 1
        if mode == "forbidden":
            raise Refusal(
                403, "User 'jane@example.com' is not authorized with reason: no rolebinding"
            )
        if mode == "busy":
            raise Refusal(429, "Too Many Requests")
        if mode == "another body":
            raise Body(behaviour["status"], behaviour["body"])
        if mode == "repeats secrets":
            sent = [self.headers.get("Authorization"), self.headers.get("Cookie")]
            raise Refusal(403, f"a proxy does not like {sent}")
        if mode == "broken":
            raise Refusal(500, "InternalServerError: the database is gone")
        if mode == "conflict":
            raise Refusal(409, "Already exist error: it is there")
        if mode == "only v1":
            if request.route.startswith("/apis/v1beta1"):
                return {"multi_user": False}
            raise Refusal(404, "Not Found")
        if mode == "something else":
            raise Refusal(404, "Not Found")
        return "<!doctype html><title>Log in to Your Account</title>"

    do_GET = do_POST = do_DELETE = answer

    def _send(self, status, body, kind):
        if body.startswith(b"<!doctype"):
            kind = "text/html; charset=utf-8"
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--token")
    parser.add_argument("--multi-user", action="store_true")
    parser.add_argument("--port-file", required=True)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    options = parser.parse_args()
    server.state = State(options)
    ready = Path(options.port_file)
    ready.with_suffix(".part").write_text(str(server.server_port))
    ready.with_suffix(".part").rename(ready)
    server.serve_forever()


if __name__ == "__main__":
    main()
