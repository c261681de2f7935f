"""Runs on a cluster: the real command against a server that speaks the v2beta1 API."""

import contextlib
import io
import json
import re
import signal
import subprocess
import sys
import time

import pytest
import yaml
from cluster_cases import DIGEST, STAGES, all_done, configuration, ended
from kfp_api.double import started
from rich.console import Console

from kfdet.cli.cluster.access import Access
from kfdet.cli.cluster.connection import Connection
from kfdet.cli.cluster.watch import Watch
from kfdet.errors import ClusterError
from kfdet.progress import Progress
from scripts.generate import help_text

PASSED = "[gate] pass: ap 0.91 is at least 0.75.\n"
FAILED = "[gate] fail: ap 0.41 is below 0.75.\n"
UNSURE = "[gate] insufficient_evidence: 12 images are too few.\n"
PUBLISHED = "[publish] shapes version 7 is now the champion: /mnt/kfdet/registry/shapes\n"


def submit(double, *arguments, code=0, **options):
    return double.kfdet("submit", "run.yaml", "--json", *arguments, code=code, **options)


class TestSubmit:
    def test_a_run_is_created_with_name_digests_parameters_and_link(self, double):
        done = submit(double, "--data-digest", DIGEST, "--experiment", "nightly")
        answer = json.loads(done.stdout)
        (request,) = double.seen("POST", "/apis/v2beta1/runs")
        body = request["body"]
        assert body["display_name"] == "shapes"
        assert answer["link"] == f"{double.host}/#/runs/details/{answer['id']}"
        assert DIGEST in body["description"]
        assert answer["config"] in body["description"]
        assert body["runtime_config"]["parameters"]["data_digest"] == DIGEST
        assert body["runtime_config"]["parameters"]["model_root"] == "/mnt/kfdet/models"
        assert body["runtime_config"]["parameters"]["registry"] == "/mnt/kfdet/registry"
        dataset = json.loads(body["runtime_config"]["parameters"]["dataset"])
        assert dataset["train"] == ["/mnt/kfdet/data/train-*.tfrecord"]
        (experiment,) = double.seen("POST", "/apis/v2beta1/experiments")
        assert experiment["body"]["display_name"] == "nightly"
        executors = body["pipeline_spec"]["platform_spec"]["platforms"]["kubernetes"]
        for executor in executors["deploymentSpec"]["executors"].values():
            assert executor["podMetadata"]["labels"]["kfdet.dev/data"] == DIGEST[:16]
            assert executor["podMetadata"]["labels"]["kfdet.dev/config"] == answer["config"][:16]
            assert executor["pvcMount"][0]["mountPath"] == "/mnt/kfdet"

    def test_an_experiment_that_is_there_is_used_again(self, double):
        for _ in range(2):
            submit(double, "--data-digest", DIGEST)
        assert len(double.seen("POST", "/apis/v2beta1/experiments")) == 1
        first, second = double.seen("POST", "/apis/v2beta1/runs")
        assert first["body"]["experiment_id"] == second["body"]["experiment_id"]

    def test_data_that_are_not_here_are_named_by_a_task_of_the_run(self, double):
        answer = json.loads(submit(double).stdout)
        assert answer["data"] == "named by the run itself"
        (request,) = double.seen("POST", "/apis/v2beta1/runs")
        tasks = request["body"]["pipeline_spec"]["pipeline_spec"]["root"]["dag"]["tasks"]
        digest = tasks["validate"]["inputs"]["parameters"]["data_digest"]
        assert digest["taskOutputParameter"]["producerTask"] == "fingerprint"
        assert not tasks["fingerprint"]["cachingOptions"].get("enableCache")
        assert tasks["validate"]["cachingOptions"]["enableCache"]

    def test_data_that_are_here_are_named_before(self, double, tmp_path):
        for split in ("train", "val", "test"):
            (tmp_path / f"{split}-0.tfrecord").write_bytes(split.encode())
        (tmp_path / "label_map.pbtxt").write_text('item { id: 1 name: "circle" }')
        overrides = [
            f"dataset.{split}={tmp_path}/{split}-*.tfrecord" for split in ("train", "val", "test")
        ]
        overrides += [
            f"dataset.label_map={tmp_path}/label_map.pbtxt",
            f"cluster.volumes=[{{claim: data, path: {tmp_path}}}, {{claim: kfdet, path: /mnt/kfdet}}]",
        ]
        sets = [word for override in overrides for word in ("--set", override)]
        named = json.loads(double.kfdet("fingerprint", "run.yaml", *sets, "--json").stdout)
        answer = json.loads(submit(double, *sets).stdout)
        assert answer["data"] == named["data_digest"]

        rule = '--set=gate.rules=[{metric: ap, class_name: "circel", at_least: 0.5}]'
        done = submit(double, *sets, rule, code=11)
        assert 'no class is called "circel"' in done.stderr
        assert 'Did you mean "circle"?' in done.stderr

    def test_a_dry_run_sends_nothing_and_shows_all_of_it(self, double):
        done = submit(double, "--dry-run", "--data-digest", DIGEST, host="http://127.0.0.1:1")
        shown = json.loads(done.stdout)
        assert shown["experiment"] == "kfdet"
        assert shown["run"]["runtime_config"]["parameters"]["data_digest"] == DIGEST
        assert "deploymentSpec" in shown["run"]["pipeline_spec"]["pipeline_spec"]
        assert not double.control("seen", method="GET")["requests"]


class TestNamedPipeline:
    def test_equal_ones_are_uploaded_once_and_another_only_when_asked(self, double):
        named = ("--pipeline", "detection", "--data-digest", DIGEST)
        submit(double, *named)
        submit(double, *named, "--name", "again", "--set", "training.steps=200")
        assert len(double.seen("POST", "/apis/v2beta1/pipelines/upload")) == 1
        first, second = double.seen("POST", "/apis/v2beta1/runs")
        reference = first["body"]["pipeline_version_reference"]
        assert reference == second["body"]["pipeline_version_reference"]
        assert first["body"].get("pipeline_spec") is None
        other = ("--set", "resources.train.cpu='8'")
        done = submit(double, *named, *other, code=1)
        assert 'the pipeline "detection" differs' in done.stderr
        assert "--new-version" in done.stderr
        submit(double, *named, *other, "--new-version")
        third = double.seen("POST", "/apis/v2beta1/runs")[-1]["body"]["pipeline_version_reference"]
        assert third["pipeline_id"] == reference["pipeline_id"]
        assert third["pipeline_version_id"] != reference["pipeline_version_id"]

    @pytest.mark.parametrize("mode", ["something else", "forbidden", "broken", "login page"])
    def test_a_run_is_watched_and_shown_where_its_version_can_t_be_read(self, double, mode):
        double.plan([ended(all_done())], {"gate": PASSED, "publish": PUBLISHED})
        double.behave(mode, path=r"/versions/[0-9a-f-]+$")
        record = json.loads(wait(double, "--pipeline", "detection").stdout)
        assert record["verdict"] == "pass"
        shown = json.loads(double.kfdet("status", record["id"], "--json").stdout)
        assert {stage["status"] for stage in shown["stages"]} == {"done"}


def written(shard):
    """What a task of two writes."""
    text = io.StringIO()
    with contextlib.redirect_stderr(text):
        Progress("evaluate", part=f"shard {shard}/2").update(10, total=10, unit="images")
    return text.getvalue()


def wait(double, *arguments, code=0):
    return submit(
        double, "--data-digest", DIGEST, "--wait", "--poll-s", "0.1", *arguments, code=code
    )


class TestWait:
    def test_a_pass_ends_with_the_version(self, double):
        double.plan(
            [
                {"state": "PENDING", "tasks": {}},
                ended({"validate": "RUNNING"}, "RUNNING"),
                ended({"validate": "CACHED", "render": "CACHED", "train": "RUNNING"}, "RUNNING"),
                ended(all_done() | {"validate": "CACHED", "render": "CACHED"}),
            ],
            {
                "train": "[train] 20/100 steps  loss 0.5\n[train] 60/100 steps  loss 0.25\n",
                "gate": PASSED,
                "publish": PUBLISHED,
            },
        )
        done = wait(double)
        record = json.loads(done.stdout)
        assert record["verdict"] == "pass"
        assert record["published_version"] == 7
        statuses = {stage["stage"]: stage["status"] for stage in record["stages"]}
        assert statuses == dict.fromkeys(STAGES, "done") | {
            "validate": "cached",
            "render": "cached",
        }
        assert "60/100 steps  loss 0.25" in done.stderr

    @pytest.mark.parametrize(
        ("log", "verdict", "code"), [(FAILED, "fail", 20), (UNSURE, "insufficient_evidence", 21)]
    )
    def test_a_gate_that_does_not_pass_is_an_answer(self, double, log, verdict, code):
        double.plan([ended(all_done(gate_passes=False))], {"gate": log})
        record = json.loads(wait(double, "--exit-code", code=code).stdout)
        assert record["verdict"] == verdict
        statuses = {stage["stage"]: stage["status"] for stage in record["stages"]}
        assert statuses["export"] == statuses["publish"] == "skipped"

    def test_a_pass_whose_logs_are_gone_is_known_from_what_ran_after_it(self, double):
        double.plan([ended(all_done())])
        record = json.loads(wait(double, "--exit-code").stdout)
        assert record["verdict"] == "pass"

    def test_a_gate_that_did_not_pass_and_whose_log_is_gone_is_never_an_exit_of_0(self, double):
        double.plan([ended(all_done(gate_passes=False))])
        answer = json.loads(wait(double, "--exit-code", code=20).stdout)
        assert answer["verdict"] is None
        (reason,) = answer["reasons"]
        assert "did not pass" in reason
        assert answer["link"] in reason

    def test_a_task_whose_turn_never_came_has_not_begun(self, double):
        double.plan([ended(all_done(gate_passes=False) | {"export": "OMITTED"})], {"gate": FAILED})
        record = json.loads(wait(double, "--exit-code", code=20).stdout)
        assert {s["stage"]: s["status"] for s in record["stages"]}["export"] == "skipped"

    @pytest.mark.parametrize(
        "options",
        [
            ("--set", "cluster.light.retries=0"),
            ("--set", "cluster.annotations={team: vision}"),
            ("--pipeline", "kept", "--set", "cluster.labels={team: vision}"),
        ],
    )
    def test_the_gate_s_log_is_found_whatever_its_pod_is_called(self, double, options):
        double.plan([ended(all_done(gate_passes=False))], {"gate": UNSURE})
        wait(double, "--exit-code", *options, code=21)

    def test_what_was_exported_without_a_pass_is_an_error(self, double):
        double.plan([ended(all_done())], {"gate": FAILED})
        done = wait(double, code=1)
        assert "export and publish ran although the gate said fail" in done.stderr

    def test_a_pass_that_published_nothing_is_an_error(self, double):
        double.plan([ended(all_done(gate_passes=False))], {"gate": PASSED})
        assert "was not published" in wait(double, code=1).stderr

    def test_a_failed_stage_ends_with_its_words_and_its_exit_code(self, double):
        said = "[validate] failed: 2 faults:\n  - box outside\n  - no image.\nexit status 10\n"
        double.plan(
            [ended({"validate": {"state": "FAILED", "attempts": 2}}, "FAILED")], {"validate": said}
        )
        done = wait(double, code=10)
        assert "stage validate: 2 faults:\n  - box outside\n  - no image." in done.stderr
        assert "kfdet logs" in done.stderr

    def test_the_champion_s_evaluation_is_a_stage_of_its_own(self, double):
        champion = {
            "champion": "SUCCEEDED", "champion-evaluate": ["SUCCEEDED", "SUCCEEDED"],
            "champion-merge": {"state": "FAILED"},
        }  # fmt: skip
        before_gate = dict.fromkeys(STAGES[: STAGES.index("gate")], "SUCCEEDED")
        said = "[gate] failed: shard 1 of 2 is missing.\nexit status 10\n"
        double.plan([ended(before_gate | champion, "FAILED")], {"champion-merge": said})
        done = wait(double, code=10)
        assert "stage champion: shard 1 of 2 is missing." in done.stderr
        statuses = {
            stage["stage"]: stage["status"] for stage in json.loads(done.stdout)["stages"]
        }  # fmt: skip
        assert (statuses["evaluate"], statuses["merge"]) == ("done", "done")
        assert (statuses["champion"], statuses["gate"]) == ("failed", "skipped")

    def test_a_run_that_never_reached_a_stage_points_to_its_nodes(self, double):
        double.plan([{"state": "FAILED", "tasks": {}}])
        assert "failed outside of its stages" in wait(double, "--exit-code", code=1).stderr

    def test_a_server_that_is_away_for_a_moment_is_waited_for(self, double):
        double.plan([ended(all_done())], {"gate": PASSED, "publish": PUBLISHED})
        double.behave("broken", times=2, path=r"/runs/[0-9a-f-]+$")
        assert json.loads(wait(double).stdout)["verdict"] == "pass"

    def test_a_server_that_is_busy_for_a_moment_is_waited_for(self, double):
        double.plan([ended(all_done())], {"gate": PASSED, "publish": PUBLISHED})
        double.behave("busy", times=2, path=r"/runs/[0-9a-f-]+$")
        assert json.loads(wait(double).stdout)["verdict"] == "pass"

    @pytest.mark.parametrize("mode", ["login page", "forbidden"])
    def test_a_watch_that_is_given_up_says_that_the_run_goes_on(self, double, mode):
        double.plan([ended({"train": "RUNNING"}, "RUNNING")])
        double.behave(mode, path=r"/runs/[0-9a-f-]+$")
        done = wait(double, code=1)
        assert "the run goes on" in done.stderr
        assert f"{double.host}/#/runs/details/" in done.stderr

    def test_a_server_that_stays_away_is_given_up(self, double, monkeypatch):
        run = json.loads(submit(double, "--data-digest", DIGEST).stdout)["id"]
        access = Access(host=double.host, ui=double.host, namespace=None)
        connection = Connection(access)
        double.behave("busy")
        monkeypatch.setattr("kfdet.cli.cluster.watch._SECONDS_OF_SILENCE", 2.5)
        with pytest.raises(ClusterError) as failure:
            Watch(connection, run, pause_s=0.1).to_the_end(Console(quiet=True))
        assert "the run goes on" in str(failure.value)
        assert f"/#/runs/details/{run}" in str(failure.value)

    def test_ctrl_c_leaves_the_run_and_says_how_to_go_on(self, double):
        double.plan([ended({"validate": "RUNNING"}, "RUNNING")])
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "kfdet.cli.main",
                "submit",
                "run.yaml",
                "--wait",
                "--data-digest",
                DIGEST,
            ],
            cwd=double.folder,
            env=double.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        until = time.monotonic() + 60
        while not any(
            request["path"].startswith("/apis/v2beta1/runs/")
            for request in double.control("seen", method="GET")["requests"]
        ):
            assert time.monotonic() < until
            time.sleep(0.2)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=180)
        assert process.returncode == 130
        assert "the run goes on" in err
        assert "kfdet terminate" in err


class TestRuns:
    def test_status_logs_runs_and_terminate(self, double):
        double.plan(
            [
                ended(
                    {
                        "validate": "SUCCEEDED",
                        "train": {"state": "RUNNING", "attempts": 2},
                        "evaluate": ["SUCCEEDED", "RUNNING"],
                    },
                    "RUNNING",
                )
            ],
            {"train": "[train] 60/100 steps\n", "evaluate": [written(2), written(1)]},
        )
        run = json.loads(submit(double, "--data-digest", DIGEST).stdout)["id"]
        status = json.loads(double.kfdet("status", run, "--json").stdout)
        stages = {stage["stage"]: stage for stage in status["stages"]}
        assert status["state"] == "RUNNING"
        assert stages["train"]["attempts"] == 2
        assert (stages["validate"]["status"], stages["gate"]["status"]) == ("done", "waiting")
        assert stages["evaluate"]["status"] == "running"
        assert double.kfdet("logs", "shapes", "train").stdout == "[train] 60/100 steps\n"
        assert double.kfdet("logs", run, "evaluate").stdout == (
            f"== evaluate shard 1/2\n{written(1)}\n== evaluate shard 2/2\n{written(2)}"
        )
        assert "has not begun" in double.kfdet("logs", run, "gate", code=1).stderr
        done = double.kfdet("logs", run, "trian", code=2)
        assert 'Did you mean "train"?' in done.stderr
        listed = json.loads(double.kfdet("runs", "--json").stdout)
        assert [entry["id"] for entry in listed] == [run]
        double.kfdet("terminate", run)
        assert json.loads(double.kfdet("status", run, "--json").stdout)["state"] == "CANCELED"
        assert "has ended already" in double.kfdet("terminate", run, code=1).stderr

    def test_a_name_that_is_markup_is_listed_as_it_is(self, double):
        submit(double, "--data-digest", DIGEST, "--name", "[/bold]nightly[red]")
        assert "[/bold]nightly[red]" in double.kfdet("runs").stdout

    @pytest.mark.parametrize("pod_names", ["v1", "v2"])
    def test_logs_through_the_user_interface_and_with_both_of_argo_s_names(self, double, pod_names):
        double.plan(
            [ended({"train": "RUNNING"}, "RUNNING")],
            {"train": "[train] so far\n"},
            pod_names=pod_names,
        )
        double.behave("user interface")
        run = json.loads(submit(double, "--data-digest", DIGEST).stdout)["id"]
        assert double.kfdet("logs", run, "train").stdout == "[train] so far\n"

    def test_logs_of_the_champion_as_a_stage_and_task_by_task(self, double):
        double.plan(
            [ended({"champion": "SUCCEEDED", "champion-merge": "RUNNING"}, "RUNNING")],
            {"champion": "looked\n", "champion-merge": "merges\n"},
        )
        run = json.loads(submit(double, "--data-digest", DIGEST).stdout)["id"]
        whole = double.kfdet("logs", run, "champion").stdout
        assert "== champion\nlooked\n" in whole
        assert "== champion-merge\nmerges\n" in whole
        assert double.kfdet("logs", run, "champion-merge").stdout == "merges\n"

    def test_logs_of_pods_that_are_gone(self, double):
        double.plan([ended(all_done())])
        run = json.loads(submit(double, "--data-digest", DIGEST).stdout)["id"]
        double.kfdet("status", run)
        assert "the pods are gone" in double.kfdet("logs", run, "train", code=1).stderr

    def test_what_is_not_there_is_answered_with_the_closest_name(self, double):
        submit(double, "--data-digest", DIGEST)
        assert 'Did you mean "shapes"?' in double.kfdet("status", "shape", code=1).stderr
        done = double.kfdet("runs", "--experiment", "kfdt", code=1)
        assert 'there is no experiment "kfdt"' in done.stderr
        assert 'Did you mean "kfdet"?' in done.stderr
        unknown = "00000000-0000-0000-0000-000000000000"
        assert "does not exist" in double.kfdet("status", unknown, code=1).stderr


class TestFailures:
    @pytest.mark.parametrize(
        ("mode", "said"),
        [
            ("forbidden", "not authorised: User 'jane@example.com'"),
            ("broken", "the server failed with 500: InternalServerError: the database is gone"),
            ("only v1", "speaks the API v1beta1 alone"),
            ("something else", "is no Kubeflow Pipelines"),
            ("login page", "answers with a page instead of data"),
        ],
    )
    def test_a_server_that_will_not(self, double, mode, said):
        double.behave(mode)
        begun = time.monotonic()
        assert said in double.kfdet("runs", code=1).stderr
        assert time.monotonic() - begun < 30

    @pytest.mark.parametrize("body", ['"denied"', "null", "[]"])
    def test_an_error_whose_body_is_no_object(self, double, body):
        double.behave("another body", status=403, body=body)
        assert "not authorised" in double.kfdet("runs", code=1).stderr

    @pytest.mark.parametrize("body", ["{}", "[]", '"ok"'])
    def test_an_answer_that_is_something_else_is_an_error(self, double, body):
        double.behave("another body", status=200, body=body, path="/v2beta1/runs")
        assert "answers with" in submit(double, "--data-digest", DIGEST, code=1).stderr

    @pytest.mark.parametrize("host", ["http://[::1", "http://kubeflow.example:99999"])
    def test_an_address_that_is_none(self, double, host):
        assert "is no address" in double.kfdet("runs", "--host", host, code=2).stderr

    def test_a_conflict_is_told(self, double):
        double.behave("conflict", path="/experiments$", times=99)
        done = submit(double, "--data-digest", DIGEST, code=1)
        assert "exists already" in done.stderr

    def test_nobody_there(self, double):
        done = double.kfdet("runs", code=1, host="http://127.0.0.1:1")
        assert "http://127.0.0.1:1: can't be reached: nobody listens there" in done.stderr
        done = double.kfdet("runs", code=1, host="http://kubeflow.invalid")
        assert "there is no host of that name" in done.stderr

    def test_no_address_at_all(self, double):
        done = double.kfdet("runs", code=2, environment={"KF_PIPELINES_ENDPOINT": ""})
        assert "no address of Kubeflow Pipelines is known" in done.stderr
        assert "port-forward" in done.stderr

    @pytest.mark.parametrize(
        ("key", "path", "shown"),
        [
            ("dataset.label_map", "../data/label_map.pbtxt", "/mnt/data/label_map.pbtxt"),
            ("registry.uri", "/mnt/kfdet/../registry", "/mnt/registry"),
            ("cluster.model_root", "models/../../../models", "/models"),
            ("training.init_checkpoint", "/mnt/kfdet/.", "/mnt/kfdet"),
        ],
    )
    def test_a_path_that_leads_out_of_its_volume_is_refused(self, double, key, path, shown):
        done = submit(double, "--set", f"{key}={path}", code=11)
        assert f"on no volume of the pods: {key} {shown};" in done.stderr
        assert not double.seen("POST", "/apis/v2beta1/runs")

    def test_a_pattern_that_leads_out_of_its_volume_is_refused(self, double):
        done = submit(double, "--set", "dataset.train=../data/train-*.tfrecord", code=11)
        assert "on no volume of the pods: dataset.train /mnt/data/train-*" in done.stderr

    def test_a_path_that_goes_up_and_stays_on_its_volume_is_sent_plain(self, double):
        submit(double, "--set", "dataset.train=./a/../data//train-*.tfrecord")
        (request,) = double.seen("POST", "/apis/v2beta1/runs")
        dataset = json.loads(request["body"]["runtime_config"]["parameters"]["dataset"])
        assert dataset["train"] == ["/mnt/kfdet/data/train-*.tfrecord"]

    @pytest.mark.parametrize(
        ("override", "said"),
        [
            ("training.device=gpu", "training.device is gpu, and training's pod asks for none"),
            ("cluster.train.shared_memory=17Gi", "is more than the 16Gi of memory"),
            ("resources.inference.memory=900M", "shared memory of 1Gi is more than the 900M"),
        ],
    )
    def test_what_no_pod_could_do_is_refused_before_anything_is_sent(self, double, override, said):
        assert said in submit(double, "--set", override, code=11).stderr
        assert not double.seen("POST", "/apis/v2beta1/runs")

    def test_a_gpu_that_is_asked_for_may_be_required(self, double):
        submit(double, "--set", "training.device=gpu", "--set", "resources.train.gpus=1")
        assert double.seen("POST", "/apis/v2beta1/runs")

    def test_paths_on_no_volume_are_refused_before_anything_is_sent(self, double):
        done = submit(double, "--set", "cluster.volumes=[]", code=11)
        assert "on no volume of the pods: dataset.label_map /mnt/kfdet/data" in done.stderr
        assert not double.control("seen", method="GET")["requests"]


class TestAuthentication:
    @pytest.fixture(scope="class")
    def guarded(self, tmp_path_factory):
        folder = tmp_path_factory.mktemp("guarded")
        (folder / "run.yaml").write_text(yaml.safe_dump(configuration()))
        with started(folder, "--token", "s3cret-token", "--multi-user") as double:
            yield double

    def test_a_token_opens_from_the_environment_a_file_or_the_cluster(self, guarded):
        file = guarded.folder / "token"
        file.write_text("s3cret-token\n")
        for variable, value in (
            ("KFDET_KFP_TOKEN", "s3cret-token"),
            ("KFDET_KFP_TOKEN_FILE", str(file)),
            ("KF_PIPELINES_SA_TOKEN_PATH", str(file)),
        ):
            done = guarded.kfdet("runs", "--namespace", "team", environment={variable: value})
            assert done.stdout == "no runs\n"

    def test_no_token_and_a_wrong_one_are_told_apart_and_never_printed(self, guarded):
        done = guarded.kfdet("runs", "--namespace", "team", code=1)
        assert "not authenticated" in done.stderr
        assert "is missing" in done.stderr
        done = guarded.kfdet(
            "runs", "--namespace", "team", code=1, environment={"KFDET_KFP_TOKEN": "wr0ng"}
        )
        assert "is wrong or has expired" in done.stderr
        assert "wr0ng" not in done.stdout + done.stderr

    def test_cookies_are_sent(self, guarded):
        guarded.kfdet(
            "runs",
            "--namespace",
            "team",
            environment={"KFDET_KFP_COOKIES": "session=abc", "KFDET_KFP_TOKEN": "s3cret-token"},
        )
        assert guarded.seen("GET", "/apis/v2beta1/runs")[-1]["cookie"] == "session=abc"

    @pytest.mark.parametrize("variable", ["KFDET_KFP_COOKIES", "KFDET_KFP_TOKEN"])
    @pytest.mark.parametrize("bad", ["\x01", "\u20ac"])
    def test_a_secret_that_no_header_can_carry_is_refused_and_not_printed(
        self, guarded, variable, bad
    ):
        done = guarded.kfdet("runs", code=2, environment={variable: f"x=s3cret{bad}1"})
        assert f"{variable}: character 9 can't be sent" in done.stderr
        assert "s3cret" not in done.stdout + done.stderr

    def test_a_cookie_with_a_line_s_end_is_sent_without_it(self, guarded):
        environment = {"KFDET_KFP_COOKIES": "session=abc\n", "KFDET_KFP_TOKEN": "s3cret-token"}
        guarded.kfdet("runs", "--namespace", "team", environment=environment)
        assert guarded.seen("GET", "/apis/v2beta1/runs")[-1]["cookie"] == "session=abc"

    def test_many_users_need_a_namespace(self, guarded):
        environment = {"KFDET_KFP_TOKEN": "s3cret-token"}
        done = guarded.kfdet("runs", code=1, environment=environment)
        assert "Name yours with --namespace" in done.stderr

    def test_no_secret_can_be_given_on_a_command_line(self):
        for verb in ("submit", "schedule", "runs", "status", "logs", "terminate"):
            options = re.findall(r"--[a-z-]+", help_text(verb) + help_text(verb, "create"))
            assert options
            assert not {"--token", "--cookie", "--cookies", "--password"} & set(options), verb

    def test_a_secret_that_the_server_repeats_is_not_printed(self, guarded):
        environment = {"KFDET_KFP_TOKEN": "s3cret-token", "KFDET_KFP_COOKIES": "session=h1dden"}
        arguments = ("runs", "--namespace", "team")
        guarded.behave("repeats secrets")
        try:
            done = guarded.kfdet(*arguments, code=1, environment=environment)
        finally:
            guarded.control("reset")
        assert "***" in done.stderr
        assert "s3cret" not in done.stdout + done.stderr
        assert "h1dden" not in done.stdout + done.stderr

    def test_a_password_in_the_address_is_refused_and_not_repeated(self, guarded):
        done = guarded.kfdet("runs", "--host", "https://jane:hunter2@kubeflow.example", code=2)
        assert "holds a user or a password" in done.stderr
        assert "hunter2" not in done.stderr


def test_compile_writes_what_submit_would_send(double, tmp_path):
    target = tmp_path / "pipeline.yaml"
    double.kfdet("compile", "--config", "run.yaml", "--output", target)
    sent = json.loads(submit(double, "--dry-run").stdout)["run"]["runtime_config"]["parameters"]
    assert json.loads(target.with_suffix(".parameters.json").read_text()) == sent
    (pipeline, platform) = yaml.safe_load_all(target.read_text())
    assert "exec-fingerprint" in pipeline["deploymentSpec"]["executors"]
    train = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]["exec-train"]
    assert train["pvcMount"][0]["mountPath"] == "/mnt/kfdet"
