"""Container file, compose file and manifests: clean to those who judge such files, and at one with the bridge.

Schemas and rules come from packages that others keep: hadolint, the Compose Specification's, Kubernetes' own.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from bridge.settings import Settings, load

ROOT = Path(__file__).parent.parent
CONFIG = ROOT / "config"
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
    """hadolint has nothing to say, not even for information."""
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
    """Read-only, without privileges, healthy or restarted, of a version; and all its secrets are files that it names."""
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
