"""The local cloud: ministack on 127.0.0.1, and the real `sam build` and `sam deploy` of template.yaml against it.

`make run` keeps one on port 4566 under .local/; tests start their own on a free port with their own state.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from infra import release
from infra.local.background import Background, Failed

ROOT = release.ROOT
REGION = "us-east-1"  # where ministack lives unless told otherwise
NO_RELEASE = "0" * 10  # the default of the parameter Release in template.yaml
ARTIFACTS = "kaquan-artifacts"  # the bucket that sam uploads to
KEPT_BUILDS = 3  # so that switching between two branches does not build each time

# Nothing of a developer's own AWS account may leak into the local cloud, nor the other way round.
_FOREIGN = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_WEB_IDENTITY_TOKEN_FILE")


@dataclass
class LocalCloud:
    """One ministack with its state in `state_dir`. `env` is given to it and, through it, to every function."""

    port: int
    state_dir: Path
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @cached_property
    def process(self) -> Background:
        state = self.state_dir
        return Background(
            name="cloud",
            command=[sys.executable, "-m", "ministack"],
            folder=state,
            port=self.port,
            health_url=f"{self.url}/_ministack/health",
            env={
                **self._credentials,
                "BIND_HOST": "127.0.0.1",  # the default is every interface
                "GATEWAY_PORT": str(self.port),
                "PERSIST_STATE": "1",
                "STATE_DIR": str(state / "state"),
                "S3_PERSIST": "1",
                "S3_DATA_DIR": str(state / "s3"),
                "TMPDIR": str(state / "tmp"),  # workers unpack their code here: gone with `make reset`
                "IOT_MTLS_ENABLED": "0",  # or it opens port 8883 on every interface
                "LOG_LEVEL": "WARNING",
                "NO_PROXY": "127.0.0.1,localhost",
                **self.env,
            },
        )

    @property
    def _credentials(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": REGION,
            "AWS_REGION": REGION,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def start(self) -> bool:
        """Start it and wait until it answers. False if it was running already."""
        if not self.process.running():
            shutil.rmtree(self.state_dir / "tmp", ignore_errors=True)  # what workers of the last time left behind
            self._rewind_streams()
        for name in ("state", "s3", "tmp"):
            (self.state_dir / name).mkdir(parents=True, exist_ok=True)
        return self.process.start()

    def stop(self) -> bool:
        """Stop it; its state is saved then, and only then."""
        return self.process.stop()

    def reset(self) -> None:
        """Stop it and forget everything."""
        self.stop()
        shutil.rmtree(self.state_dir, ignore_errors=True)

    def client(self, service: str, **config: Any) -> Any:
        """A boto3 client that talks to this cloud."""
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
            config=Config(retries={"max_attempts": 2}, **config),
        )

    def deploy(self, stack: str, parameters: Mapping[str, str]) -> bool:
        """Build and deploy template.yaml as `stack`. False if this very thing is there already."""
        wanted = release.digest([release.sources(), *(f"{name}={value}" for name, value in parameters.items())])
        memory = self.state_dir / f"{stack}.deployed"
        if memory.exists() and memory.read_text() == f"{wanted} {self._identity(stack)}":
            return False
        self._make_bucket()
        # ministack expands SAM with the defaults of parameters: the release, which names versions, has to be one.
        built = build() / "template.yaml"
        template = built.with_name(f"{wanted}.yaml")
        template.write_text(built.read_text().replace(NO_RELEASE, wanted))
        sam(
            "deploy",
            *("--template-file", str(template)),
            *("--stack-name", stack, "--s3-bucket", ARTIFACTS, "--s3-prefix", stack, "--region", REGION),
            *("--capabilities", "CAPABILITY_IAM", "CAPABILITY_NAMED_IAM", "CAPABILITY_AUTO_EXPAND"),
            *("--no-confirm-changeset", "--no-fail-on-empty-changeset", "--no-progressbar", "--on-failure", "DELETE"),
            # ministack forgets what an unchanged resource of a changed nested stack was; a new tag changes all of them.
            *("--tags", f"release={wanted}"),
            *("--parameter-overrides", *(f"{name}={value}" for name, value in parameters.items())),
            env={**self._credentials, "SAM_CLI_POLL_DELAY": "0.3"},  # seconds; AWS needs 5 of them, ministack does not
            log=self.state_dir / "deploy.log",
        )
        self._name_refusals(self.outputs(stack)["ApiId"])
        memory.write_text(f"{wanted} {self._identity(stack)}")
        return True

    def outputs(self, stack: str) -> dict[str, str]:
        """What the stack tells about itself."""
        (found,) = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        return {output["OutputKey"]: output["OutputValue"] for output in found.get("Outputs", [])}

    def _identity(self, stack: str) -> str:
        """Names this stack in this state; empty if it is not there or not in order."""
        try:
            (found,) = self.client("cloudformation").describe_stacks(StackName=stack)["Stacks"]
        except ClientError:
            return ""
        moment = found.get("LastUpdatedTime", found["CreationTime"])
        return f"{found['StackId']} {moment.timestamp():.3f}" if found["StackStatus"].endswith("E_COMPLETE") else ""

    def _rewind_streams(self) -> None:
        """ministack keeps how far each stream was read but not the streams: it would skip as many new records."""
        saved = self.state_dir / "state" / "lambda.json"
        if saved.exists():
            state = json.loads(saved.read_text())
            state["payload"].pop("dynamodb_stream_positions", None)
            saved.write_text(json.dumps(state))

    def _name_refusals(self, api_id: str) -> None:
        """Give the gateway's own refusals their documents: AWS reads them from the file, ministack must be told."""
        gateway = self.client("apigateway")
        file = json.loads((ROOT / "infra/gateway.json").read_text())
        for kind, answer in file.get("x-amazon-apigateway-gateway-responses", {}).items():
            status = {"statusCode": str(answer["statusCode"])} if "statusCode" in answer else {}
            gateway.put_gateway_response(
                restApiId=api_id,
                responseType=kind,
                responseParameters=answer.get("responseParameters", {}),
                responseTemplates=answer.get("responseTemplates", {}),
                **status,
            )
        gateway.create_deployment(restApiId=api_id, stageName="api")

    def _make_bucket(self) -> None:
        s3 = self.client("s3")
        if ARTIFACTS not in (bucket["Name"] for bucket in s3.list_buckets()["Buckets"]):
            s3.create_bucket(Bucket=ARTIFACTS)


def build() -> Path:
    """Run `sam build` with the thin layer, once for each state of the sources; the folder that sam deploys from."""
    builds = ROOT / ".local" / "build"
    built = builds / release.sources()
    if not built.exists():
        builds.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=builds, prefix="tmp-"))  # beside its final place: sam writes relative paths
        sam(
            "build",
            *("--template-file", str(ROOT / "template.yaml"), "--build-dir", str(scratch), "--parallel"),
            env={"LAYER": "thin"},
            log=builds / "build.log",
        )
        try:
            scratch.rename(built)
        except OSError:
            shutil.rmtree(scratch)  # another process was faster: its build is as good
        _forget_old(builds.glob("[0-9a-f]*"))
    return built


def _forget_old(builds: Iterable[Path]) -> None:
    for path in sorted(builds, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT_BUILDS:]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)


def sam(*arguments: str, env: Mapping[str, str], log: Path) -> None:
    """Run the SAM command line; what it says goes to `log`, and its end is shown when it fails."""
    command = ROOT / ".local/tools/sam/bin/sam"
    if not command.exists():
        raise Failed("the SAM command line is not installed: run `make setup`")
    inherited = {name: value for name, value in os.environ.items() if name not in _FOREIGN}
    done = subprocess.run(
        [command, *arguments],
        cwd=ROOT,
        env={**inherited, "SAM_CLI_TELEMETRY": "0", "NO_PROXY": "127.0.0.1,localhost", **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text(done.stdout)
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-25:])
        raise Failed(f"`sam {arguments[0]}` failed; everything it said is in {log}, this is the end:\n{tail}")
