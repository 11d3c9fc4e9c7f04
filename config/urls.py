"""Every route of the house. A new one needs a row in tests/test_permission_matrix.py."""

from allauth.account import views as account
from django.contrib.auth.decorators import login_not_required
from django.urls import URLPattern, URLResolver, include, path
from django.views.decorators.http import require_http_methods, require_POST, require_safe
from django.views.i18n import set_language
from drf_spectacular.views import SpectacularAPIView

from config import api, views

# allauth's form views would also take PUT as if it were POST.
take_form = require_http_methods(["GET", "HEAD", "POST"])

pages = [
    path("", views.home, name="home"),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
    path("metrics", views.metrics, name="metrics"),
    path("language/", login_not_required(require_POST(set_language)), name="set_language"),
    path("", include("annotate.urls")),
    path("", include("training.urls")),
    path("", include("models_registry.urls")),
]

accounts = [
    path("accounts/login/", take_form(account.login), name="account_login"),
    path("accounts/logout/", take_form(account.logout), name="account_logout"),
    path("accounts/signup/", views.explain_invitation, name="account_signup"),
    path("accounts/inactive/", require_safe(account.account_inactive), name="account_inactive"),
    path("accounts/password/", take_form(account.password_change), name="account_change_password"),
    path("accounts/me/", views.account, name="account"),
    path("accounts/me/tokens/", views.create_token, name="token_create"),
    path("accounts/me/tokens/<str:digest_start>/revoke/", views.revoke_token, name="token_revoke"),
    path("people/", views.list_people, name="person_list"),
    path("people/add/", views.add_person, name="person_add"),
    path("people/<int:person_id>/reset-password/", views.reset_password, name="person_reset_password"),
    path("people/<int:person_id>/activate/", views.set_active, name="person_set_active"),
]

api_v1: list[URLPattern | URLResolver] = [
    path("login/", api.LoginView.as_view(), name="api_login"),
    path("logout/", api.LogoutView.as_view(), name="api_logout"),
    path("schema/", SpectacularAPIView.as_view(), name="api_schema"),
    path("docs/", api.DocsView.as_view(url_name="api_schema"), name="api_docs"),
    path("", include("annotate.api.urls")),
    path("", include("training.api.urls")),
    path("", include("models_registry.api.urls")),
]

urlpatterns = [*pages, *accounts, path("api/v1/", include(api_v1))]

handler403 = "config.views.explain_forbidden"
handler404 = "config.views.explain_missing"
handler500 = "config.views.explain_crash"
