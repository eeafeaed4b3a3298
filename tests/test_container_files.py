"""Container file, compose file and manifests: clean to those who judge such files, and at one with the bridge.

Schemas and rules come from packages that others keep: hadolint, the Compose Specification's, Kubernetes' own.
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # ships no types
import kubernetes_validate  # type: ignore[import-untyped]  # ships no types
import pytest
import yaml
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from servers import FLAVOURS, free_port
from typer.main import get_group
from waiting import wait_blocking

from bridge.cli import app
from bridge.settings import Settings, load

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "config"
PAGE = (ROOT / "docs" / "containers.md").read_text()
COMPOSE = yaml.safe_load((CONFIG / "compose.yaml").read_text())
MANIFESTS = {
    path.stem: list(yaml.safe_load_all(path.read_text())) for path in sorted((CONFIG / "kubernetes").glob("*.yaml"))
}
KUBERNETES = "1.29"
"""The oldest version that the manifests are for: the first with sidecars. The newest is whichever the package has."""

VALUES = {"webhook": "whsec_" + "MDEy" * 12, "http-token": "a-token-of-some-length"}


def loaded(text: str, directory: Path, mounted: dict[str, str]) -> Settings:
    """A configuration as its container finds it: with the secrets of `mounted`, by path, and no others."""
    for path, name in mounted.items():
        (directory / name).write_text(VALUES.get(name, "a-secret"))
        text = text.replace(f'"{path}"', f'"{directory / name}"')
    assert "/run/secrets" not in text, "it names a secret that isn't mounted"
    (directory / "bridge.toml").write_text(text)
    return load(directory / "bridge.toml", {})


def test_the_container_file_is_clean() -> None:
    """The linter hadolint has nothing to say, not even for information."""
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run(
        [program, "--failure-threshold=style", ROOT / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_the_compose_file_follows_the_specification() -> None:
    """By the schema of the Compose Specification."""
    found = find_spec("check_jsonschema")
    assert found is not None
    assert found.origin is not None
    schema = json.loads((Path(found.origin).parent / "builtin_schemas/vendor/compose-spec.json").read_text())
    jsonschema.validators.validator_for(schema)(schema).validate(COMPOSE)


@pytest.mark.parametrize("service", sorted(COMPOSE["services"]))
def test_every_service_is_closed(service: str) -> None:
    """Read-only, without privileges, healthy or restarted, of a version; its secrets are those files that it names."""
    taken = COMPOSE["services"][service]
    assert taken["read_only"] is True
    assert taken["cap_drop"] == ["ALL"]
    assert taken["security_opt"] == ["no-new-privileges:true"]
    assert taken["restart"] == "unless-stopped"
    assert taken["healthcheck"]["test"]
    assert re.search(r":\d+\.\d+\.\d+", taken["image"])
    assert "privileged" not in taken
    assert set(taken["secrets"]) <= COMPOSE["secrets"].keys()
    assert all(port.startswith("127.0.0.1:") for port in taken.get("ports", []))
    named = set(re.findall(r"/run/secrets/([\w-]+)", json.dumps(taken)))
    assert named <= set(taken["secrets"])
    assert all(each["condition"] == "service_healthy" for each in taken.get("depends_on", {}).values())


def test_the_bridge_of_the_compose_file_can_start(tmp_path: Path) -> None:
    """Its configuration has no mistake, with just the secrets that are mounted; names and ports agree."""
    bridge = COMPOSE["services"]["bridge"]
    assert "./compose.toml:/etc/runbridge/bridge.toml:ro" in bridge["volumes"]
    mounted = {f"/run/secrets/{name}": name for name in bridge["secrets"]}
    settings = loaded((CONFIG / "compose.toml").read_text(), tmp_path, mounted)

    assert settings.http.token is not None
    assert settings.http.listen == "0.0.0.0:8380"
    assert settings.grace < float(bridge["stop_grace_period"].removesuffix("s"))
    assert f"//{'log'}:6379/" in settings.redis.address
    assert {name for name in COMPOSE["services"] if name != "bridge"} == bridge["depends_on"].keys() == {"log", "app"}
    assert [each.address for each in settings.destinations.values()] == ["http://app:8080/hooks"]
    assert "receiver.py 8080" in COMPOSE["services"]["app"]["command"][-1]
    (sample,) = COMPOSE["services"]["app"]["volumes"]
    assert (CONFIG / sample.partition(":")[0]).is_file()


@pytest.mark.parametrize("version", [KUBERNETES, kubernetes_validate.latest_version()])
@pytest.mark.parametrize("name", sorted(MANIFESTS))
def test_the_manifests_follow_the_schema(name: str, version: str) -> None:
    """By Kubernetes' own, of the oldest and the newest version; no unknown key, and no namespace."""
    for manifest in MANIFESTS[name]:
        kubernetes_validate.validate(manifest, version, strict=True)
        assert "namespace" not in manifest["metadata"]


def of(name: str, kind: str) -> dict[str, Any]:
    """The only manifest of a kind."""
    (found,) = [manifest for manifest in MANIFESTS[name] if manifest["kind"] == kind]
    return dict(found)


def containers(pod: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """All of a pod."""
    yield from pod.get("initContainers", [])
    yield from pod["containers"]


@pytest.mark.parametrize("name", sorted(MANIFESTS))
def test_the_pods_are_restricted(name: str) -> None:
    """What the Pod Security Standard `restricted` asks for, a read-only root beside it, and no token of the cluster."""
    pod = of(name, "Deployment")["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in containers(pod):
        closed = container["securityContext"]
        assert closed["allowPrivilegeEscalation"] is False
        assert closed["readOnlyRootFilesystem"] is True
        assert closed["capabilities"] == {"drop": ["ALL"]}
        assert closed.get("runAsUser", pod["securityContext"].get("runAsUser", 0)) > 0
        assert {"requests", "limits"} == container["resources"].keys()
    assert {each["name"]: next(iter(each.keys() - {"name"})) for each in pod["volumes"]} == {
        "config": "configMap", "secrets": "secret", "state": "emptyDir",
    }  # fmt: skip


@pytest.mark.parametrize("name", sorted(MANIFESTS))
def test_the_bridge_of_a_manifest_can_start(name: str, tmp_path: Path) -> None:
    """Its configuration has no mistake, with just the secrets that the pod mounts; one replica, three probes."""
    deployment, secret = of(name, "Deployment")["spec"], of(name, "Secret")
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    pod = deployment["template"]["spec"]
    (bridge,) = [container for container in containers(pod) if container["name"] == "bridge"]
    mounts = {mount["name"]: mount["mountPath"] for mount in bridge["volumeMounts"]}
    assert mounts["config"] == "/etc/runbridge"
    volumes = {volume["name"]: volume for volume in pod["volumes"]}
    assert volumes["secrets"]["secret"]["secretName"] == secret["metadata"]["name"]
    assert volumes["config"]["configMap"]["name"] == of(name, "ConfigMap")["metadata"]["name"]
    assert set(secret["stringData"].values()) == {"REPLACE-ME"}

    mounted = {f"{mounts['secrets']}/{key}": key for key in secret["stringData"]}
    settings = loaded(of(name, "ConfigMap")["data"]["bridge.toml"], tmp_path, mounted)

    assert settings.grace < pod["terminationGracePeriodSeconds"]
    assert {"startupProbe", "livenessProbe", "readinessProbe"} <= bridge.keys()
    listens_everywhere = settings.http.listen.startswith("0.0.0.0")
    assert ("httpGet" in bridge["livenessProbe"]) == listens_everywhere  # the kubelet can't reach loopback
    assert (settings.http.token is not None) == listens_everywhere


def test_what_selects_the_pod_agrees() -> None:
    """Service, network policy and disruption budget mean the pod of the deployment, and its port."""
    template = of("standalone", "Deployment")["spec"]["template"]
    labels = template["metadata"]["labels"]
    assert of("standalone", "Service")["spec"]["selector"] == labels
    assert of("standalone", "NetworkPolicy")["spec"]["podSelector"] == {"matchLabels": labels}
    assert of("standalone", "PodDisruptionBudget")["spec"]["selector"] == {"matchLabels": labels}
    assert template["spec"]["serviceAccountName"] == of("standalone", "ServiceAccount")["metadata"]["name"]
    (port,) = template["spec"]["containers"][0]["ports"]
    assert {port["name"]} == {each["targetPort"] for each in of("standalone", "Service")["spec"]["ports"]}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the secrets that the page's own lines make."""
    (lines,) = re.findall(r"<!-- secrets: .*? -->\n```sh\n(.*?)```", PAGE, re.DOTALL)
    directory = tmp_path_factory.mktemp("checkout")
    (directory / "config").mkdir()
    environ = {"PATH": os.environ["PATH"], "HOME": str(directory), "BCTRL_API_KEY": "sk_page"}
    subprocess.run(["bash", "-euc", lines], cwd=directory, env=environ, check=True)
    return directory / "config" / "secrets"


def test_the_page_makes_every_secret(secrets: Path, tmp_path: Path) -> None:
    """Those that the compose file names, which the configuration takes; closed to other users of the machine."""
    assert {f"secrets/{path.name}" for path in secrets.iterdir()} == {s["file"] for s in COMPOSE["secrets"].values()}
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in secrets.iterdir()} == {0o444}
    (tmp_path / "bridge.toml").write_text((CONFIG / "compose.toml").read_text().replace("/run/secrets", str(secrets)))
    assert load(tmp_path / "bridge.toml", {}).http.token is not None


@contextmanager
def service(name: str, directory: Path, secrets: Path, change: dict[str, str], path: str = "") -> Iterator[Path]:
    """The command of a service, run here as a container would run it, but for `change`; its output's file."""
    command = [part.replace("$$", "$") for part in COMPOSE["services"][name]["command"]]
    for old, new in {"/run/secrets": str(secrets), **change}.items():
        command = [part.replace(old, new) for part in command]
    said = directory / f"{name}.said"
    with said.open("wb") as out:
        environ = {"PATH": f"{path}:{os.environ['PATH']}", "HOST": "127.0.0.1"}
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environ)
    try:
        yield said
    finally:
        process.kill()
        process.wait()


def test_the_log_of_the_compose_file_wants_its_password(secrets: Path, tmp_path: Path) -> None:
    """It starts as written, answers nobody without the password, and drops nothing for want of memory."""
    (tmp_path / "valkey-server").symlink_to(FLAVOURS["valkey"])
    port = free_port()
    change = {"/data": f"{tmp_path} --port {port} --bind 127.0.0.1"}
    with service("log", tmp_path, secrets, change, str(tmp_path)):
        password = (secrets / "redis-password").read_text().strip()
        once = Retry(NoBackoff(), 0)
        with Redis(port=port, protocol=2, retry=once, password=password) as redis:
            wait_blocking(lambda: _answers(redis), "the server to answer", 20.0)
            assert redis.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
            assert redis.config_get("appendonly") == {"appendonly": "yes"}
        with (
            Redis(port=port, protocol=2, retry=once) as stranger,
            pytest.raises(RedisError, match="Authentication required"),
        ):
            stranger.ping()


def _answers(redis: Redis) -> bool:
    try:
        return bool(redis.ping())
    except RedisError:
        return False


def test_the_application_of_the_compose_file_starts(secrets: Path, tmp_path: Path) -> None:
    """With the secret in its file, the sample listens."""
    sample = str(ROOT / "docs" / "samples" / "receiver.py")
    change = {"/app/receiver.py 8080": f"{sample} 0", "exec python": f"exec {sys.executable}"}
    with service("app", tmp_path, secrets, change) as said:
        wait_blocking(lambda: "listening on port" in said.read_text(), "the receiver to listen", 20.0)


def test_the_page_says_what_is_there() -> None:
    """Its commands and options are the program's, its services the compose file's, its numbers the image's."""
    container = (ROOT / "Dockerfile").read_text()
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert set(re.findall(r"runbridge:(\d[\d.]*)", PAGE)) == {version}
    assert f'version="{version}"' in container
    assert {each["image"] for each in COMPOSE["services"].values() if "build" in each} == {f"runbridge:{version}"}
    for number in ("65532:65532", "8380", "/etc/runbridge/bridge.toml", "/var/lib/runbridge"):
        assert number in container
        assert number in PAGE
    for command in re.findall(r"(?<=[`R ])runbridge ([a-z][^`\n]*)", PAGE.replace("`runbridge`", "")):
        name, *arguments = shlex.split(command)
        found = get_group(app).commands[name]
        options = {option for parameter in found.params for option in parameter.opts}
        assert {argument.partition("=")[0] for argument in arguments if argument[0] == "-"} <= options, command
    commands = re.findall(r"docker compose -f (\S+) (?:up|logs|exec|kill|restart)(.*?)[`\n]", PAGE)
    assert {file for file, _ in commands} == {"config/compose.yaml"}
    assert {words.split()[-1] for _, words in commands if "runbridge" not in words and "up" not in words} >= {"app"}
