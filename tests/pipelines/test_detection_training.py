"""The compiled pipeline: a golden, well formed for a cluster, and shut behind its gate."""

from pathlib import Path

import pytest
import yaml
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from kfdet.schema.run_record import CHAMPION_TASKS, STAGES

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "pipelines" / "detection_training" / "pipeline.yaml"


@pytest.fixture(scope="module")
def documents():
    return list(yaml.safe_load_all(GOLDEN.read_text()))


@pytest.fixture(scope="module")
def spec(documents):
    return json_format.ParseDict(documents[0], pipeline_spec_pb2.PipelineSpec())


def test_the_golden_is_what_the_source_compiles_to():
    from scripts.generate import compiled_pipeline

    assert compiled_pipeline() == GOLDEN.read_text(), "regenerate it with: make generate"


def test_it_parses_into_the_pipeline_protos(documents, spec):
    deployment = json_format.ParseDict(
        documents[0]["deploymentSpec"], pipeline_spec_pb2.PipelineDeploymentConfig()
    )
    assert spec.pipeline_info.name == "detection-training"
    tasks = (*STAGES, *CHAMPION_TASKS)
    assert set(deployment.executors) == {f"exec-{task}" for task in tasks}
    for platform in documents[1:]:
        json_format.ParseDict(platform, pipeline_spec_pb2.PlatformSpec())


def test_only_a_pass_reaches_export_and_publish(spec):
    root = spec.root.dag.tasks
    assert "export" not in root
    assert "publish" not in root
    (condition,) = [task for task in root.values() if task.trigger_policy.condition]
    inside = spec.components[condition.component_ref.name].dag.tasks
    assert set(inside) == {"export", "publish"}
    # kfp.local resolves no other name than Output, and runs neither branch for one.
    expected = "inputs.parameter_values['pipelinechannel--gate-Output'] == 'pass'"
    assert condition.trigger_policy.condition == expected
    assert "gate" in condition.dependent_tasks


def test_gate_and_publish_are_never_taken_from_the_cache(spec):
    def caching(tasks):
        found = {}
        for name, task in tasks.items():
            component = spec.components[task.component_ref.name]
            if component.WhichOneof("implementation") == "dag":
                found |= caching(component.dag.tasks)
            else:
                found[name] = task.caching_options.enable_cache
        return found

    uncached = {name for name, cached in caching(spec.root.dag.tasks).items() if not cached}
    assert uncached == {"gate", "publish", "champion", "champion-record"}


def test_the_champion_is_evaluated_only_where_it_was_measured_elsewhere(spec):
    root = spec.root.dag.tasks
    inside = spec.components["comp-champion-on-the-same-images"].dag.tasks
    assert "champion-on-the-same-images" in root["gate"].dependent_tasks
    (looked,) = [name for name, task in inside.items() if not task.trigger_policy.condition]
    (condition,) = [task for task in inside.values() if task.trigger_policy.condition]
    assert looked == "champion"
    assert condition.trigger_policy.condition == (
        "inputs.parameter_values['pipelinechannel--champion-Output'] == 'evaluate'"
    )


def test_every_task_has_a_name_that_no_other_has(spec):
    """On a cluster, a node is called by the key of its task, on one machine by its shown name."""
    names = [
        (key, task.task_info.name)
        for component in (spec.root, *spec.components.values())
        for key, task in component.dag.tasks.items()
        if spec.components[task.component_ref.name].executor_label
    ]
    assert sorted(names) == sorted((task, task) for task in (*STAGES, *CHAMPION_TASKS))


def test_tasks_that_work_for_the_gate_say_so(documents):
    told = {
        name.removeprefix("exec-")
        for name, executor in documents[0]["deploymentSpec"]["executors"].items()
        if {"name": "KFDET_STAGE", "value": "gate"} in executor["container"].get("env", [])
    }
    assert told == set(CHAMPION_TASKS)


def loops(spec):
    return {
        task.parameter_iterator.items.input_parameter.removeprefix("pipelinechannel--"): task
        for task in spec.root.dag.tasks.values()
        if task.HasField("parameter_iterator")
    }


def test_a_loop_item_is_an_index_and_not_a_list_of_files(spec):
    assert set(loops(spec)) == {"groups", "shards"}
    for name, items in (("groups", [0]), ("shards", [0, 1])):
        default = spec.root.input_definitions.parameters[name].default_value
        assert [item.number_value for item in default.list_value.values] == items


def test_no_output_parameter_is_passed_into_a_loop(spec):
    """kfp.local 2.17 puts the loop's item in its place, where kfdet run does not prevent it."""
    for loop in loops(spec).values():
        kinds = {value.WhichOneof("kind") for value in loop.inputs.parameters.values()}
        assert kinds == {"component_input_parameter"}


def test_render_waits_for_the_verdict_on_all_groups(spec):
    root = spec.root.dag.tasks
    (before,) = root["validate"].dependent_tasks
    assert root[before] == loops(spec)["groups"]
    assert "validate" in root["render"].dependent_tasks


def test_nothing_is_trained_before_the_gate_is_found_to_be_in_reach(spec):
    root = spec.root.dag.tasks
    assert "check" in root["train"].dependent_tasks
    assert {"render", "validate"} <= set(root["check"].dependent_tasks)


def test_every_task_states_its_resources(documents):
    for name, executor in documents[0]["deploymentSpec"]["executors"].items():
        resources = executor["container"]["resources"]
        assert {
            "resourceCpuLimit",
            "resourceCpuRequest",
            "resourceMemoryLimit",
            "resourceMemoryRequest",
        } <= set(resources), name


def test_images_have_no_entrypoint_of_their_own_and_are_named_in_one_place(documents):
    from components import _images

    images = {
        executor["container"]["image"]
        for executor in documents[0]["deploymentSpec"]["executors"].values()
    }
    assert images == {_images.LIGHT, _images.TENSORFLOW}


def test_kfp_is_the_pinned_version_whose_local_conditions_hold():
    import kfp

    assert kfp.__version__ == "2.17.0"
