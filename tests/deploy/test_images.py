"""configs/serve: the image, and the files for Ray and Kubernetes, held against the command and the code they name."""

import dataclasses
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from multiattn.cli.serve import choices_of, parser, settings_of
from multiattn.deploy.http.settings import Settings
from multiattn.deploy.ray_app import HEAD, Scale, build
from multiattn.deploy.ray_cluster import ray_module
from multiattn.registry import tasks
from tests.ray_marks import RAY

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "configs/serve"
GUIDE = ROOT / "docs/guides/many-machines.md"


def with_ray(test: Any) -> Any:
    for mark in RAY:
        test = mark(test)
    return test


# --- the image ---


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, each with what follows it."""
    lines = [line for line in (FOLDER / "Dockerfile").read_text().splitlines() if not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def of(name: str) -> list[str]:
    return [rest for word, rest in instructions() if word == name]


def copied() -> list[Path]:
    """What is copied from the checkout."""
    found = [shlex.split(rest) for rest in of("COPY") if not rest.startswith("--from=build ")]
    return [ROOT / source for words in found for source in words[:-1]]


def served(arguments: list[str]) -> Any:
    """What `multiattn serve` makes of a command: its options."""
    assert arguments[:2] == ["multiattn", "serve"]
    return parser().parse_args(arguments[2:])


def test_what_the_image_copies_is_there() -> None:
    assert len(copied()) > 5
    assert [path for path in copied() if not path.exists()] == []


def test_the_image_serves_as_a_user_without_rights_and_says_how_it_is() -> None:
    (command,) = of("CMD")
    args = served(json.loads(command))
    settings = settings_of(args)
    assert (settings.host, str(settings.port)) == ("0.0.0.0", *of("EXPOSE"))
    assert [one.task for one in choices_of(args)] == [name for name, spec in tasks().items() if spec.shipped]
    assert [word for word, _ in instructions()].index("USER") < [word for word, _ in instructions()].index("CMD")
    assert of("USER") == ["10001"]
    assert of("VOLUME") == ["/models"]
    (check,) = of("HEALTHCHECK")
    code = json.loads(check[check.index("[") :])
    assert code[:2] == ["python", "-c"] and f"http://127.0.0.1:{settings.port}/health" in code[2]
    compile(code[2], "HEALTHCHECK", "exec")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_install_steps_of_the_image_install_what_serves(tmp_path) -> None:
    """The RUN lines with pip, in a folder with what is copied; pip's own cache spares the downloads."""
    source, venv = tmp_path / "src", tmp_path / "venv"
    source.mkdir()
    for path in copied():
        target = source / path.relative_to(ROOT)
        shutil.copytree(path, target, symlinks=True) if path.is_dir() else shutil.copy(path, target)
    steps = [step for step in of("RUN") if "/opt/venv" in step]
    assert len(steps) == 2
    for step in steps:
        command = step.replace("/opt/venv", str(venv)).replace("--no-cache-dir ", "")
        subprocess.run(["bash", "-euc", command], cwd=source, env=_environment(EXTRA="serve"), check=True)
    assert "--engine" in _output(venv / "bin/multiattn", "serve", "--help")
    code = "import multiattn, multiattn.tasks, fastapi, uvicorn; print(multiattn.__file__)"
    assert str(venv) in _output(venv / "bin/python", "-c", code)
    picture = ROOT / "assets/inputs/frog.png"
    assert json.loads(_output(venv / "bin/multiattn", "classify", picture, "--format", "json"))["predictions"]


def _environment(**more: str) -> dict[str, str]:
    import os

    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | more


def _output(*command: Any) -> str:
    done = subprocess.run([*map(str, command)], cwd="/", env=_environment(), capture_output=True, text=True, check=True)
    return done.stdout


# --- Ray ---


def applications(name: str) -> list[dict[str, Any]]:
    """The applications of a file for Ray Serve or KubeRay, which Ray has found right."""
    from ray.serve.schema import ServeDeploySchema

    read = yaml.safe_load((FOLDER / name).read_text())
    if read.get("kind") == "RayService":
        read = yaml.safe_load(read["spec"]["serveConfigV2"])
    ServeDeploySchema.model_validate(read)
    found: list[dict[str, Any]] = read["applications"]
    return found


@with_ray
@pytest.mark.parametrize("name", ["ray.yaml", "kuberay.yaml"])
def test_a_file_names_what_there_is(name) -> None:
    ray_module()
    (one,) = applications(name)
    assert one["import_path"] == f"{build.__module__}:{build.__name__}"
    build(one["args"])  # every argument is one of ours
    assert set(one["args"]["models"]) == {name for name, spec in tasks().items() if spec.shipped}
    known = {*one["args"]["models"], HEAD}
    assert {other["name"] for other in one.get("deployments", ())} <= known


@with_ray
def test_a_file_states_what_is_so_by_default() -> None:
    ray_module()
    (one,) = applications("ray.yaml")
    defaults = {field.name: field.default for kind in (Scale, Settings) for field in dataclasses.fields(kind)}
    different = {name: value for name, value in one["args"].items() if value != defaults.get(name)}
    assert different == {"models": one["args"]["models"], "max_replicas": 4}


@with_ray
def test_serve_build_writes_the_same_deployments() -> None:
    ray_module()
    from click.testing import CliRunner
    from ray.serve.scripts import build as serve_build

    done = CliRunner().invoke(serve_build, ["multiattn.deploy.ray_app:app"])
    assert done.exit_code == 0, done.output
    (one,) = yaml.safe_load(done.output[done.output.index("proxy_location:") :])["applications"]
    (ours,) = applications("ray.yaml")
    assert {other["name"] for other in one["deployments"]} == {*ours["args"]["models"], HEAD}


# --- Kubernetes ---


def test_the_cluster_gives_replicas_time_to_end_and_the_cores_that_they_reserve() -> None:
    read = yaml.safe_load((FOLDER / "kuberay.yaml").read_text())
    args = yaml.safe_load(read["spec"]["serveConfigV2"])["applications"][0]["args"]
    cluster = read["spec"]["rayClusterConfig"]
    (worker,) = cluster["workerGroupSpecs"]
    for group in (cluster["headGroupSpec"], worker):
        pod = group["template"]["spec"]
        assert pod["terminationGracePeriodSeconds"] > args["drain"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert str(pod["securityContext"]["runAsUser"]) in of("USER")
        (container,) = pod["containers"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes
        assert "/models" in {mount["mountPath"] for mount in container["volumeMounts"]}
        assert "memory" in container["resources"]["limits"]
    cores = float(worker["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
    one_each = len(args["models"]) * args["cpus_per_replica"] * args["min_replicas"]
    assert cores * worker["minReplicas"] >= one_each + 0.1  # and the one that answers
    assert f"ray=={cluster['rayVersion']}\n" in (ROOT / "constraints.txt").read_text()


def test_the_deployment_of_the_guide_fits_the_image_and_the_command() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    found = [one for block in blocks for one in yaml.safe_load_all(block) if one.get("kind") == "Deployment"]
    (deployment,) = found
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    settings = settings_of(served([*container["command"], *container["args"]]))
    assert pod["terminationGracePeriodSeconds"] > settings.drain
    assert container["ports"] == [{"containerPort": settings.port}]
    paths = {name: container[name]["httpGet"] for name in ("startupProbe", "readinessProbe", "livenessProbe")}
    assert {name: path["path"] for name, path in paths.items()} == {
        "startupProbe": "/ready",
        "readinessProbe": "/ready",
        "livenessProbe": "/health",
    }
    assert {path["port"] for path in paths.values()} == {settings.port}
    assert str(pod["securityContext"]["runAsUser"]) in of("USER")
    assert "memory" in container["resources"]["limits"]
