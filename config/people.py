"""Accounts: made by admins, never by strangers."""

from __future__ import annotations

import secrets

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _
from knox.models import get_token_model

from annotate.models import Membership, Project

PASSWORD_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"  # noqa: S105 - an alphabet without look-alikes


class PeopleError(Exception):
    """Why an account could not be made or changed, in words."""


def make_password() -> str:
    """A password of four groups of four letters, about 79 bits; read aloud without mistakes."""
    return "-".join("".join(secrets.choice(PASSWORD_LETTERS) for _ in range(4)) for _ in range(4))


@transaction.atomic
def add_person(*, username: str, is_admin: bool, projects: list[Project]) -> tuple[User, str]:
    """Makes an account and returns it with its first password, which is shown once and stored only as a hash.

    Raises PeopleError where the name is taken, in whatever case: of two names that differ in nothing else, the login
    lets neither in.
    """
    password = make_password()
    taken = PeopleError(_("The name %(name)s is taken.") % {"name": username})
    if User.objects.filter(username__iexact=User.normalize_username(username)).exists():
        raise taken
    try:
        with transaction.atomic():
            user = User.objects.create_user(username=username, password=password, is_staff=is_admin)
    except IntegrityError as error:
        raise taken from error
    Membership.objects.bulk_create([Membership(project=project, user=user) for project in projects])
    return user, password


@transaction.atomic
def give_new_password(*, user: User, by: User) -> str:
    """Sets and returns a new password; sessions and tokens of the old one end. Raises PeopleError for one's own."""
    if user == by:
        raise PeopleError(_("You change your own password on the page of your account."))
    password = make_password()
    user.set_password(password)
    user.save(update_fields=["password"])
    get_token_model().objects.filter(user=user).delete()
    return password


@transaction.atomic
def set_active(*, user: User, active: bool, by: User) -> None:
    """Opens or closes an account. What the person judged stays. Raises PeopleError for one's own."""
    if user == by:
        raise PeopleError(_("You cannot close your own account."))
    user.is_active = active
    user.save(update_fields=["is_active"])
    if not active:
        get_token_model().objects.filter(user=user).delete()
