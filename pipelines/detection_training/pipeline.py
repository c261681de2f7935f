"""The whole way: raw records in, a gated, exported, published detector out.

What a run's parameters can say is a parameter. What Kubernetes reads before there are any (taints,
volumes, secrets, time limits) is compiled in from the run's section `cluster`.
"""

from typing import List, Literal

from kfp import dsl, kubernetes

from components.evaluate.component import evaluate
from components.export.component import export
from components.fingerprint.component import fingerprint
from components.gate.component import gate
from components.merge.component import merge
from components.publish.component import publish
from components.render.component import render
from components.select.component import select
from components.train.component import train
from components.validate.component import validate
from kfdet.schema.run_config import ClusterConfig, TaskPolicy

_DEFAULTS = ClusterConfig()


def _place(task: dsl.PipelineTask, cluster: ClusterConfig, policy: TaskPolicy) -> dsl.PipelineTask:
    """Says where a task's pods run, what they see and how long, and when they are tried again."""
    task.set_retry(
        num_retries=policy.retries,
        backoff_duration=f"{policy.backoff_s}s",
        backoff_factor=policy.backoff_factor,
        backoff_max_duration=f"{policy.backoff_max_s}s",
    )
    kubernetes.set_timeout(task, policy.timeout_s)
    for key, value in policy.node_selector.items():
        kubernetes.add_node_selector(task, label_key=key, label_value=value)
    for toleration in policy.tolerations:
        kubernetes.add_toleration(task, **toleration.model_dump())
    if policy.shared_memory:
        kubernetes.empty_dir_mount(
            task, "dshm", "/dev/shm", medium="Memory", size_limit=policy.shared_memory  # noqa: S108
        )
    for volume in cluster.volumes:
        kubernetes.mount_pvc(task, volume.claim, volume.path, sub_path=volume.sub_path)
    for secret in cluster.secrets:
        kubernetes.use_secret_as_env(
            task, secret_name=secret.name, secret_key_to_env=secret.env, optional=secret.optional
        )
    if cluster.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(cluster.image_pull_secrets))
    for key, value in cluster.labels.items():
        kubernetes.add_pod_label(task, key, value)
    for key, value in cluster.annotations.items():
        kubernetes.add_pod_annotation(task, key, value)
    return task


def build(
    cluster: ClusterConfig = _DEFAULTS,
    *,
    digest_taken: Literal["before", "in the pipeline"] = "before",
):
    """Returns the pipeline for a cluster.

    Args:
        cluster: What is compiled in.
        digest_taken: Before: the parameter `data_digest` names the data's bytes. In the pipeline:
            a task of its own reads them each time, for data that only the cluster can read and
            for schedules, whose data change.
    """

    @dsl.pipeline(name="detection-training", description=_DESCRIPTION)
        def pipeline(
            run_name: str,
            dataset: str,
            data_digest: str,
            detector: str,
            training: str,
            policy: str,
            parity: str,
            model_root: str,
            registry: str,
            model: str,
            shards: List[int] = [0, 1],  # noqa: B006 kfp reads the default and never changes it
            num_shards: int = 2,
            evaluation_batch_size: int = 8,
            engine: str = "hotcoco",
            select_metric: str = "ap",
        ):
            validated = light(validate(dataset=dataset, data_digest=data_digest))

            rendered = light(
                render(
                    detector=detector,
                    training=training,
                    manifest=validated.outputs["manifest"],
                    statistics=validated.outputs["statistics"],
                )
            )

            trained = _request(
                train(
                    model_root=model_root,
                    experiment=rendered.outputs["experiment"],
                    manifest=validated.outputs["manifest"],
                ),
                resources=resources.train,
            )

            selected = inference(
                select(
                    metric=select_metric,
                    batch_size=evaluation_batch_size,
                    engine=engine,
                    experiment=rendered.outputs["experiment"],
                    manifest=validated.outputs["manifest"],
                    summary=trained.outputs["summary"],
                )
            )

            # Tasks in the loop take what others made as artifacts: kfp.local 2.17 puts the loop's item
        # in the place of every output parameter that is passed into a loop.
        with dsl.ParallelFor(items=shards, name="evaluate-shards") as shard:
                evaluated = inference(
                    evaluate(
                        shard=shard,
                        num_shards=num_shards,
                        split="test",
                        selected=selected.outputs["selected"],
                        batch_size=evaluation_batch_size,
                        experiment=rendered.outputs["experiment"],
                        manifest=validated.outputs["manifest"],
                    )
                )

            merged = light(
                merge(
                    split="test",
                    engine=engine,
                    shards=dsl.Collected(evaluated.outputs["detections"]),
                    manifest=validated.outputs["manifest"],
                )
            )

            # The champion may have changed since an equal gate ran: never from the cache.
            gated = light(
                gate(
                    policy=policy,
                    registry=registry,
                    model=model,
                    metrics_json=merged.outputs["metrics_json"],
                )
            ).set_caching_options(enable_caching=False)

            with dsl.If(gated.outputs["decision"] == "pass", name="passed"):
                exported = inference(
                    export(
                        selected=selected.outputs["selected"],
                        parity=parity,
                        export_root=model_root,
                        experiment=rendered.outputs["experiment"],
                        manifest=validated.outputs["manifest"],
                    )
                )
                light(
                    publish(
                        export_uri=exported.outputs["export_uri"],
                        registry=registry,
                        model=model,
                        run_name=run_name,
                        decision_json=gated.outputs["decision_json"],
                        metrics_json=merged.outputs["metrics_json"],
                    )
                ).set_caching_options(enable_caching=False)

        return pipeline


    def _request(task: dsl.PipelineTask, *, resources: TaskResources) -> dsl.PipelineTask:
        task.set_cpu_request(resources.cpu).set_cpu_limit(resources.cpu)
        task.set_memory_request(resources.memory).set_memory_limit(resources.memory)
        if resources.gpus:
            task.set_accelerator_type(resources.gpu_type).set_accelerator_limit(resources.gpus)
        return task

    return detection_training


detection_training = build()
