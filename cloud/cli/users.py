"""Commands on people who may log in."""

import secrets
from typing import Annotated

import typer
from django.contrib.auth.models import Group, User
from django.db import transaction

from cloud.cli.speech import AsJson, show, spoken
from cloud.errors import RefusalError

ROLES = ("qa", "viewer")

user_app = typer.Typer(help="People who may log in.", no_args_is_help=True, rich_markup_mode=None)


@user_app.command("add")
@spoken
def user_add(
    name: str,
    role: Annotated[str, typer.Option(help=f"One of: {', '.join(ROLES)}.")] = "viewer",
    as_json: AsJson = False,
) -> None:
    """Let a person log in; prints a generated password once."""
    if role not in ROLES:
        raise RefusalError("role_unknown", f"There is no role {role!r}; use one of: {', '.join(ROLES)}.")
    if not name.isascii() or not name.replace("-", "").replace("_", "").replace(".", "").isalnum() or len(name) > 32:
        raise RefusalError("name_invalid", f"{name!r} cannot be a login name; use up to 32 letters, digits and . _ -")
    password = secrets.token_urlsafe(18)
    with transaction.atomic():
        if User.objects.filter(username=name).exists():
            raise RefusalError("user_known", f"{name} can log in already; choose another name.")
        User.objects.create_user(name, password=password).groups.add(Group.objects.get_or_create(name=role)[0])
    show(
        {"name": name, "role": role, "password": password},
        as_json,
        f"{name} ({role}) can log in. Password, shown only now: {password}",
    )


@user_app.command("list")
@spoken
def user_list(as_json: AsJson = False) -> None:
    """List the people who may log in, and their roles."""
    rows = [
        {"name": user.username, "role": ", ".join(sorted(group.name for group in user.groups.all()))}
        for user in User.objects.filter(is_active=True).order_by("username").prefetch_related("groups")
    ]
    show(rows, as_json, "\n".join(f"{row['name']} ({row['role']})" for row in rows))
