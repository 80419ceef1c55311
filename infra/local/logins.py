"""Operators of a local deployment: one for each role, with a random password that is kept beside the cloud's state."""

import json
import secrets
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from infra.local.cloud import LocalCloud

ROLES = ("owner", "operator", "finance", "auditor", "support")


@dataclass(frozen=True)
class Login:
    role: str
    username: str
    password: str


def logins(cloud: LocalCloud, user_pool_id: str) -> list[Login]:
    """The operators of this pool; made when they are asked for the first time."""
    memory = _memory(cloud, user_pool_id)
    if memory.exists():
        return [Login(**login) for login in json.loads(memory.read_text())]
    return _remember(memory, [make_login(cloud, user_pool_id, role, role) for role in ROLES])


def add_login(cloud: LocalCloud, user_pool_id: str, role: str, name: str) -> Login:
    """One more person, who is remembered with the others; one of this name gets another password."""
    known = logins(cloud, user_pool_id)
    login = make_login(cloud, user_pool_id, role, name)
    _remember(_memory(cloud, user_pool_id), [*(one for one in known if one.username != login.username), login])
    return login


def _memory(cloud: LocalCloud, user_pool_id: str) -> Path:
    return cloud.state_dir / f"logins-{user_pool_id}.json"


def _remember(memory: Path, known: list[Login]) -> list[Login]:
    memory.touch(mode=0o600)  # passwords, if only local ones
    memory.write_text(json.dumps([asdict(login) for login in known]))
    return known


def token(cloud: LocalCloud, client_id: str, login: Login) -> str:
    """Sign in; the access token that the console sends."""
    answer = cloud.client("cognito-idp").initiate_auth(
        AuthFlow="USER_PASSWORD_AUTH",
        ClientId=client_id,
        AuthParameters={"USERNAME": login.username, "PASSWORD": login.password},
    )
    return str(answer["AuthenticationResult"]["AccessToken"])


def make_login(cloud: LocalCloud, pool: str, role: str, name: str) -> Login:
    """A person with this role; one of this name gets another password."""
    login = Login(role, f"{name}@kaquan.local", f"Aa1-{secrets.token_urlsafe(15)}")  # as the pool's rules want it
    cognito = cloud.client("cognito-idp")
    who = {"UserPoolId": pool, "Username": login.username}
    with suppress(cognito.exceptions.UsernameExistsException):  # a run that died here; its password is replaced below
        cognito.admin_create_user(
            **who, MessageAction="SUPPRESS", UserAttributes=[{"Name": "email", "Value": login.username}]
        )
    cognito.admin_set_user_password(**who, Password=login.password, Permanent=True)
    cognito.admin_add_user_to_group(**who, GroupName=role)
    return login
