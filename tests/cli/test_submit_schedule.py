"""Schedules: the real command against a server that speaks the v2beta1 API."""

import json

import pytest
from cluster_cases import all_done, ended


def listed(double):
    return json.loads(double.kfdet("schedule", "list", "--json").stdout)


def test_a_schedule_from_its_creation_to_its_end(double):
    done = double.kfdet("schedule", "run.yaml", "--cron", "0 3 * * 1", "--max-concurrency", "2")
    assert "at 03:00 on Monday" in done.stdout
    assert "UTC unless it is set otherwise" in done.stdout
    (request,) = double.seen("POST", "/apis/v2beta1/recurringruns")
    body = request["body"]
    # Five fields as they stand would fire every hour at minute 3, on days in January.
    assert body["trigger"] == {"cron_schedule": {"cron": "0 0 3 * * 1"}}
    assert (body["mode"], body["max_concurrency"], body["no_catchup"]) == ("ENABLE", "2", True)
    assert body["display_name"] == "shapes"
    assert "at 03:00 on Monday" in body["description"]
    tasks = body["pipeline_spec"]["pipeline_spec"]["root"]["dag"]["tasks"]
    assert "fingerprint" in tasks
    # Kubeflow Pipelines 2 fills none of the scheduler's marks in.
    assert "[[" not in json.dumps(body)
    assert body["runtime_config"]["parameters"]["run_name"] == "shapes"

    (entry,) = listed(double)
    assert entry["when"] == "at 03:00 on Monday"
    assert (entry["state"], entry["catch_up"], entry["max_concurrency"]) == ("active", "latest", 2)

    double.plan([ended({"fingerprint": "SUCCEEDED"} | all_done())])
    started_run = double.control(f"tick/{entry['id']}")["started"]
    (run,) = json.loads(double.kfdet("runs", "--json").stdout)
    assert (run["id"], run["schedule"]) == (started_run, entry["id"])
    stages = json.loads(double.kfdet("status", started_run, "--json").stdout)["stages"]
    assert stages[0]["stage"] == "fingerprint"

    double.kfdet("schedule", "pause", "shapes")
    assert listed(double)[0]["state"] == "paused"
    assert double.control(f"tick/{entry['id']}")["started"] is None
    double.kfdet("schedule", "resume", entry["id"])
    assert listed(double)[0]["state"] == "active"
    double.kfdet("schedule", "delete", "shapes")
    assert listed(double) == []
    assert "no schedules" in double.kfdet("schedule", "list").stdout


def test_six_fields_are_sent_as_they_are_and_put_into_words(double):
    done = double.kfdet("schedule", "run.yaml", "--cron", "30 0 3 * * 1-5", "--json")
    answer = json.loads(done.stdout)
    assert answer["when"].startswith("at 03:00:30 on Monday to Friday")
    (request,) = double.seen("POST", "/apis/v2beta1/recurringruns")
    assert request["body"]["trigger"] == {"cron_schedule": {"cron": "30 0 3 * * 1-5"}}


def test_runs_do_not_overlap_unless_asked_and_the_latest_missed_one_alone_is_made_up_for(double):
    answer = json.loads(
        double.kfdet("schedule", "run.yaml", "--cron", "@daily", "--json", "--dry-run").stdout
    )
    body = answer["recurring_run"]
    assert (body["max_concurrency"], body["no_catchup"]) == ("1", True)
    shown = double.kfdet("schedule", "run.yaml", "--cron", "@daily", "--dry-run").stdout
    assert "1; one that would be more waits" in shown
    assert "the latest missed one alone" in shown


def test_missed_runs_are_all_made_up_for_when_asked(double):
    double.kfdet("schedule", "create", "run.yaml", "--cron", "@daily", "--catch-up", "all")
    (request,) = double.seen("POST", "/apis/v2beta1/recurringruns")
    assert request["body"]["no_catchup"] is False


def test_a_second_schedule_of_a_name_is_refused(double):
    double.kfdet("schedule", "run.yaml", "--cron", "@daily")
    done = double.kfdet("schedule", "run.yaml", "--cron", "@hourly", code=1)
    assert 'there is a schedule "shapes" already' in done.stderr
    double.kfdet("schedule", "run.yaml", "--cron", "@hourly", "--name", "hourly")
    assert {entry["name"] for entry in listed(double)} == {"shapes", "hourly"}
    done = double.kfdet("schedule", "pause", "hourl", code=1)
    assert 'Did you mean "hourly"?' in done.stderr


def test_a_dry_run_sends_nothing(double):
    done = double.kfdet(
        "schedule", "run.yaml", "--cron", "30 4 1 * *", "--dry-run", host="http://127.0.0.1:1"
    )
    assert "at 04:30 on day 1 of the month" in done.stdout
    assert "nothing was sent" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--cron", "0 3 * *"), "has 4 fields"),
        (("--cron", "0 0 3 * * 1 2026"), "has 7 fields"),
        (("--cron", "@daily", "--max-concurrency", "11"), "expected 1 to 10"),
    ],
)
def test_what_the_server_would_refuse_is_refused_here(double, arguments, said):
    done = double.kfdet("schedule", "run.yaml", *arguments, code=2)
    assert said in done.stderr
    assert not double.control("seen", method="GET")["requests"]
